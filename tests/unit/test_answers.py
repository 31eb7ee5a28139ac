"""Every answer seen in the field, and what it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from lib.errors import (
    AccountRefused,
    Forbidden,
    OutcomeUnknown,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.models import Acceptance
from lib.platforms.dqg.interpret import parse_login, parse_lookup, parse_submit
from lib.platforms.platform import Lookup
from lib.settings import ApiSettings

LOCAL = "HD-S01-000101"
NATIONAL = "DQG-2026-000777"
HTML = "<!DOCTYPE html><html><head><title>Bảo trì</title></head><body>hệ thống</body></html>"
RESOURCES = ("hoa_don", "phieu_nhap", "phieu_xuat")


def as_bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return json.dumps(body, ensure_ascii=False).encode()


def submitted(
    body: Any,
    status: int = 200,
    *,
    resource: str = "hoa_don",
    headers: dict[str, str] | None = None,
    names: tuple[str, ...] = (),
    **settings: Any,
) -> Acceptance:
    api = ApiSettings(**settings)
    return parse_submit(resource, LOCAL, status, headers or {}, as_bytes(body), api, names=names)


def failure(body: Any, status: int = 200, **options: Any) -> SyncError:
    with pytest.raises(SyncError) as caught:
        submitted(body, status, **options)
    return caught.value


def looked_up(body: Any, status: int = 200, **options: Any) -> Acceptance | Lookup:
    resource = options.pop("resource", "hoa_don")
    headers = options.pop("headers", {})
    return parse_lookup(resource, LOCAL, status, headers, as_bytes(body), ApiSettings(), **options)


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
        json.dumps(json.dumps({"code": 400, "mess": "x1"}, separators=(",", ":"))).encode(),
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
        (404, WrongEndpoint),
        (405, WrongEndpoint),
        (407, WrongEndpoint),
        (408, Unavailable),
        (410, WrongEndpoint),
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
        (0, Rejected),
        (201, Rejected),
        (401, Forbidden),
        (408, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (4010, Rejected),
    ],
)
def test_a_code_in_the_body_decides_under_http_200(
    code: int, kind: type[SyncError], text: type
) -> None:
    error = failure({"code": text(code), "mess": "Sai định dạng ngày", "ma_hoa_don": NATIONAL})

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


# ---------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 409, "mess": "conflict"}, 409),
        (b"", 409),
        (HTML.encode(), 409),
        ({"code": 409, "mess": "conflict"}, 200),
        ({"code": 400, "mess": "Mã hóa đơn đã tồn tại"}, 200),
        ({"code": 400, "mess": "Mã hóa đơn ĐÃ  TỒN TẠI trên hệ thống"}, 400),
        ({"message": "Mã hóa đơn đã tồn tại"}, 200),
        ({"status": "error", "message": "Hóa đơn bị trùng"}, 200),
        ({"detail": [{"loc": ["body"], "msg": "Already exists"}]}, 422),
        ("Hóa đơn đã tồn tại", 200),
        ("Hóa đơn đã tồn tại", 400),
        ("Hóa đơn đã tồn tại".encode(), 400),
        ("<html><h1>Hóa đơn đã tồn tại</h1></html>".encode(), 400),
    ],
)
def test_a_duplicate_is_accepted_without_a_code(body: Any, status: int) -> None:
    acceptance = submitted(body, status)

    assert (acceptance.national_id, acceptance.duplicate) == (None, True)
    assert acceptance.message


def test_a_duplicate_text_is_found_however_its_accents_are_composed() -> None:
    decomposed = "Ma\u0303 hóa đơn đã to\u0302\u0300n ta\u0323i"

    assert submitted({"code": 400, "mess": decomposed}).duplicate


@pytest.mark.parametrize("status", [200, 409])
def test_a_duplicate_that_names_its_national_code_gives_it(status: int) -> None:
    body = {"code": 409, "mess": "đã tồn tại", "ma_hoa_don": LOCAL, "ma_hoa_don_quoc_gia": NATIONAL}

    assert submitted(body, status).national_id == NATIONAL


def test_duplicate_texts_come_from_the_settings() -> None:
    body = {"code": 400, "mess": "Chứng từ lặp lại"}

    assert submitted(body, duplicate_texts=("LẶP LẠI",)).duplicate
    assert type(failure(body)) is Rejected
    assert type(failure({"code": 400, "mess": "đã tồn tại"}, duplicate_texts=("",))) is Rejected


@pytest.mark.parametrize(
    "text",
    [
        "Thuốc 'Nước muối vô trùng' không có trong danh mục",
        "Mã thuốc của gạc tiệt trùng không hợp lệ",
        "Thuốc trị nhiễm trùng, ký sinh trùng: thiếu số đăng ký",
        "Mã cơ sở không trùng khớp với tài khoản",
        "Mã thuốc không tồn tại",
    ],
)
def test_a_refusal_that_only_sounds_like_a_duplicate_is_a_refusal(text: str) -> None:
    assert type(failure({"code": 400, "mess": text})) is Rejected


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_duplicate_text_excuses_no_other_failure(status: int) -> None:
    assert type(failure({"mess": "đã tồn tại"}, status)) is not Rejected


# ---------------------------------------------------------------- Retry-After


def waits(value: str, **headers: str) -> float | None:
    error = failure(b"", 503, headers={"retry-after": value, **headers})
    assert isinstance(error, Unavailable)
    return error.retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 2.5 ", 2.5),
        ("999999999", 3600),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("1e400", None),
        ("²", None),
        ("Wed, 99 Foo 2026", None),
    ],
)
def test_retry_after_in_seconds_is_read_and_bounded(value: str, seconds: float | None) -> None:
    assert waits(value) == seconds


def test_retry_after_as_a_date_counts_from_the_servers_own_clock() -> None:
    assert waits("Fri, 02 Jan 1970 00:00:30 GMT", Date="Fri, 02 Jan 1970 00:00:00 GMT") == 30
    assert waits("Fri, 02 Jan 1970 00:00:30 GMT", Date="Fri, 02 Jan 1970 00:01:00 GMT") == 0
    assert waits("Fri, 02 Jan 1970 00:00:30 -0000", Date="Fri, 02 Jan 1970 00:00:00 GMT") == 30


def test_retry_after_as_a_date_counts_from_now_where_the_server_says_no_time() -> None:
    assert waits(format_datetime(datetime(1999, 1, 1, tzinfo=UTC), usegmt=True)) == 0
    assert waits(format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True)) == 3600


def test_header_names_are_read_in_any_case() -> None:
    error = failure({"code": 429}, headers={"RETRY-AFTER": "4"})

    assert isinstance(error, Unavailable)
    assert error.retry_after == 4


# ---------------------------------------------------------------- texts


def test_an_answer_is_cut_to_the_limit_and_a_message_to_one_short_line() -> None:
    error = failure({"code": 400, "mess": "dài\n" * 3000}, answer_limit=100)

    assert len(error.answer or "") == 100
    assert len(error.message) < 330
    assert "\n" not in error.message


def test_control_characters_and_broken_unicode_are_removed() -> None:
    error = failure(
        b'{"code": 400, "mess": "Sai\\u0000 m\\u00e3\\u001b[31m \\ud800 thu\xe1\xbb\x91c"}'
    )

    assert error.message == "code 400: Sai mã[31m thuốc"
    for text in (error.message, error.answer or ""):
        assert text.encode().decode() == text
        assert "\x00" not in text


@pytest.mark.parametrize(
    "body",
    [
        {"code": 400, "mess": "Khách NGUYỄN THỊ  Mai không hợp lệ, bán bởi Lê Quốc Bảo."},
        "Khách Nguyễn Thị Mai không hợp lệ",
        b'{"code": 400, "mess": "Nguy\\u1ec5n Th\\u1ecb Mai"}',
        b"<p>Nguy&#7877;n Th&#7883; Mai</p>",
        {"code": 400, "mess": "Nguye\u0302\u0303n Thi\u0323 Mai"},
        {"code": 400, "echo": {"ho_ten_khach_hang": "Nguyễn Thị Mai"}},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 404, 409, 500])
def test_names_of_persons_appear_in_no_text(body: Any, status: int) -> None:
    names = ("Nguyễn Thị Mai", "Lê Quốc Bảo")
    try:
        acceptance = submitted(body, status, names=names)
        texts = [acceptance.message, acceptance.answer or ""]
    except SyncError as error:
        texts = [str(error), error.message, error.answer or "", repr(error)]

    for text in texts:
        assert "mai" not in text.casefold()
        assert "bảo" not in text.casefold()
    assert "***" in texts[-1]


def test_a_name_that_the_limit_would_cut_is_hidden_first() -> None:
    error = failure(
        {"code": 400, "mess": "x" * 80 + " Nguyễn Thị Mai"},
        answer_limit=110,
        names=("Nguyễn Thị Mai",),
    )

    assert "Nguy" not in (error.answer or "")


def test_a_short_name_does_not_shred_the_text() -> None:
    error = failure({"code": 400, "mess": "Mã An toàn của An sai"}, names=("An", " ", ""))

    assert error.message == "code 400: Mã *** toàn của *** sai"
    assert failure({"code": 400, "mess": "Thanh toán"}, names=("An",)).message.endswith(
        "Thanh toán"
    )


# ---------------------------------------------------------------- look-up


@pytest.mark.parametrize(
    "body",
    [
        {"ma_hoa_don_quoc_gia": NATIONAL, "code": 200, "mess": "ok"},
        {"ma_hoa_don": LOCAL, "ma_hoa_don_quoc_gia": NATIONAL, "ngay_ban": "20261102"},
        {"code": 200, "data": {"ma_hoa_don": LOCAL, "ma_hoa_don_quoc_gia": NATIONAL}},
        {"code": 200, "data": [{"ma_hoa_don": LOCAL, "ma_hoa_don_quoc_gia": NATIONAL}]},
        NATIONAL,
    ],
)
def test_a_look_up_that_shows_the_national_code_finds_the_document(body: Any) -> None:
    found = looked_up(body)

    assert isinstance(found, Acceptance)
    assert (found.national_id, found.duplicate) == (NATIONAL, True)


def test_a_look_up_that_shows_the_document_without_its_code_finds_it() -> None:
    found = looked_up({"code": 200, "data": {"ma_hoa_don": LOCAL}})

    assert isinstance(found, Acceptance)
    assert found.national_id is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 404, "mess": "Không tìm thấy hóa đơn"}, 404),
        ({"code": "404", "message": ""}, 404),
        ({"code": 404, "mess": "Không tìm thấy hóa đơn"}, 200),
        ({"mess": "Không tìm thấy hóa đơn"}, 404),
        ({"Message": "Hóa đơn không tồn tại"}, 404),
    ],
)
def test_a_look_up_that_names_the_document_as_missing_is_absence(body: Any, status: int) -> None:
    assert looked_up(body, status) is Lookup.ABSENT


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"detail": "Not Found"}, 404),
        ({"Message": "No HTTP resource was found that matches the request URI 'x'."}, 404),
        ({"Message": "Không có", "MessageDetail": "No type was found"}, 404),
        ({"status": 404, "error": "Not Found", "message": "", "path": "/x"}, 404),
        ({"message": "Not Found"}, 404),
        (HTML.encode(), 404),
        (b"", 404),
        (b"null", 404),
        (b"", 405),
        ({"code": 404, "mess": "x"}, 405),
        (b"", 501),
        (b"", 302),
        (b"", 400),
        ({"code": 400, "mess": "Sai tham số"}, 200),
        ({"code": 200, "data": None, "mess": "Không có dữ liệu"}, 200),
        ({"code": 200, "mess": "ok"}, 200),
        ({"code": {}, "ma_hoa_don_quoc_gia": NATIONAL}, 200),
        ({"ma_hoa_don": LOCAL, "mess": "không tìm thấy"}, 200),
        ("NotFound", 200),
        (LOCAL, 200),
        (b"", 200),
        (b"null", 200),
        (HTML.encode(), 200),
        (b"", 600),
    ],
)
def test_an_unclear_look_up_proves_nothing(body: Any, status: int) -> None:
    assert looked_up(body, status) is Lookup.UNSUPPORTED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_look_up_during_an_outage_is_unavailable(status: int) -> None:
    with pytest.raises(Unavailable) as caught:
        looked_up({"mess": "Hệ thống bận"}, status, headers={"Retry-After": "9"})

    assert caught.value.retry_after == 9
    assert "Hệ thống bận" in caught.value.message


@pytest.mark.parametrize(("status", "code"), [(401, 401), (403, 403), (200, 401)])
def test_a_look_up_with_a_refused_account_says_so(status: int, code: int) -> None:
    with pytest.raises(AccountRefused):
        looked_up({"code": code, "mess": "Không có quyền"}, status)


# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("body", "expires_in"),
    [
        ({"token": "abc.def", "token_type": "bearer"}, None),
        ({"code": 200, "message": "ok", "data": {"token": "abc.def"}}, None),
        ({"code": "200", "message": "ok", "data": {"token": " abc.def\n"}}, None),
        ({"access_token": "abc.def", "expires_in": 1800}, 1800),
        ({"access_token": "abc.def", "expires_in": "1800"}, 1800),
        ({"data": {"token": "", "access_token": "abc.def", "expires_in": 60}}, 60),
        ({"token": "", "access_token": "abc.def", "expires_in": -1}, None),
        ({"Token": "abc.def", "expires_in": float("nan")}, None),
        ({"data": {"token": "abc.def"}, "token": "other"}, None),
    ],
)
def test_every_login_shape_gives_the_token(body: Any, expires_in: float | None) -> None:
    token = parse_login(200, as_bytes(body), {})

    assert (token.value, token.expires_in) == ("abc.def", expires_in)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"message": "Sai mật khẩu"}, AccountRefused),
        (400, b"", AccountRefused),
        (401, {"mess": "Sai mật khẩu"}, AccountRefused),
        (403, HTML.encode(), AccountRefused),
        (422, {"detail": "x"}, AccountRefused),
        (200, {"code": 400, "message": "Sai mật khẩu", "data": None}, AccountRefused),
        (200, {"code": 400, "data": {"token": "abc"}}, AccountRefused),
        (200, {"code": 401, "message": "Sai mật khẩu"}, AccountRefused),
        (200, {"message": "Sai mật khẩu"}, AccountRefused),
        (200, "Sai mật khẩu", AccountRefused),
        (200, {"code": 200, "data": {"token": ""}}, Unavailable),
        (200, {"code": 503, "message": "Bảo trì"}, Unavailable),
        (200, b"", Unavailable),
        (200, b"null", Unavailable),
        (200, HTML.encode(), Unavailable),
        (200, {"token": "two words"}, Unavailable),
        (200, {"token": "xuống\ndòng"}, Unavailable),
        (429, b"", Unavailable),
        (500, {"message": "x"}, Unavailable),
        (503, HTML.encode(), Unavailable),
        (404, b"", WrongEndpoint),
        (405, b"", WrongEndpoint),
        (302, b"", WrongEndpoint),
    ],
)
def test_a_login_that_fails_says_whose_fault_it_is(
    status: int, body: Any, kind: type[SyncError]
) -> None:
    with pytest.raises(kind) as caught:
        parse_login(status, as_bytes(body), {})

    assert type(caught.value) is kind
    assert caught.value.answer is None


def test_a_login_keeps_the_servers_words_but_never_the_password() -> None:
    body = {"message": "Sai mật khẩu 's3cret/\"x' của demo"}

    with pytest.raises(AccountRefused) as caught:
        parse_login(400, as_bytes(body), {}, secrets=('s3cret/"x',))

    assert "Sai mật khẩu '***' của demo" in caught.value.message


def test_a_login_passes_on_how_long_to_wait() -> None:
    with pytest.raises(Unavailable) as caught:
        parse_login(503, b"", {"retry-after": "12"})

    assert caught.value.retry_after == 12
