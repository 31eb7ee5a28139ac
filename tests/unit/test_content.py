"""Content counts: what digest a body has, and whether a document that is there is the same one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lib.errors import Conflict, Rejected
from lib.models import Acceptance, Comparison, Payload
from lib.platforms.dqg.interpret import parse_lookup
from lib.platforms.dqg.response import Reply
from lib.record import Record, payload_digest
from lib.settings import ApiSettings
from tests.support.records import make_record
from tests.unit.answer_kit import NATIONAL, as_bytes

LINE = {"ma_thuoc": "DQG00010421", "so_lo": "SK240815", "so_luong": 20, "don_gia": 500}
BODY: dict[str, Any] = {
    "ma_hoa_don": "HD-1",
    "ma_co_so": "790760001234",
    "ngay_ban": "20261102",
    "ho_ten_khach_hang": "Khách lẻ",
    "hoa_don_chi_tiet": [
        {**LINE, "thanh_tien": 10000},
        {**LINE, "so_lo": "TH0325A", "thanh_tien": 10000},
    ],
}
SALE = Payload("hoa_don", "790760001234", "HD-1", BODY)
RECEIPT = Payload(
    "phieu_nhap",
    "790760001234",
    "PN-1",
    {
        "ma_phieu": "PN-1",
        "ma_co_so": "790760001234",
        "ngay_nhap": "202611020830",
        "loai_phieu_nhap": 1,
        "chi_tiet": [LINE, {**LINE, "so_luong": 1.5, "don_gia": None}],
    },
)
THERE = Acceptance(NATIONAL, "đã tồn tại", 409, "answer", duplicate=True)


def with_body(**changes: Any) -> Payload:
    return replace(SALE, body={**BODY, **changes})


# ---------------------------------------------------------------- digest


def test_a_digest_is_the_same_for_the_same_content() -> None:
    digest = payload_digest(SALE)

    assert len(digest) == 64
    assert payload_digest(replace(SALE, warnings=("doubt",))) == digest
    assert payload_digest(replace(SALE, body=dict(reversed(BODY.items())))) == digest
    assert payload_digest(with_body(ho_ten_khach_hang="Kha\u0301ch le\u0309")) == digest


@pytest.mark.parametrize(
    "changes",
    [
        {"ngay_ban": "20261103"},
        {"ho_ten_khach_hang": "Khách sỉ"},
        {"ghi_chu": None},
        {"hoa_don_chi_tiet": BODY["hoa_don_chi_tiet"][:1]},
        {"hoa_don_chi_tiet": BODY["hoa_don_chi_tiet"][::-1]},
        {"hoa_don_chi_tiet": [{**LINE, "so_luong": 21}]},
    ],
)
def test_a_digest_is_another_for_another_content(changes: dict[str, Any]) -> None:
    assert payload_digest(with_body(**changes)) != payload_digest(SALE)


def test_a_digest_tells_resources_apart() -> None:
    assert payload_digest(replace(SALE, resource="phieu_xuat")) != payload_digest(SALE)


# ---------------------------------------------------------------- the same document


def record_of(payload: Payload, sent: str | None = None) -> Record:
    record = make_record(local_id=payload.local_id)
    record.payload, record.sent_digest = payload, sent
    return record


def test_what_was_accepted_now_is_ours() -> None:
    assert record_of(SALE).is_confirmed_by(Acceptance(NATIONAL, "ok"), maybe_sent=False)


def test_a_document_that_is_there_is_ours_where_this_content_was_sent() -> None:
    record = record_of(SALE, payload_digest(SALE))

    assert record.is_confirmed_by(THERE, maybe_sent=True)


def test_a_document_that_is_there_is_ours_where_what_is_shown_of_it_agrees() -> None:
    agreeing = replace(THERE, compared=Comparison(same=("ngay_ban",)))

    assert record_of(SALE).is_confirmed_by(agreeing, maybe_sent=False)


@pytest.mark.parametrize("sent", [None, "0" * 64])
@pytest.mark.parametrize(
    "compared",
    [
        Comparison(),
        Comparison(different=("ngay_ban",)),
        Comparison(same=("ngay_ban",), different=("hoa_don_chi_tiet",)),
    ],
)
def test_any_other_document_under_the_code_is_a_conflict(
    compared: Comparison, sent: str | None
) -> None:
    with pytest.raises(Conflict) as caught:
        record_of(SALE, sent).is_confirmed_by(replace(THERE, compared=compared), maybe_sent=False)

    error = caught.value
    assert isinstance(error, Rejected)
    assert (error.error_class, error.http_status, error.answer) == ("conflict", 409, "answer")
    assert "HD-1" in error.message
    assert all(name in error.message for name in compared.different)


# ---------------------------------------------------------------- what a look-up shows


def compared(shown: dict[str, Any], payload: Payload = SALE) -> Comparison:
    body = {"code": 200, "mess": "ok", **shown}
    code = f"ma_{payload.resource}_quoc_gia"
    found = parse_lookup(
        Reply(200, {}, as_bytes({code: NATIONAL, **body})),
        payload.resource,
        payload.local_id,
        ApiSettings(),
        payload=payload,
    )
    assert isinstance(found, Acceptance)
    return found.compared


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ({"ngay_ban": "20261102"}, "ngay_ban"),
        ({"ngay_ban": "2026-11-02T23:59:00"}, "ngay_ban"),
        ({"ngay_ban": "02/11/2026"}, "ngay_ban"),
        ({"Ngay_Ban": 20261102}, "ngay_ban"),
        ({"tong_tien": 20000}, "tong_tien"),
        ({"tong_tien": "20000.00"}, "tong_tien"),
        ({"ma_co_so": "790760001234"}, "ma_co_so"),
        ({"hoa_don_chi_tiet": [{"so_luong": 20}, {"so_luong": "20.0"}]}, "hoa_don_chi_tiet"),
        ({"hoa_don_chi_tiet": BODY["hoa_don_chi_tiet"][::-1]}, "hoa_don_chi_tiet"),
        ({"chi_tiet": [{"MA_THUOC": "dqg00010421"}] * 2}, "hoa_don_chi_tiet"),
        ({"data": {"ngay_ban": "20261102"}}, "ngay_ban"),
    ],
)
def test_what_agrees_is_named(shown: dict[str, Any], name: str) -> None:
    expected = () if name == "ma_co_so" else (name,)
    assert compared(shown) == Comparison(same=expected)


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ({"ngay_ban": "20251102"}, "ngay_ban"),
        ({"tong_tien": 20001}, "tong_tien"),
        ({"ma_co_so": "010010005678"}, "ma_co_so"),
        ({"ma_hoa_don": "HD-2"}, "ma_hoa_don"),
        ({"hoa_don_chi_tiet": BODY["hoa_don_chi_tiet"][:1]}, "hoa_don_chi_tiet"),
        ({"hoa_don_chi_tiet": [{"so_luong": 20}, {"so_luong": 21}]}, "hoa_don_chi_tiet"),
        ({"hoa_don_chi_tiet": [LINE, LINE]}, "hoa_don_chi_tiet"),
    ],
)
def test_what_differs_is_named(shown: dict[str, Any], name: str) -> None:
    assert compared(shown).different == (name,)


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"ma_hoa_don": "HD-1"},
        {"ma_hoa_don": NATIONAL},
        {"ngay_ban": None, "hoa_don_chi_tiet": [], "tong_tien": "nhiều"},
        {"ngay_ban": "hôm qua", "tong_tien": True},
        {"hoa_don_chi_tiet": ["x", None]},
        {"hoa_don_chi_tiet": [{}, {"ghi_chu": "x"}]},
        {"ho_ten_khach_hang": "KHACH LE"},
    ],
)
def test_what_cannot_be_compared_says_nothing(shown: dict[str, Any]) -> None:
    assert compared(shown) == Comparison()


def test_a_receipt_is_compared_by_its_own_names() -> None:
    shown = {"ngay_nhap": "20261102", "loai_phieu_nhap": "1", "chi_tiet": [LINE, LINE]}

    assert compared(shown, RECEIPT) == Comparison(
        same=("ngay_nhap", "loai_phieu_nhap"), different=("chi_tiet",)
    )
