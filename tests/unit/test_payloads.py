"""Field tables of the three documents: what is sent, what is refused, what is only doubted."""

# ruff: noqa: DTZ001 - the columns hold the pharmacy's local time, without a zone

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from lib.errors import FieldError, InvalidDocument
from lib.models import Document, DocumentRef, Payload
from lib.pipelines import PIPELINES
from lib.platforms.dqg.payloads import build_payload
from lib.settings import ApiSettings

HEADERS: dict[str, dict[str, Any]] = {
    "sale": {
        "id": 101,
        "local_invoice_id": "HD-S01-000101",
        "national_invoice_id": None,
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "national_prescription_id": "79012a7k3m9q-C",
        "sale_date": datetime(2026, 11, 2, 23, 59),
        "seller_name": "DS. Trần Thu Hà",
        "customer_name": "Khách lẻ",
        "status": "PENDING_SYNC",
        "created_at": datetime(2026, 11, 2, 23, 59),
    },
    "import": {
        "id": 21,
        "local_receipt_id": "PN-S01-000021",
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "receipt_date": datetime(2026, 10, 28, 8, 30),
        "receipt_type": 1,
        "notes": None,
        "supplier_name": "Công ty TNHH Dược phẩm Sao Khuê Demo",
        "status": "PENDING_SYNC",
    },
    "cancellation": {
        "id": 4,
        "local_slip_id": "PX-S01-000004",
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "issue_date": datetime(2026, 11, 6),
        "issue_type": 2,
        "notes": "Trả lô cận hạn",
        "recipient_name": "Công ty TNHH TM Dược Lạc Việt Demo",
        "status": "PENDING_SYNC",
    },
}
LINE: dict[str, Any] = {
    "id": 1,
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "production_date": date(2025, 8, 15),
    "expiry_date": date(2028, 8, 15),
    "unit": "Viên",
    "concentration": "500mg",
    "dosage": "1 viên/lần, ngày 3 lần",
    "route_of_administration": "Uống",
    "registration_number": "VD-31422-19",
    "quantity": Decimal("20.00"),
    "unit_price": Decimal("500.00"),
    "line_total": Decimal("10000.00"),
    "conversion_ratio": Decimal("1.00"),
}
ALL = ("sale", "import", "cancellation")


def make_document(
    pipeline: str = "sale",
    header: Mapping[str, Any] | None = None,
    line: Mapping[str, Any] | None = None,
    lines: list[dict[str, Any]] | None = None,
) -> Document:
    """A document that is fit to be sent, but for the given columns."""
    columns = {**HEADERS[pipeline], **(header or {})}
    local_id = str(columns[PIPELINES[pipeline].local_id_column])
    return Document(
        ref=DocumentRef(pipeline, 1, local_id, "790760001234", "SHOP01"),
        claim_token="token",
        unconfirmed=False,
        attempts=1,
        header=columns,
        lines=[{**LINE, **(line or {})}] if lines is None else lines,
    )


def build(document: Document, today: date | None = None, **settings: Any) -> Payload:
    return build_payload(document, ApiSettings(**settings), today)


def errors_of(document: Document, **settings: Any) -> list[FieldError]:
    with pytest.raises(InvalidDocument) as caught:
        build(document, **settings)
    return list(caught.value.field_errors)


def only_line(payload: Payload) -> dict[str, Any]:
    (line,) = payload.body.get("hoa_don_chi_tiet") or payload.body["chi_tiet"]
    assert isinstance(line, dict)
    return line


# ---------------------------------------------------------------- whole bodies


def test_a_sale_becomes_a_hoa_don_with_exactly_its_fields() -> None:
    payload = build(make_document("sale"))

    assert (payload.resource, payload.pharmacy_code, payload.local_id, payload.warnings) == (
        "hoa_don",
        "790760001234",
        "HD-S01-000101",
        (),
    )
    assert payload.body == {
        "ma_hoa_don": "HD-S01-000101",
        "ma_co_so": "790760001234",
        "ma_don_thuoc_quoc_gia": "79012a7k3m9q-C",
        "ngay_ban": "20261102",
        "ho_ten_nguoi_ban": "DS. Trần Thu Hà",
        "ho_ten_khach_hang": "Khách lẻ",
        "hoa_don_chi_tiet": [
            {
                "ma_thuoc": "DQG00010421",
                "ten_thuoc": "Paracetamol Sao Khuê 500mg",
                "so_lo": "SK240815",
                "ngay_san_xuat": "20250815",
                "han_dung": "20280815",
                "don_vi_tinh": "Viên",
                "ham_luong": "500mg",
                "duong_dung": "Uống",
                "lieu_dung": "1 viên/lần, ngày 3 lần",
                "so_dang_ky": "VD-31422-19",
                "so_luong": 20,
                "don_gia": 500,
                "thanh_tien": 10000,
                "ty_le_quy_doi": 1,
            }
        ],
    }


def test_a_receipt_becomes_a_phieu_nhap_with_exactly_its_fields() -> None:
    payload = build(make_document("import"))

    assert payload.resource == "phieu_nhap"
    assert payload.body == {
        "ma_phieu": "PN-S01-000021",
        "ma_co_so": "790760001234",
        "ngay_nhap": "20261028",
        "loai_phieu_nhap": 1,
        "ten_co_so_cung_cap": "Công ty TNHH Dược phẩm Sao Khuê Demo",
        "chi_tiet": [
            {
                "ma_thuoc": "DQG00010421",
                "ten_thuoc": "Paracetamol Sao Khuê 500mg",
                "so_lo": "SK240815",
                "ngay_san_xuat": "20250815",
                "han_dung": "20280815",
                "so_dklh": "VD-31422-19",
                "so_luong": 20,
                "don_gia": 500,
                "don_vi_tinh": "Viên",
            }
        ],
    }


def test_an_issue_slip_becomes_a_phieu_xuat_with_exactly_its_fields() -> None:
    payload = build(make_document("cancellation"))

    assert payload.resource == "phieu_xuat"
    assert payload.body == {
        "ma_phieu": "PX-S01-000004",
        "ma_co_so": "790760001234",
        "ngay_xuat": "20261106",
        "loai_phieu_xuat": 2,
        "ghi_chu": "Trả lô cận hạn",
        "ten_co_so_nhan": "Công ty TNHH TM Dược Lạc Việt Demo",
        "chi_tiet": [
            {
                "ma_thuoc": "DQG00010421",
                "ten_thuoc": "Paracetamol Sao Khuê 500mg",
                "so_lo": "SK240815",
                "ngay_san_xuat": "20250815",
                "han_dung": "20280815",
                "so_dklh": "VD-31422-19",
                "so_luong": 20,
                "don_gia": 500,
                "don_vi_tinh": "Viên",
            }
        ],
    }


def test_whole_numbers_are_written_without_a_fraction() -> None:
    assert '"so_luong": 20,' in json.dumps(only_line(build(make_document())))


@pytest.mark.parametrize("pipeline", ALL)
def test_the_lines_keep_their_order_and_none_is_dropped(pipeline: str) -> None:
    lines = [{**LINE, "lot_number": f"L{n}"} for n in range(30)]

    body = build(make_document(pipeline, lines=lines)).body

    sent = body.get("hoa_don_chi_tiet") or body["chi_tiet"]
    assert [line["so_lo"] for line in sent] == [f"L{n}" for n in range(30)]


# ---------------------------------------------------------------- required, optional, lengths

REQUIRED_HEADER = {
    "sale": {
        "local_invoice_id": "ma_hoa_don",
        "pharmacy_code": "ma_co_so",
        "sale_date": "ngay_ban",
    },
    "import": {
        "local_receipt_id": "ma_phieu",
        "pharmacy_code": "ma_co_so",
        "receipt_date": "ngay_nhap",
        "receipt_type": "loai_phieu_nhap",
    },
    "cancellation": {
        "local_slip_id": "ma_phieu",
        "pharmacy_code": "ma_co_so",
        "issue_date": "ngay_xuat",
        "issue_type": "loai_phieu_xuat",
    },
}
_GOODS = {
    "drug_code": "ma_thuoc",
    "drug_name": "ten_thuoc",
    "lot_number": "so_lo",
    "expiry_date": "han_dung",
    "quantity": "so_luong",
    "unit": "don_vi_tinh",
}
REQUIRED_LINE = {
    "sale": {
        **_GOODS,
        "concentration": "ham_luong",
        "dosage": "lieu_dung",
        "unit_price": "don_gia",
        "line_total": "thanh_tien",
        "conversion_ratio": "ty_le_quy_doi",
    },
    "import": {**_GOODS, "registration_number": "so_dklh"},
    "cancellation": {**_GOODS, "registration_number": "so_dklh", "unit_price": "don_gia"},
}


@pytest.mark.parametrize(
    "blank", [None, "", "  \t ", "\u200b"], ids=["null", "empty", "space", "zero"]
)
@pytest.mark.parametrize(
    ("pipeline", "column", "field"),
    [(p, column, field) for p in ALL for column, field in REQUIRED_HEADER[p].items()],
)
def test_a_blank_required_header_field_is_named(
    pipeline: str, column: str, field: str, blank: object
) -> None:
    errors = errors_of(make_document(pipeline, header={column: blank}))

    assert errors == [FieldError(field, None, "is blank")]


@pytest.mark.parametrize("blank", [None, "   "], ids=["null", "space"])
@pytest.mark.parametrize(
    ("pipeline", "column", "field"),
    [(p, column, field) for p in ALL for column, field in REQUIRED_LINE[p].items()],
)
def test_a_blank_required_line_field_is_named_with_its_line(
    pipeline: str, column: str, field: str, blank: object
) -> None:
    lines = [dict(LINE), {**LINE, column: blank}]

    assert errors_of(make_document(pipeline, lines=lines)) == [FieldError(field, 2, "is blank")]


OPTIONAL_TEXT = [
    ("sale", "national_prescription_id", "ma_don_thuoc_quoc_gia"),
    ("sale", "seller_name", "ho_ten_nguoi_ban"),
    ("sale", "customer_name", "ho_ten_khach_hang"),
    ("sale", "route_of_administration", "duong_dung"),
    ("sale", "registration_number", "so_dang_ky"),
    ("sale", "production_date", "ngay_san_xuat"),
    ("import", "notes", "ghi_chu"),
    ("import", "supplier_name", "ten_co_so_cung_cap"),
    ("import", "production_date", "ngay_san_xuat"),
    ("cancellation", "recipient_name", "ten_co_so_nhan"),
    ("cancellation", "production_date", "ngay_san_xuat"),
]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("omit", {}), ("empty", {"value": ""}), ("null", {"value": None})],
)
@pytest.mark.parametrize(("pipeline", "column", "field"), OPTIONAL_TEXT)
def test_an_optional_field_without_a_value_follows_the_policy(
    pipeline: str, column: str, field: str, policy: str, expected: dict[str, object]
) -> None:
    document = make_document(pipeline, header={column: None}, line={column: " "})

    payload = build(document, empty_optional=policy)

    part = payload.body if column in HEADERS[pipeline] else only_line(payload)
    assert ({"value": part[field]} if field in part else {}) == expected


@pytest.mark.parametrize(("policy", "sent"), [("omit", False), ("empty", False), ("null", True)])
def test_a_receipt_without_a_price_never_sends_an_empty_text_for_it(
    policy: str, sent: bool
) -> None:
    line = only_line(
        build(make_document("import", line={"unit_price": None}), empty_optional=policy)
    )

    assert ("don_gia" in line) is sent
    assert line.get("don_gia") is None


def test_missing_columns_count_as_blank() -> None:
    errors = errors_of(make_document("cancellation", lines=[{}]))

    assert {error.field for error in errors} == set(REQUIRED_LINE["cancellation"].values())
    assert {error.line for error in errors} == {1}


LIMITS = [
    ("sale", "local_invoice_id", "ma_hoa_don", 50),
    ("sale", "pharmacy_code", "ma_co_so", 50),
    ("sale", "national_prescription_id", "ma_don_thuoc_quoc_gia", 50),
    ("sale", "seller_name", "ho_ten_nguoi_ban", 50),
    ("sale", "customer_name", "ho_ten_khach_hang", 50),
    ("sale", "drug_code", "ma_thuoc", 50),
    ("sale", "drug_name", "ten_thuoc", 500),
    ("sale", "lot_number", "so_lo", 50),
    ("sale", "unit", "don_vi_tinh", 50),
    ("sale", "concentration", "ham_luong", 500),
    ("sale", "route_of_administration", "duong_dung", 200),
    ("sale", "registration_number", "so_dang_ky", 50),
    ("import", "local_receipt_id", "ma_phieu", 50),
    ("import", "supplier_name", "ten_co_so_cung_cap", 500),
    ("import", "registration_number", "so_dklh", 50),
    ("import", "unit", "don_vi_tinh", 200),
    ("cancellation", "local_slip_id", "ma_phieu", 50),
    ("cancellation", "recipient_name", "ten_co_so_nhan", 500),
    ("cancellation", "registration_number", "so_dklh", 50),
    ("cancellation", "unit", "don_vi_tinh", 200),
]


@pytest.mark.parametrize(("pipeline", "column", "field", "limit"), LIMITS)
def test_a_text_may_be_as_long_as_its_limit_and_no_longer(
    pipeline: str, column: str, field: str, limit: int
) -> None:
    def document(length: int) -> Document:
        value = {column: "ệ" * length}
        return make_document(
            pipeline, **{"header" if column in HEADERS[pipeline] else "line": value}
        )

    build(document(limit))
    (error,) = errors_of(document(limit + 1))

    assert (error.field, error.reason) == (field, f"is longer than {limit} characters")


def test_the_dosage_has_no_limit_and_may_have_several_lines() -> None:
    dosage = "Sáng 1 viên\r\nTối 1 viên\n" + "x" * 5000

    assert only_line(build(make_document(line={"dosage": dosage})))["lieu_dung"] == dosage


@pytest.mark.parametrize("pipeline", ["import", "cancellation"])
def test_a_long_note_is_cut_with_a_warning(pipeline: str) -> None:
    payload = build(make_document(pipeline, header={"notes": "ờ" * 501}))

    assert payload.body["ghi_chu"] == "ờ" * 500
    assert payload.warnings == ("ghi_chu: cut at 500 characters",)


def test_every_bad_field_is_reported_at_once() -> None:
    document = make_document(
        header={"local_invoice_id": "x" * 51, "sale_date": "soon"},
        lines=[
            {**LINE, "lot_number": "", "quantity": 0},
            dict(LINE),
            {**LINE, "drug_code": None, "expiry_date": 20280815},
        ],
    )

    assert errors_of(document) == [
        FieldError("ma_hoa_don", None, "is longer than 50 characters"),
        FieldError("ngay_ban", None, "is not a date"),
        FieldError("so_lo", 1, "is blank"),
        FieldError("so_luong", 1, "must be greater than zero"),
        FieldError("ma_thuoc", 3, "is blank"),
        FieldError("han_dung", 3, "is not a date"),
    ]


@pytest.mark.parametrize(
    ("pipeline", "field"),
    [("sale", "hoa_don_chi_tiet"), ("import", "chi_tiet"), ("cancellation", "chi_tiet")],
)
def test_a_document_without_lines_is_refused(pipeline: str, field: str) -> None:
    errors = errors_of(make_document(pipeline, lines=[]))

    assert errors == [FieldError(field, None, "has no lines")]


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
    assert payload.warnings == ("ma_co_so: is longer than 12 characters",)


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
    assert payload.warnings == ("line 1 so_luong: rounded to a whole number",)


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


@pytest.mark.parametrize(("kind", "doubted"), [(1, True), (2, False), (3, False), (4, True)])
def test_undocumented_slip_kinds_are_sent_with_a_warning(kind: int, doubted: bool) -> None:
    payload = build(make_document("cancellation", header={"issue_type": kind}))

    assert payload.body["loai_phieu_xuat"] == kind
    assert bool(payload.warnings) is doubted


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
        "ngay_ban: is in the future",
        "line 1 han_dung: the lot had expired",
        "line 1 ngay_san_xuat: is after the expiry date",
    )


def test_todays_document_is_not_in_the_future() -> None:
    payload = build(make_document(), today=date(2026, 11, 2), date_format="%Y%m%d%H%M")

    assert payload.warnings == ()


def test_an_expired_lot_is_the_ordinary_reason_for_an_issue_slip() -> None:
    document = make_document(
        "cancellation", header={"issue_type": 3}, line={"expiry_date": date(2026, 10, 31)}
    )

    assert build(document, today=date(2026, 11, 7)).warnings == ()
