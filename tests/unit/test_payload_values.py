"""Values of the columns: texts, numbers, kinds and dates, and what becomes of them."""

# ruff: noqa: DTZ001 - the columns hold the pharmacy's local time, without a zone

from __future__ import annotations

import copy
import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from lib.errors import FieldError, InvalidDocument
from tests.unit.payload_kit import LINE, build, errors_of, make_document, only_line

# ---------------------------------------------------------------- text


@pytest.mark.parametrize("bad", ["A\x00B", "A\nB", "A\x7fB", "\ud800", "A\x1bB"])
def test_a_code_with_a_control_character_or_broken_unicode_is_refused(bad: str) -> None:
    (error,) = errors_of(make_document(line={"lot_number": bad}))

    assert (error.field, error.line) == ("so_lo", 1)
    assert "control character" in error.reason


def test_a_note_with_a_nul_is_refused_though_it_may_have_line_breaks() -> None:
    build(make_document("cancellation", header={"notes": "Hủy\ndo\tvỡ"}))

    (error,) = errors_of(make_document("cancellation", header={"notes": "Hủy\x00"}))

    assert error.field == "ghi_chu"


def test_a_padded_code_is_sent_without_its_padding() -> None:
    payload = build(make_document(header={"local_invoice_id": "HD-1      "}))

    assert payload.local_id == payload.body["ma_hoa_don"] == "HD-1"


def test_a_code_with_a_slash_and_a_space_is_kept() -> None:
    assert build(make_document(header={"local_invoice_id": "HD/S01 7"})).local_id == "HD/S01 7"


@pytest.mark.parametrize(("value", "sent"), [(241125, "241125"), (Decimal("241125"), "241125")])
def test_a_code_from_a_numeric_column_is_sent_as_text(value: object, sent: str) -> None:
    assert only_line(build(make_document(line={"lot_number": value})))["so_lo"] == sent


@pytest.mark.parametrize("value", [True, b"SK240815", date(2026, 1, 1), ["x"], {"a": 1}])
def test_what_is_no_text_is_refused(value: object) -> None:
    (error,) = errors_of(make_document(line={"lot_number": value}))

    assert error == FieldError("so_lo", 1, "is not text")


def test_an_error_never_repeats_the_value() -> None:
    with pytest.raises(InvalidDocument) as caught:
        build(make_document(header={"customer_name": "Nguyễn Thị Mai " * 5, "sale_date": "mai"}))

    assert "Nguyễn" not in str(caught.value)
    assert "mai" not in str(caught.value)


def test_the_shop_code_is_never_sent_as_facility_code() -> None:
    document = make_document(header={"pharmacy_code": None})

    assert errors_of(document) == [FieldError("ma_co_so", None, "is blank")]


def test_a_facility_code_longer_than_the_national_standard_is_only_doubted() -> None:
    payload = build(make_document(header={"pharmacy_code": "7907600012345"}))

    assert payload.pharmacy_code == "7907600012345"
    assert payload.warnings == ("mã cơ sở (ma_co_so): dài hơn 12 ký tự",)


@pytest.mark.parametrize("blank", [None, "", "   "])
def test_a_blank_dosage_uses_the_fallback_where_one_is_set(blank: object) -> None:
    document = make_document(line={"dosage": blank})

    assert only_line(build(document, empty_dosage="0"))["lieu_dung"] == "0"
    assert errors_of(document) == [FieldError("lieu_dung", 1, "is blank")]


@pytest.mark.parametrize("settings", [{}, {"empty_notes": "Không ghi chú"}])
@pytest.mark.parametrize("policy", ["omit", "empty", "null"])
def test_a_slip_always_has_its_note(settings: dict[str, str], policy: str) -> None:
    document = make_document("cancellation", header={"notes": None})

    body = build(document, empty_optional=policy, **settings).body

    assert body["ghi_chu"] == settings.get("empty_notes", "")


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [20, Decimal("20.00"), 20.0, "20", " 20.00 ", Decimal("2E1")])
def test_a_whole_number_goes_out_as_int_whatever_the_driver_gives(value: object) -> None:
    sent = only_line(build(make_document(line={"quantity": value})))["so_luong"]

    assert sent == 20
    assert type(sent) is int


NOT_NUMBERS = [
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), float("nan"), float("-inf")),
    *("abc", "1,5", "0x10", "1_000", "²", "١٢", True, b"2", date(2026, 1, 1)),
]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_no_number_is_refused(value: object) -> None:
    assert errors_of(make_document(line={"quantity": value})) == [
        FieldError("so_luong", 1, "is not a number")
    ]


@pytest.mark.parametrize(
    "value", [Decimal("1E+999999"), 10**18, pytest.param(10**6000, id="huge"), 1e300, "9" * 19]
)
def test_a_number_no_column_could_hold_is_refused(value: object) -> None:
    (error,) = errors_of(make_document(line={"unit_price": value}))

    assert error == FieldError("don_gia", 1, "is out of range")


@pytest.mark.parametrize("value", [0, Decimal("0.00"), Decimal("-0.0"), Decimal("0E+999999")])
def test_a_quantity_of_zero_is_refused_and_a_price_of_zero_is_sent(value: object) -> None:
    priced = only_line(build(make_document("cancellation", line={"unit_price": value})))
    (error,) = errors_of(make_document("cancellation", line={"quantity": value}))

    assert priced["don_gia"] == 0
    assert error == FieldError("so_luong", 1, "must be greater than zero")


@pytest.mark.parametrize("column", ["quantity", "unit_price", "line_total", "conversion_ratio"])
def test_a_negative_number_is_refused(column: str) -> None:
    (error,) = errors_of(make_document(line={column: Decimal("-1")}))

    assert error.reason == "must not be negative"


def test_a_fraction_is_refused_by_default() -> None:
    errors = errors_of(make_document(line={"quantity": Decimal("1.50")}))

    assert errors == [FieldError("so_luong", 1, "is not a whole number")]


@pytest.mark.parametrize(
    ("value", "sent"), [("1.50", 2), ("2.50", 3), ("1.49", 1), ("0.5", 1), ("2.4999", 2)]
)
def test_a_fraction_is_rounded_half_away_from_zero_with_a_warning(value: str, sent: int) -> None:
    payload = build(make_document(line={"quantity": Decimal(value)}), fractions="round")

    assert only_line(payload)["so_luong"] == sent
    assert payload.warnings == ("dòng 1, số lượng (so_luong): đã làm tròn thành số nguyên",)


def test_a_quantity_that_rounds_to_zero_is_refused() -> None:
    errors = errors_of(make_document(line={"quantity": Decimal("0.4")}), fractions="round")

    assert errors == [FieldError("so_luong", 1, "must be greater than zero")]


def test_a_fraction_is_sent_as_a_json_number_where_that_is_chosen() -> None:
    payload = build(
        make_document(line={"quantity": Decimal("1.50"), "unit_price": 0.1}), fractions="send"
    )

    assert json.loads(json.dumps(only_line(payload)))["so_luong"] == 1.5
    assert only_line(payload)["don_gia"] == 0.1
    assert only_line(payload)["thanh_tien"] == 10000


def test_a_fraction_that_a_json_number_would_change_is_refused() -> None:
    value = Decimal("1234567890123456.78")
    errors = errors_of(make_document(line={"line_total": value}), fractions="send")

    assert errors == [FieldError("thanh_tien", 1, "has more digits than can be sent exactly")]


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize("kind", [1, 2, 3, Decimal("2"), "3"])
def test_the_documented_receipt_kinds_are_sent(kind: object) -> None:
    payload = build(make_document("import", header={"receipt_type": kind}))

    assert payload.body["loai_phieu_nhap"] == int(str(kind))
    assert payload.warnings == ()


@pytest.mark.parametrize("kind", [0, 4, 9, -1])
def test_an_unknown_receipt_kind_is_refused(kind: int) -> None:
    errors = errors_of(make_document("import", header={"receipt_type": kind}))

    assert errors == [FieldError("loai_phieu_nhap", None, "must be one of 1, 2, 3")]


@pytest.mark.parametrize(
    ("kind", "accepted_with_warnings"), [(1, True), (2, False), (3, False), (4, True)]
)
def test_undocumented_slip_kinds_are_sent_with_a_warning(
    kind: int, accepted_with_warnings: bool
) -> None:
    payload = build(make_document("cancellation", header={"issue_type": kind}))

    assert payload.body["loai_phieu_xuat"] == kind
    assert bool(payload.warnings) is accepted_with_warnings


@pytest.mark.parametrize("kind", [0, 5, 9])
def test_an_unknown_slip_kind_is_refused(kind: int) -> None:
    (error,) = errors_of(make_document("cancellation", header={"issue_type": kind}))

    assert error.field == "loai_phieu_xuat"


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "value",
    [
        date(2026, 11, 2),
        datetime(2026, 11, 2, 0, 0),
        datetime(2026, 11, 2, 23, 59, 59),
        datetime(2026, 11, 2, 23, 59, tzinfo=timezone(timedelta(hours=-5))),
        "2026-11-02",
        "2026-11-02 23:59:59",
        "20261102",
    ],
)
def test_a_date_is_sent_as_stored_without_conversion(value: object) -> None:
    assert build(make_document(header={"sale_date": value})).body["ngay_ban"] == "20261102"


def test_the_long_date_format_concerns_the_documents_own_date_only() -> None:
    payload = build(make_document(), date_format="%Y%m%d%H%M")

    assert payload.body["ngay_ban"] == "202611022359"
    assert only_line(payload)["han_dung"] == "20280815"
    assert only_line(payload)["ngay_san_xuat"] == "20250815"


@pytest.mark.parametrize("value", ["02/11/2026", "2026-13-01", 20261102, Decimal(1), True])
def test_what_is_no_date_is_refused(value: object) -> None:
    errors = errors_of(make_document(header={"sale_date": value}))

    assert errors == [FieldError("ngay_ban", None, "is not a date")]


def test_a_date_of_long_ago_is_refused() -> None:
    (error,) = errors_of(make_document(line={"expiry_date": date(1, 1, 1)}))

    assert error == FieldError("han_dung", 1, "is before the year 1900")


def test_dates_that_do_not_fit_together_are_only_doubted() -> None:
    document = make_document(
        line={"production_date": date(2026, 10, 2), "expiry_date": date(2026, 10, 1)}
    )

    assert build(document, today=date(2026, 11, 1)).warnings == (
        "ngày bán (ngay_ban): ở tương lai",
        "dòng 1, hạn dùng (han_dung): lô đã hết hạn",
        "dòng 1, ngày sản xuất (ngay_san_xuat): sau hạn dùng",
    )


def test_todays_document_is_not_in_the_future() -> None:
    payload = build(make_document(), today=date(2026, 11, 2), date_format="%Y%m%d%H%M")

    assert payload.warnings == ()


def test_an_expired_lot_is_the_ordinary_reason_for_an_issue_slip() -> None:
    document = make_document(
        "cancellation", header={"issue_type": 3}, line={"expiry_date": date(2026, 10, 31)}
    )

    assert build(document, today=date(2026, 11, 7)).warnings == ()


# ---------------------------------------------------------------- text that looks the same

COMPOSED, DECOMPOSED = "L\u00f4 \u1ebe-01", "Lo\u0302 E\u0302\u0301-01"
UNSEEN = [
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"),
    *("\u00ad", "\u200e", "\u202e", "\u2066", "\ufe0f"),
]


def test_one_lot_written_in_two_ways_is_sent_as_one() -> None:
    sent = {
        only_line(build(make_document(line={"lot_number": lot})))["so_lo"]
        for lot in (COMPOSED, DECOMPOSED)
    }

    assert sent == {COMPOSED}


def test_texts_may_be_sent_as_they_are_stored() -> None:
    document = make_document(line={"lot_number": DECOMPOSED})

    assert only_line(build(document, normalize_text=False))["so_lo"] == DECOMPOSED


def test_a_text_counts_as_long_as_it_is_sent() -> None:
    assert only_line(build(make_document(line={"lot_number": "o\u0302" * 50})))["so_lo"] == "ô" * 50


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_is_not_seen_is_removed_with_a_warning(unseen: str) -> None:
    payload = build(make_document(line={"lot_number": f"SK{unseen}240815"}))

    assert only_line(payload)["so_lo"] == "SK240815"
    assert payload.warnings == ("dòng 1, số lô (so_lo): đã bỏ ký tự vô hình",)


@pytest.mark.parametrize("unseen", UNSEEN)
@pytest.mark.parametrize("column", ["local_invoice_id", "pharmacy_code"])
def test_what_is_not_seen_is_refused_in_what_identifies_a_document(
    unseen: str, column: str
) -> None:
    (error,) = errors_of(make_document(header={column: f"HD{unseen}-1"}))

    assert error.reason == "contains an invisible character"


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_is_not_seen_is_blank(unseen: str) -> None:
    assert errors_of(make_document(line={"lot_number": f" {unseen} {unseen}"})) == [
        FieldError("so_lo", 1, "is blank")
    ]


# ---------------------------------------------------------------- many errors


def test_of_thousands_of_wrong_fields_the_first_are_kept_and_the_rest_counted() -> None:
    bad = {"drug_code": "", "lot_number": "", "unit": "", "quantity": 0, "expiry_date": "x"}
    with pytest.raises(InvalidDocument) as caught:
        build(make_document(lines=[{**LINE, **bad}] * 10_000))

    error = caught.value
    assert (len(error.field_errors), error.field_error_count) == (20, 50_000)
    assert error.message.endswith("; và 49,980 lỗi khác")
    assert len(error.message) < 1000
    assert copy.deepcopy(error).message == error.message
