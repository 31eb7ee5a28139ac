"""Every answer to a look-up, and what it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.errors import (
    AccountRefused,
    Unavailable,
)
from lib.models import Acceptance
from lib.platforms.platform import Lookup
from tests.unit.answer_kit import HTML, LOCAL, NATIONAL, ROUTES, looked_up

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
        ({"code": 404, "mess": "Phiếu đã xóa"}, 410),
        ({"code": "404", "mess": "Không có"}, 200),
        (json.dumps({"code": 404, "mess": "Không tìm thấy hóa đơn"}), 404),
    ],
)
def test_a_look_up_that_names_the_document_as_missing_is_absence(body: Any, status: int) -> None:
    assert looked_up(body, status) is Lookup.ABSENT


@pytest.mark.parametrize("body", ROUTES)
def test_a_routes_404_says_that_the_api_cannot_be_asked(body: Any) -> None:
    if isinstance(body, dict) and body.get("code") == 404:
        assert looked_up(body, 404) is Lookup.ABSENT
    else:
        assert looked_up(body, 404) is Lookup.UNSUPPORTED


@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.parametrize("body", [b"", HTML.encode(), {"code": 404, "mess": "x"}])
def test_a_method_that_is_not_there_says_that_the_api_cannot_be_asked(
    body: Any, status: int
) -> None:
    assert looked_up(body, status) is Lookup.UNSUPPORTED


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 404, "mess": "Lỗi hệ thống, vui lòng thử lại sau"}, 404),
        ({"code": 404, "mess": "Lỗi hệ thống"}, 200),
        (HTML.encode(), 200),
        (b"", 200),
        (b"null", 200),
        (b"{", 200),
        (b"", 204),
        (b"", 301),
        (b"", 302),
        (b"", 307),
        (b"", 400),
        (b"", 409),
        (b"", 422),
        ({"mess": "Không tìm thấy"}, 400),
        ({"code": 400, "mess": "Sai tham số"}, 200),
        ({"code": 501, "mess": "Chưa hỗ trợ"}, 200),
        ({"code": 405, "mess": "x"}, 200),
        ({"code": 200, "data": None, "mess": "Không có dữ liệu"}, 200),
        ({"code": 200, "mess": "ok"}, 200),
        ({"code": {}, "ma_hoa_don_quoc_gia": NATIONAL}, 200),
        ({"code": 200, "success": False, "ma_hoa_don_quoc_gia": NATIONAL}, 200),
        ({"code": 400, "mess": "x", "ma_hoa_don_quoc_gia": NATIONAL}, 200),
        ({"ma_hoa_don": LOCAL, "mess": "không tìm thấy"}, 200),
        ("NotFound", 200),
        ("Không tìm thấy hóa đơn", 200),
        (LOCAL, 200),
        (b"", 600),
        (b"", 100),
    ],
)
def test_an_unclear_look_up_is_asked_again_later(body: Any, status: int) -> None:
    with pytest.raises(Unavailable, match=r"unclear|HTTP"):
        looked_up(body, status)


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
