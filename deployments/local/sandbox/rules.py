"""The API's validation, by its field tables: lengths, required fields, dates, numbers, types."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any

from deployments.local.sandbox.resources import RESOURCES, Resource

#: The catalogue: the drugs of the demo data.
KNOWN_DRUGS: frozenset[str] = frozenset(
    {
        "DQG00010421",
        "DQG00010877",
        "DQG00011203",
        "DQG00011990",
        "DQG00012044",
        "DQG00012318",
        "DQG00012760",
        "DQG00013155",
        "DQG00013402",
        "DQG00013977",
        "DQG00014260",
        "DQG00014611",
    }
)

#: Returns the reason why a value is refused, or None. The second argument allows fractions.
Check = Callable[[Any, bool], str | None]

_MISSING = "không được để trống"


@dataclass(frozen=True, slots=True)
class Problem:
    """One refused field; lines are counted from 1, None is the header."""

    field: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.field if self.line is None else f"Dòng {self.line}: {self.field}"
        return f"{where} {self.reason}"


def _text(limit: int | None, *, required: bool = True, may_be_blank: bool = False) -> Check:
    def check(value: Any, _: bool) -> str | None:
        if value is None:
            return _MISSING if required else None
        if not isinstance(value, str):
            return "phải là chuỗi ký tự"
        if required and not may_be_blank and not value.strip():
            return _MISSING
        if limit is not None and len(value) > limit:
            return f"vượt quá {limit} ký tự"
        return None if _is_unicode(value) else "có ký tự không hợp lệ"

    return check


def _date(*formats: str, required: bool = True) -> Check:
    def check(value: Any, _: bool) -> str | None:
        if value is None or value == "":
            return _MISSING if required else None
        if not isinstance(value, str):
            return "phải là chuỗi ký tự"
        return None if _is_date(value, formats) else "sai định dạng ngày (yyyyMMdd)"

    return check


def _number(*, required: bool = True, above_zero: bool = False) -> Check:
    def check(value: Any, fractions: bool) -> str | None:
        if value is None:
            return _MISSING if required else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "phải là số"
        if isinstance(value, float) and not fractions:
            return "phải là số nguyên"
        if not isfinite(value):
            return "quá lớn"
        if above_zero and value <= 0:
            return "phải lớn hơn 0"
        return "không được âm" if value < 0 else None

    return check


def _one_of(first: int, last: int) -> Check:
    def check(value: Any, _: bool) -> str | None:
        if value is None:
            return _MISSING
        if isinstance(value, bool) or not isinstance(value, int):
            return "phải là số nguyên"
        return None if first <= value <= last else f"phải từ {first} đến {last}"

    return check


@lru_cache(maxsize=4096)
def _is_date(value: str, formats: tuple[str, ...]) -> bool:
    lengths = {"%Y%m%d": 8, "%Y%m%d%H%M": 12}
    if not (value.isascii() and value.isdigit()):
        return False
    for date_format in formats:
        if len(value) == lengths[date_format]:
            try:
                datetime.strptime(value, date_format)  # noqa: DTZ007 - a local date has no zone
            except ValueError:
                return False
            return True
    return False


def _is_unicode(value: str) -> bool:
    """False for unpaired surrogates, which JSON escapes can produce."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_DOCUMENT_DATE = _date("%Y%m%d", "%Y%m%d%H%M")
_DAY = _date("%Y%m%d")
_OPTIONAL_DAY = _date("%Y%m%d", required=False)

_DRUG: dict[str, Check] = {
    "ma_thuoc": _text(50),
    "ten_thuoc": _text(500),
    "so_lo": _text(50),
    "ngay_san_xuat": _OPTIONAL_DAY,
    "han_dung": _DAY,
    "so_luong": _number(above_zero=True),
}

_SLIP_LINE: dict[str, Check] = {**_DRUG, "so_dklh": _text(50), "don_vi_tinh": _text(200)}

_HEADERS: dict[str, dict[str, Check]] = {
    "hoa_don": {
        "ma_hoa_don": _text(50),
        "ma_co_so": _text(50),
        "ma_don_thuoc_quoc_gia": _text(50, required=False),
        "ngay_ban": _DOCUMENT_DATE,
        "ho_ten_nguoi_ban": _text(50, required=False),
        "ho_ten_khach_hang": _text(50, required=False),
    },
    "phieu_nhap": {
        "ma_phieu": _text(50),
        "ma_co_so": _text(50),
        "ngay_nhap": _DOCUMENT_DATE,
        "loai_phieu_nhap": _one_of(1, 3),
        "ghi_chu": _text(500, required=False),
        "ten_co_so_cung_cap": _text(500, required=False),
    },
    "phieu_xuat": {
        "ma_phieu": _text(50),
        "ma_co_so": _text(50),
        "ngay_xuat": _DOCUMENT_DATE,
        "loai_phieu_xuat": _one_of(1, 4),
        "ghi_chu": _text(500, may_be_blank=True),
        "ten_co_so_nhan": _text(500, required=False),
    },
}

_LINES: dict[str, dict[str, Check]] = {
    "hoa_don": {
        **_DRUG,
        "don_vi_tinh": _text(50),
        "ham_luong": _text(500),
        "duong_dung": _text(200, required=False),
        "lieu_dung": _text(None),
        "so_dang_ky": _text(50, required=False),
        "don_gia": _number(),
        "thanh_tien": _number(),
        "ty_le_quy_doi": _number(above_zero=True),
    },
    "phieu_nhap": {**_SLIP_LINE, "don_gia": _number(required=False)},
    "phieu_xuat": {**_SLIP_LINE, "don_gia": _number()},
}


def check_document(
    resource: Resource,
    document: Mapping[str, Any],
    *,
    known_drugs: Container[str] | None = KNOWN_DRUGS,
    allow_fractions: bool = False,
) -> list[Problem]:
    """All problems of a document; unknown fields are ignored. Pure.

    Args:
        known_drugs: the drug codes that exist, None for any.
    """
    problems = _check_fields(_HEADERS[resource.name], document, None, allow_fractions)
    lines = document.get(resource.lines_field)
    if not isinstance(lines, list):
        reason = _MISSING if lines is None else "phải là danh sách"
        return [*problems, Problem(resource.lines_field, None, reason)]
    if not lines:
        return [*problems, Problem(resource.lines_field, None, "phải có ít nhất một dòng")]
    fields = _LINES[resource.name]
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict):
            problems.append(Problem(resource.lines_field, number, "phải là đối tượng"))
            continue
        found = _check_fields(fields, line, number, allow_fractions)
        drug_is_well_formed = not any(problem.field == "ma_thuoc" for problem in found)
        if known_drugs is not None and drug_is_well_formed and line["ma_thuoc"] not in known_drugs:
            found.append(Problem("ma_thuoc", number, "không có trong danh mục thuốc quốc gia"))
        problems += found
    return problems


def _check_fields(
    fields: Mapping[str, Check], values: Mapping[str, Any], line: int | None, fractions: bool
) -> list[Problem]:
    return [
        Problem(name, line, reason)
        for name, check in fields.items()
        if (reason := check(values.get(name), fractions)) is not None
    ]


#: The tables must name every resource, or a document would pass unchecked.
if not RESOURCES.keys() == _HEADERS.keys() == _LINES.keys():  # pragma: no cover
    raise AssertionError("field tables and resources differ")
