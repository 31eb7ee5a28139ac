"""Answers that say that the API has the document already, or only sound like it."""

from __future__ import annotations

from typing import Any

import pytest

from lib.errors import (
    OutcomeUnknown,
    Rejected,
    SyncError,
    Unavailable,
)
from lib.platforms.dqg.interpret import PossibleDuplicate
from tests.unit.answer_kit import HTML, LOCAL, NATIONAL, failure, submitted

# ---------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 409, "mess": "Phiếu bị trùng"}, 409),
        ({"code": 409, "mess": "Mã đã tồn tại"}, 200),
        ({"code": 200, "mess": "Hóa đơn đã tồn tại"}, 200),
        ({"code": 400, "mess": f"Hóa đơn bán thuốc '{LOCAL}' đã tồn tại"}, 400),
        ({"message": "Cannot insert duplicate key row in object 'dbo.HoaDon'"}, 400),
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


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 503])
def test_a_duplicate_text_excuses_no_other_failure(status: int) -> None:
    assert type(failure({"mess": "đã tồn tại"}, status)) is not Rejected


def test_a_success_is_no_duplicate_for_a_word_in_its_text() -> None:
    body = {"code": 200, "mess": "Đã kiểm tra trùng", "ma_hoa_don_quoc_gia": NATIONAL}

    assert not submitted(body).duplicate
    assert submitted({**body, "mess": "Hóa đơn đã tồn tại"}).duplicate


@pytest.mark.parametrize(
    "text",
    [
        "Mã thuốc bị trùng trong chi tiết",
        "Dòng 2: số lô bị trùng",
        "dong 3 trung: đã tồn tại",
        "line 4: duplicate drug",
        "Duplicate lines in invoice",
        "Row 7 is a duplicate",
        "hoa_don_chi_tiet: trùng",
        "Cannot insert duplicate key in object 'dbo.InvoiceDetail'",
    ],
)
@pytest.mark.parametrize("status", [200, 400, 422])
def test_a_line_that_is_there_twice_is_no_duplicate_of_the_document(text: str, status: int) -> None:
    for has_look_up in (True, False):
        error = failure({"code": 400, "mess": text}, status, has_look_up=has_look_up)
        assert type(error) is Rejected


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, {"code": 409, "mess": "Tồn kho không đủ"}),
        (409, {"code": 409, "mess": "conflict"}),
        (409, {"code": 409, "mess": "Mã thuốc bị trùng trong chi tiết"}),
        (409, b""),
        (409, HTML.encode()),
        (200, {"code": 409, "mess": "conflict"}),
        (400, {"code": 400, "mess": "Thuốc đã tồn tại trong phiếu khác"}),
        (200, {"code": 400, "mess": "Số lô đã tồn tại"}),
    ],
)
def test_what_may_be_a_duplicate_is_for_a_look_up_to_say(status: int, body: Any) -> None:
    error = failure(body, status)

    assert isinstance(error, PossibleDuplicate)
    assert error.acceptance.duplicate


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, {"code": 409, "mess": "Tồn kho không đủ"}, Rejected),
        (409, {"code": 409, "mess": "Mã thuốc bị trùng trong chi tiết"}, Rejected),
        (400, {"code": 400, "mess": "Thuốc đã tồn tại trong phiếu khác"}, Rejected),
        (409, b"", OutcomeUnknown),
        (409, {"code": 409, "mess": "Conflict"}, OutcomeUnknown),
    ],
)
def test_without_look_ups_only_words_about_the_document_count(
    status: int, body: Any, kind: type[SyncError]
) -> None:
    assert type(failure(body, status, has_look_up=False)) is kind
    assert submitted({"code": 409, "mess": "Hóa đơn đã tồn tại"}, 409, has_look_up=False).duplicate


DUPLICATE_KEY = "Violation of PRIMARY KEY constraint. Cannot insert duplicate key in 'dbo.HoaDon'."


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(
    "body",
    [DUPLICATE_KEY.encode(), {"message": DUPLICATE_KEY}, {"code": 500, "mess": "đã tồn tại"}],
)
def test_a_server_error_about_a_duplicate_counts_where_nothing_else_can_be_known(
    status: int, body: Any
) -> None:
    found = submitted(body, status, has_look_up=False, unconfirmed=True)

    assert (found.duplicate, found.national_id) == (True, None)
    for known in ({"has_look_up": True, "unconfirmed": True}, {"has_look_up": False}):
        error = failure(body, status, **known)
        assert type(error) is Unavailable
        assert error.maybe_stored


def test_a_bare_409_counts_for_an_unconfirmed_document_that_cannot_be_asked_for() -> None:
    assert submitted(b"", 409, has_look_up=False, unconfirmed=True).duplicate
    refused = {"code": 409, "mess": "Tồn kho không đủ"}
    assert type(failure(refused, 409, has_look_up=False, unconfirmed=True)) is Rejected
