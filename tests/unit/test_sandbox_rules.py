"""The sandbox's validation, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.local.sandbox.resources import RESOURCES
from deployments.local.sandbox.rules import check_document
from tests.support.sandbox_examples import example, receipt, sale, slip
from tests.unit.sandbox_kit import with_line

SALE, RECEIPT, SLIP = (RESOURCES[name] for name in ("hoa_don", "phieu_nhap", "phieu_xuat"))

DROP = ...


def wrong_fields(document: dict[str, Any], resource: str, **options: Any) -> list[Any]:
    problems = check_document(RESOURCES[resource], document, **options)
    return [(problem.field, problem.line) for problem in problems]


def header(resource: str, field: str, value: Any) -> dict[str, Any]:
    document = {**example(resource), field: value}
    return {name: content for name, content in document.items() if content is not DROP}


REQUIRED_HEADER = [
    *[("hoa_don", f) for f in ("ma_hoa_don", "ma_co_so", "ngay_ban", "hoa_don_chi_tiet")],
    *[
        ("phieu_nhap", f)
        for f in ("ma_phieu", "ma_co_so", "ngay_nhap", "loai_phieu_nhap", "chi_tiet")
    ],
    *[
        ("phieu_xuat", f)
        for f in ("ma_phieu", "ma_co_so", "ngay_xuat", "loai_phieu_xuat", "ghi_chu", "chi_tiet")
    ],
]
DRUG_FIELDS = ("ma_thuoc", "ten_thuoc", "so_lo", "han_dung", "don_vi_tinh", "so_luong")
REQUIRED_LINE = [
    *[
        ("hoa_don", f)
        for f in (
            *DRUG_FIELDS,
            "ham_luong",
            "lieu_dung",
            "don_gia",
            "thanh_tien",
            "ty_le_quy_doi",
        )
    ],
    *[("phieu_nhap", f) for f in (*DRUG_FIELDS, "so_dklh")],
    *[("phieu_xuat", f) for f in (*DRUG_FIELDS, "so_dklh", "don_gia")],
]
OPTIONAL_HEADER = [
    *[("hoa_don", f) for f in ("ma_don_thuoc_quoc_gia", "ho_ten_nguoi_ban", "ho_ten_khach_hang")],
    *[("phieu_nhap", f) for f in ("ghi_chu", "ten_co_so_cung_cap")],
    ("phieu_xuat", "ten_co_so_nhan"),
]
OPTIONAL_LINE = [
    *[("hoa_don", f) for f in ("ngay_san_xuat", "duong_dung", "so_dang_ky")],
    ("phieu_nhap", "ngay_san_xuat"),
    ("phieu_xuat", "ngay_san_xuat"),
]
LIMITS_HEADER = [
    ("hoa_don", "ma_hoa_don", 50),
    ("hoa_don", "ma_co_so", 50),
    ("hoa_don", "ma_don_thuoc_quoc_gia", 50),
    ("hoa_don", "ho_ten_nguoi_ban", 50),
    ("hoa_don", "ho_ten_khach_hang", 50),
    ("phieu_nhap", "ma_phieu", 50),
    ("phieu_nhap", "ghi_chu", 500),
    ("phieu_nhap", "ten_co_so_cung_cap", 500),
    ("phieu_xuat", "ma_phieu", 50),
    ("phieu_xuat", "ghi_chu", 500),
    ("phieu_xuat", "ten_co_so_nhan", 500),
]
LIMITS_LINE = [
    *[(r, "ten_thuoc", 500) for r in RESOURCES],
    *[(r, "so_lo", 50) for r in RESOURCES],
    ("hoa_don", "don_vi_tinh", 50),
    ("phieu_nhap", "don_vi_tinh", 200),
    ("phieu_xuat", "don_vi_tinh", 200),
    ("hoa_don", "ham_luong", 500),
    ("hoa_don", "duong_dung", 200),
    ("hoa_don", "so_dang_ky", 50),
    ("phieu_nhap", "so_dklh", 50),
    ("phieu_xuat", "so_dklh", 50),
]


@pytest.mark.parametrize("resource", list(RESOURCES))
def test_example_is_valid(resource: str) -> None:
    assert check_document(RESOURCES[resource], example(resource)) == []


@pytest.mark.parametrize("value", [DROP, None])
@pytest.mark.parametrize(("resource", "field"), REQUIRED_HEADER)
def test_required_header_field_is_demanded(resource: str, field: str, value: Any) -> None:
    assert wrong_fields(header(resource, field, value), resource) == [(field, None)]


@pytest.mark.parametrize("value", [DROP, None])
@pytest.mark.parametrize(("resource", "field"), REQUIRED_LINE)
def test_required_line_field_is_demanded(resource: str, field: str, value: Any) -> None:
    document = with_line(example(resource), **{field: value})

    assert wrong_fields(document, resource) == [(field, 1)]


@pytest.mark.parametrize("field", ["so_lo", "lieu_dung", "ham_luong", "ma_thuoc", "don_vi_tinh"])
@pytest.mark.parametrize("value", ["", "   "])
def test_required_text_may_not_be_blank(field: str, value: str) -> None:
    assert wrong_fields(with_line(sale(), **{field: value}), "hoa_don") == [(field, 1)]


def test_note_of_a_slip_may_be_empty_but_not_absent() -> None:
    assert check_document(SLIP, slip(ghi_chu="")) == []


@pytest.mark.parametrize("value", [DROP, None, ""])
@pytest.mark.parametrize(("resource", "field"), OPTIONAL_HEADER)
def test_optional_header_field_may_be_empty(resource: str, field: str, value: Any) -> None:
    assert wrong_fields(header(resource, field, value), resource) == []


@pytest.mark.parametrize("value", [DROP, None, ""])
@pytest.mark.parametrize(("resource", "field"), OPTIONAL_LINE)
def test_optional_line_field_may_be_empty(resource: str, field: str, value: Any) -> None:
    assert wrong_fields(with_line(example(resource), **{field: value}), resource) == []


@pytest.mark.parametrize("value", [DROP, None, 0])
def test_price_of_a_receipt_is_optional(value: Any) -> None:
    assert check_document(RECEIPT, with_line(receipt(), don_gia=value)) == []


def test_price_of_a_slip_may_be_zero() -> None:
    assert check_document(SLIP, with_line(slip(), don_gia=0)) == []


@pytest.mark.parametrize(("resource", "field", "limit"), LIMITS_HEADER)
def test_header_text_has_a_longest_length(resource: str, field: str, limit: int) -> None:
    assert wrong_fields(header(resource, field, "ệ" * limit), resource) == []
    assert wrong_fields(header(resource, field, "ệ" * (limit + 1)), resource) == [(field, None)]


@pytest.mark.parametrize(("resource", "field", "limit"), LIMITS_LINE)
def test_line_text_has_a_longest_length(resource: str, field: str, limit: int) -> None:
    fits = with_line(example(resource), **{field: "ệ" * limit})
    too_long = with_line(example(resource), **{field: "ệ" * (limit + 1)})

    assert wrong_fields(fits, resource) == []
    assert wrong_fields(too_long, resource) == [(field, 1)]


def test_dosage_has_no_longest_length() -> None:
    assert check_document(SALE, with_line(sale(), lieu_dung="x" * 5000)) == []


def test_drug_code_has_a_longest_length() -> None:
    document = with_line(sale(), ma_thuoc="x" * 51)

    assert wrong_fields(document, "hoa_don", known_drugs=None) == [("ma_thuoc", 1)]


@pytest.mark.parametrize("value", [5, 1.5, True, ["x"], {"x": 1}])
def test_text_must_be_a_text(value: Any) -> None:
    assert wrong_fields(sale(ho_ten_khach_hang=value), "hoa_don") == [("ho_ten_khach_hang", None)]
    assert wrong_fields(with_line(sale(), so_lo=value), "hoa_don") == [("so_lo", 1)]
    assert wrong_fields(with_line(sale(), han_dung=value), "hoa_don") == [("han_dung", 1)]


def test_half_a_character_is_refused() -> None:
    assert wrong_fields(sale(ho_ten_khach_hang="\ud83d"), "hoa_don") == [
        ("ho_ten_khach_hang", None)
    ]


@pytest.mark.parametrize("value", ["20261102", "202611022359"])
def test_document_date_has_8_or_12_digits(value: str) -> None:
    assert wrong_fields(sale(ngay_ban=value), "hoa_don") == []
    assert wrong_fields(receipt(ngay_nhap=value), "phieu_nhap") == []
    assert wrong_fields(slip(ngay_xuat=value), "phieu_xuat") == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-11-02",
        "20261302",
        "20260230",
        "2026110",
        "2026110210",
        "202611022460",
        "２０２６１１０２",
        "2026110x",
        " 20261102",
    ],
)
def test_wrong_document_date_is_refused(value: str) -> None:
    assert wrong_fields(sale(ngay_ban=value), "hoa_don") == [("ngay_ban", None)]


@pytest.mark.parametrize("field", ["han_dung", "ngay_san_xuat"])
@pytest.mark.parametrize("value", ["202811312359", "31/12/2028", "20281131"])
def test_dates_of_a_lot_have_8_digits(field: str, value: str) -> None:
    assert wrong_fields(with_line(sale(), **{field: value}), "hoa_don") == [(field, 1)]


NUMBERS = ["so_luong", "don_gia", "thanh_tien", "ty_le_quy_doi"]


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [1.5, 2.0, "2", True, [2], -1])
def test_numbers_are_whole_and_not_negative(field: str, value: Any) -> None:
    assert wrong_fields(with_line(sale(), **{field: value}), "hoa_don") == [(field, 1)]


@pytest.mark.parametrize("field", NUMBERS)
def test_fractions_are_accepted_on_demand(field: str) -> None:
    document = with_line(sale(), **{field: 1.5})

    assert wrong_fields(document, "hoa_don", allow_fractions=True) == []


def test_infinite_number_is_refused_even_where_fractions_are_not() -> None:
    document = with_line(sale(), so_luong=float("inf"))

    assert wrong_fields(document, "hoa_don", allow_fractions=True) == [("so_luong", 1)]


@pytest.mark.parametrize("resource", list(RESOURCES))
def test_quantity_is_above_zero(resource: str) -> None:
    assert wrong_fields(with_line(example(resource), so_luong=0), resource) == [("so_luong", 1)]


def test_conversion_ratio_is_above_zero() -> None:
    assert wrong_fields(with_line(sale(), ty_le_quy_doi=0), "hoa_don") == [("ty_le_quy_doi", 1)]


@pytest.mark.parametrize(
    ("resource", "field", "good", "bad"),
    [
        ("phieu_nhap", "loai_phieu_nhap", [1, 2, 3], [0, 4, "1", 1.0, True]),
        ("phieu_xuat", "loai_phieu_xuat", [1, 2, 3, 4], [0, 5, 9, "2", 2.0, True]),
    ],
)
def test_kind_of_slip_is_one_of_the_known(
    resource: str, field: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert wrong_fields(header(resource, field, value), resource) == []
    for value in bad:
        assert wrong_fields(header(resource, field, value), resource) == [(field, None)], value


@pytest.mark.parametrize("lines", [[], {}, "x", 1])
def test_lines_are_a_list_with_something_in_it(lines: Any) -> None:
    assert wrong_fields(sale(hoa_don_chi_tiet=lines), "hoa_don") == [("hoa_don_chi_tiet", None)]
    assert wrong_fields(slip(chi_tiet=lines), "phieu_xuat") == [("chi_tiet", None)]


@pytest.mark.parametrize("line", [None, "x", 1, []])
def test_line_is_an_object(line: Any) -> None:
    document = sale()
    document["hoa_don_chi_tiet"].append(line)

    assert wrong_fields(document, "hoa_don") == [("hoa_don_chi_tiet", 2)]


def test_unknown_drug_code_is_refused_unless_any_will_do() -> None:
    document = with_line(sale(), ma_thuoc="DQG99999999")

    assert wrong_fields(document, "hoa_don") == [("ma_thuoc", 1)]
    assert wrong_fields(document, "hoa_don", known_drugs={"DQG99999999"}) == []
    assert wrong_fields(document, "hoa_don", known_drugs=None) == []


def test_every_problem_is_found_with_its_line() -> None:
    document = sale(ngay_ban="x")
    good = document["hoa_don_chi_tiet"][0]
    document["hoa_don_chi_tiet"] = [good, {**good, "so_lo": "", "so_luong": 0}]

    assert wrong_fields(document, "hoa_don") == [
        ("ngay_ban", None),
        ("so_lo", 2),
        ("so_luong", 2),
    ]


@pytest.mark.parametrize("resource", list(RESOURCES))
def test_unknown_fields_are_ignored(resource: str) -> None:
    document = with_line({**example(resource), "ten_co_so_khac": "x"}, gi_do=1)

    assert wrong_fields(document, resource) == []
