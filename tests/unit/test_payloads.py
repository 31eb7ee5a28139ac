"""Field tables of the three documents: what is sent, what is refused."""

from __future__ import annotations

import json

import pytest

from lib.errors import FieldError
from lib.models import Document
from tests.unit.payload_kit import ALL, HEADERS, LINE, build, errors_of, make_document, only_line

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
    assert payload.warnings == ("ghi chú (ghi_chu): đã cắt còn 500 ký tự",)


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
