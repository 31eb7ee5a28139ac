"""Every answer to a POST seen in the field, and what it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.errors import (
    Forbidden,
    OutcomeUnknown,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from tests.unit.answer_kit import HTML, LOCAL, NATIONAL, ROUTES, failure, submitted

# ---------------------------------------------------------------- accepted


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    ("resource", "body", "message"),
    [
        ("hoa_don", {"ma_hoa_don": NATIONAL, "code": 200, "mess": "Thành công"}, "Thành công"),
        ("hoa_don", {"ma_hoa_don_quoc_gia": NATIONAL, "code": 200, "mess": "ok"}, "ok"),
        ("hoa_don", {"status": "success", "message": "ok", "ma_hoa_don": NATIONAL}, "ok"),
        ("hoa_don", {"ma_hoa_don_quoc_gia": NATIONAL}, "accepted"),
        ("phieu_nhap", NATIONAL, "accepted"),
        ("phieu_nhap", {"ma_phieu_nhap_quoc_gia": NATIONAL, "code": 200, "mess": "ok"}, "ok"),
        ("phieu_nhap", {"ma_phieu_nhap_quoc_gia": NATIONAL, "code": "200", "message": "ok"}, "ok"),
        ("phieu_nhap", {"status": "success", "message": "ok", "ma_phieu_nhap": NATIONAL}, "ok"),
        ("phieu_nhap", {"ma_phieu": NATIONAL, "code": 200, "mess": ""}, "accepted"),
        ("phieu_xuat", f"  {NATIONAL}\r\n", "accepted"),
        ("phieu_xuat", {"ma_phieu_xuat_quoc_gia": NATIONAL, "code": 200, "mess": "ok"}, "ok"),
        (
            "phieu_xuat",
            {"Ma_Phieu_Xuat_Quoc_Gia": NATIONAL, "Code": " 200 ", "Message": "ok"},
            "ok",
        ),
        ("phieu_xuat", {"status": "Success", "message": "ok", "ma_phieu_xuat": NATIONAL}, "ok"),
        ("phieu_xuat", {"code": 200.0, "data": {"ma_phieu_xuat_quoc_gia": NATIONAL}}, "accepted"),
    ],
)
def test_every_success_shape_gives_the_national_code(
    resource: str, body: Any, message: str, status: int
) -> None:
    acceptance = submitted(body, status, resource=resource)

    assert (acceptance.national_id, acceptance.message) == (NATIONAL, message)
    assert (acceptance.http_status, acceptance.duplicate) == (status, False)
    assert NATIONAL in (acceptance.answer or "")


def test_the_surest_name_of_the_national_code_wins() -> None:
    body = {"ma_phieu": "P-3", "ma_hoa_don": "P-2", "ma_hoa_don_quoc_gia": "P-1", "code": 200}

    assert submitted(body).national_id == "P-1"


def test_an_empty_name_of_the_national_code_is_passed_over() -> None:
    body = {"ma_hoa_don_quoc_gia": "", "ma_hoa_don": NATIONAL, "code": 200}

    assert submitted(body).national_id == NATIONAL


def test_a_numeric_national_code_is_text() -> None:
    assert submitted({"ma_hoa_don_quoc_gia": 20260001, "code": 200}).national_id == "20260001"


@pytest.mark.parametrize(
    "body",
    [
        {"ma_hoa_don": LOCAL, "code": 200, "mess": "ok"},
        {"ma_hoa_don": LOCAL.lower(), "code": 200, "mess": "ok"},
        {"code": 200, "mess": "ok"},
        {"status": "success", "message": "ok"},
        {"ma_hoa_don_quoc_gia": "x" * 101, "code": 200, "mess": "ok"},
        {"ma_hoa_don_quoc_gia": "two words", "code": 200, "mess": "ok"},
        {"ma_hoa_don_quoc_gia": ["list"], "code": 200, "mess": "ok"},
    ],
)
def test_an_explicit_success_without_a_national_code_is_accepted_without_one(body: Any) -> None:
    acceptance = submitted(body)

    assert (acceptance.national_id, acceptance.message, acceptance.duplicate) == (None, "ok", False)


# ---------------------------------------------------------------- unclear


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \r\n",
        b"null",
        b"true",
        b"12345",
        b"[]",
        b"{}",
        b"{",
        b'""',
        b"\xff\xfe\x00",
        b"\x1f\x8b\x08broken",
        b"[" * 100_000,
        b"PN_QG_0001",
        HTML.encode(),
        json.dumps(LOCAL).encode(),
        b'"OK"',
        b'"<html></html>"',
        json.dumps(json.dumps({"message": "x1"}, separators=(",", ":"))).encode(),
        json.dumps({"message": "ok"}).encode(),
        json.dumps({"detail": "something"}).encode(),
        json.dumps({"ma_hoa_don": LOCAL}).encode(),
        json.dumps({"ma_hoa_don_quoc_gia": NATIONAL, "code": {"a": 1}}).encode(),
        json.dumps({"ma_hoa_don_quoc_gia": NATIONAL, "code": True}).encode(),
        json.dumps([{"ma_hoa_don_quoc_gia": NATIONAL}]).encode(),
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_that_says_nothing_leaves_the_outcome_unknown(body: bytes, status: int) -> None:
    error = failure(body, status)

    assert type(error) is OutcomeUnknown
    assert error.http_status == status


@pytest.mark.parametrize("status", [100, 199, 600, 999, 0, -1])
def test_a_status_that_means_nothing_leaves_the_outcome_unknown(status: int) -> None:
    assert type(failure({"ma_hoa_don_quoc_gia": NATIONAL}, status)) is OutcomeUnknown


def test_a_maintenance_page_is_no_duplicate_whatever_its_words() -> None:
    page = "<html><body>Trang đã tồn tại</body></html>".encode()

    assert type(failure(page)) is OutcomeUnknown


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, WrongEndpoint),
        (302, WrongEndpoint),
        (307, WrongEndpoint),
        (400, Rejected),
        (401, Forbidden),
        (402, Rejected),
        (403, Forbidden),
        (405, WrongEndpoint),
        (407, WrongEndpoint),
        (408, Unavailable),
        (413, Rejected),
        (415, Rejected),
        (422, Rejected),
        (425, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (501, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
    ],
)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"code": 17, "mess": "Sai mã cơ sở"}, "Sai mã cơ sở"),
        ({"message": "Sai mã cơ sở"}, "Sai mã cơ sở"),
        ({"Message": "Sai mã cơ sở"}, "Sai mã cơ sở"),
        ({"detail": "Sai mã cơ sở"}, "Sai mã cơ sở"),
        ("Sai mã cơ sở".encode(), "Sai mã cơ sở"),
        ("Sai mã cơ sở", "Sai mã cơ sở"),
        (HTML.encode(), "Bảo trì hệ thống"),
        (b"", "without a text"),
        (b"null", "without a text"),
    ],
)
def test_a_status_decides_the_error_and_the_body_its_text(
    status: int, kind: type[SyncError], body: Any, text: str
) -> None:
    error = failure(body, status)

    assert type(error) is kind
    assert error.message.startswith(f"HTTP {status}")
    assert text in error.message
    assert error.http_status == status


def test_a_success_body_under_a_failure_status_is_a_failure() -> None:
    assert type(failure({"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}, 503)) is Unavailable


@pytest.mark.parametrize("text", [int, str])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Rejected),
        (404, Rejected),
        (1, Rejected),
        (-1, Rejected),
        ("E001", Rejected),
        (401, Forbidden),
        (408, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (403, Forbidden),
        (4010, Rejected),
    ],
)
def test_a_code_in_the_body_decides_under_http_200(
    code: int | str, kind: type[SyncError], text: type
) -> None:
    error = failure(
        {
            "code": code if isinstance(code, str) else text(code),
            "mess": "Sai định dạng ngày",
            "ma_hoa_don": NATIONAL,
        }
    )

    assert type(error) is kind
    assert "Sai định dạng ngày" in error.message
    assert str(code) in error.message


@pytest.mark.parametrize("word", ["error", "fail", "FAILED"])
def test_a_status_word_of_failure_is_a_refusal(word: str) -> None:
    error = failure({"status": word, "message": "Sai mã thuốc", "ma_hoa_don": NATIONAL})

    assert type(error) is Rejected


def test_a_bare_string_with_spaces_is_an_error_text() -> None:
    error = failure("Sai mã cơ sở 790", resource="phieu_nhap")

    assert type(error) is Rejected
    assert error.message == "Sai mã cơ sở 790"


def test_a_list_of_details_is_read_with_its_places() -> None:
    body = {"detail": [{"loc": ["body", "ngay_ban"], "msg": "field required"}, "and more", 5, {}]}

    assert failure(body, 422).message == "HTTP 422: body.ngay_ban: field required; and more"


# ---------------------------------------------------------------- 403, 404, 410: whose they are


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    "body",
    [
        {"code": 404, "mess": "Không tìm thấy thuốc DQG00019999 trong danh mục"},
        {"code": "404", "message": "Cơ sở 790760001234 không tồn tại"},
        {"mess": "Không tìm thấy mã cơ sở"},
        {"Message": "Thuốc không có trong danh mục"},
        {"detail": "Không tìm thấy thuốc"},
        {"code": 17, "mess": "Drug DQG00019999 not found"},
        {"error": "drug_unknown", "message": "Không tìm thấy thuốc"},
    ],
)
def test_not_found_in_the_apis_own_words_about_content_refuses_the_document(
    body: Any, status: int
) -> None:
    error = failure(body, status)

    assert type(error) is Rejected
    assert error.message.startswith(f"HTTP {status}: ")


@pytest.mark.parametrize("body", [*ROUTES, {"code": 404, "mess": "Lỗi hệ thống"}])
@pytest.mark.parametrize("status", [404, 410])
def test_not_found_of_a_route_is_a_wrong_address(body: Any, status: int) -> None:
    assert type(failure(body, status)) is WrongEndpoint


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Request blocked by security policy</body></html>",
        b"Access denied",
        b"",
        {"message": "Forbidden"},
        {"message": "Access to this resource is not allowed"},
    ],
)
def test_a_403_that_is_not_the_apis_own_is_told_from_one_that_is(body: Any) -> None:
    theirs = failure(body, 403)
    own = failure({"code": 403, "mess": "Tài khoản không có quyền với cơ sở"}, 403)

    assert isinstance(theirs, Forbidden)
    assert isinstance(own, Forbidden)
    assert (theirs.by_firewall, own.by_firewall) == (True, False)
    assert "firewall" in theirs.message
    assert "no permission" in own.message


# ---------------------------------------------------------------- success in other clothes


def nested(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, nested({"ma_hoa_don_quoc_gia": NATIONAL, "code": 200, "mess": "ok"})),
        (200, nested(nested({"ma_hoa_don_quoc_gia": NATIONAL, "code": 200}))),
        (200, nested(NATIONAL)),
        (200, {"code": 200, "data": nested({"ma_hoa_don_quoc_gia": NATIONAL})}),
        (201, {"code": 201, "ma_hoa_don_quoc_gia": NATIONAL}),
        (201, {"code": "201", "mess": "ok", "ma_hoa_don": NATIONAL}),
        (200, {"code": 201, "ma_hoa_don_quoc_gia": NATIONAL}),
        (201, {"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 0, "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": "00", "message": "Thành công", "data": {"ma_hoa_don": NATIONAL}}),
        (200, {"code": "200.0", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": "SUCCESS", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"success": True, "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 200, "success": True, "errors": [], "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 200, "error": None, "ma_hoa_don_quoc_gia": NATIONAL}),
    ],
)
def test_a_success_in_another_shape_is_read(status: int, body: Any) -> None:
    assert submitted(body, status).national_id == NATIONAL


def test_a_refusal_within_a_json_text_is_a_refusal() -> None:
    assert type(failure(nested({"code": 400, "mess": "Sai mã"}))) is Rejected


def test_a_code_that_is_the_status_itself_needs_no_national_code() -> None:
    assert submitted({"code": 201, "mess": "ok"}, 201).national_id is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": 200, "success": False, "mess": "Sai mã thuốc"}),
        (200, {"code": 200, "success": "false", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 200, "status": "error", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 200, "status": False}),
        (200, {"code": 200, "error": "timeout", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 200, "errors": ["so_lo"], "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"code": 400, "success": True, "mess": "Sai mã thuốc"}),
        (200, {"code": 400, "status": "success"}),
        (200, {"code": 400, "mess": "Sai mã", "ma_hoa_don_quoc_gia": NATIONAL}),
        (200, {"success": True, "status": "failed"}),
        (200, {"code": 0, "success": False, "ma_hoa_don_quoc_gia": NATIONAL}),
        (400, {"code": 200, "mess": "ok"}),
        (401, {"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}),
        (403, {"status": "success"}),
        (404, {"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}),
        (429, {"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}),
        (302, {"code": 200, "ma_hoa_don_quoc_gia": NATIONAL}),
        (422, {"ma_hoa_don_quoc_gia": NATIONAL}),
    ],
)
def test_an_answer_that_contradicts_itself_is_never_final(status: int, body: Any) -> None:
    error = failure(body, status)

    assert type(error) is OutcomeUnknown
    assert error.maybe_stored


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "mess": "Thành công"},
        {"code": "00", "ma_hoa_don": LOCAL},
        {"code": 201, "mess": "Đã tạo"},
        {"code": 204, "mess": "Không có dữ liệu"},
        {"code": "SUCCESS"},
        {"success": True},
        {"status": True, "message": "ok"},
    ],
)
def test_what_may_be_a_success_needs_a_national_code(body: Any) -> None:
    assert type(failure(body)) is OutcomeUnknown


# ---------------------------------------------------------------- whether it may be stored


@pytest.mark.parametrize(
    ("status", "body", "stored"),
    [
        *((status, b"", True) for status in (408, 500, 502, 503, 504, 302, 200, 99)),
        *((status, b"", False) for status in (401, 403, 404, 405, 425, 429, 400, 413, 418)),
        (200, {"code": 503}, True),
        (200, {"code": "408"}, True),
        (200, {"code": 429}, False),
        (200, {"code": 400, "mess": "Sai mã"}, False),
    ],
)
def test_an_error_says_whether_the_document_may_be_stored(
    status: int, body: Any, stored: bool
) -> None:
    assert failure(body, status).maybe_stored is stored


@pytest.mark.parametrize("status", [406, 411, 418, 421, 423, 426, 431, 497])
def test_a_4xx_without_the_apis_words_refuses_no_document(status: int) -> None:
    assert type(failure(HTML.encode(), status)) is Unavailable
    assert type(failure({"code": 17, "mess": "Phiếu đã khóa sổ"}, status)) is Rejected
