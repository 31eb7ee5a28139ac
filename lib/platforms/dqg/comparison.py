"""Compares the document that a look-up shows with the body that was sent.

The content of a look-up's answer is not documented: every field with a known name is compared, and
no field is required. Texts that the API may shorten or rewrite are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from lib.models import Comparison, Payload
from lib.platforms.dqg.payloads import DOCUMENT_SCHEMAS
from lib.platforms.dqg.response import as_code, lower_names, same_code

_TOTALS = ("tong_tien", "tong_thanh_tien", "tong_cong", "thanh_tien")
_CODES = ("ma_thuoc", "so_lo")
_NUMBERS = ("so_luong", "don_gia", "thanh_tien")
_DAY = re.compile(r"(?P<y>\d{4})[-/]?(?P<m>\d\d)[-/]?(?P<d>\d\d)")
_DAY_FIRST = re.compile(r"(?P<d>\d\d)[-/.](?P<m>\d\d)[-/.](?P<y>\d{4})")


def compare(payload: Payload, shown: Mapping[str, object]) -> Comparison:
    """Which fields of the document that an answer shows are the same as sent.

    An equal code does not show equal content: codes are listed only if they differ.

    Args:
        payload: if its body is empty, only the codes are compared.
        shown: members of the answer by lower-case name.
    """
    body, form = payload.body, DOCUMENT_SCHEMAS[payload.resource]
    results = {name: False for name, same in _codes(payload, form.code, shown) if not same}
    if (day := _day(shown.get(form.date))) is not None and form.date in body:
        results[form.date] = day == _day(body[form.date])
    for name in (name for name in body if name.startswith("loai_phieu")):
        if (kind := _number(shown.get(name))) is not None:
            results[name] = kind == _number(body[name])
    if form.lines not in body:
        return _compared(results)
    lines = shown.get(form.lines) or shown.get("chi_tiet")
    if isinstance(lines, list) and lines and all(isinstance(line, dict) for line in lines):
        same = _same_lines(body[form.lines], [lower_names(line) for line in lines])
        if same is not None:
            results[form.lines] = same
    for name in _TOTALS:
        if (total := _number(shown.get(name))) is not None:
            results[name] = total == _total(body[form.lines])
    return _compared(results)


def _compared(results: Mapping[str, bool]) -> Comparison:
    return Comparison(
        same=tuple(name for name, same in results.items() if same),
        different=tuple(name for name, same in results.items() if not same),
    )


def _codes(payload: Payload, code_name: str, shown: Mapping[str, object]) -> list[tuple[str, bool]]:
    """The document's own code, unless its name holds the national code, and the facility code."""
    found = []
    national = as_code(shown.get(f"ma_{payload.resource}_quoc_gia"))
    own = as_code(shown.get(code_name))
    if national and own:
        found.append((code_name, same_code(own, payload.local_id) or same_code(own, national)))
    place = as_code(shown.get("ma_co_so"))
    if place:
        found.append(("ma_co_so", same_code(place, payload.pharmacy_code)))
    return found


def _same_lines(
    sent: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, object]]
) -> bool | None:
    """Whether both have the same lines, in any order, by the fields that all shown lines have.

    None if their number is the same, and no field can be compared.
    """
    names = [n for n in (*_CODES, *_NUMBERS) if all(line.get(n) is not None for line in shown)]
    if len(sent) != len(shown):
        return False
    return _counted(sent, names) == _counted(shown, names) if names else None


def _counted(lines: Sequence[Mapping[str, object]], names: Sequence[str]) -> Counter[object]:
    return Counter(
        tuple(
            _number(line.get(name)) if name in _NUMBERS else str(line.get(name)).strip().casefold()
            for name in names
        )
        for line in lines
    )


def _total(lines: Sequence[Mapping[str, Any]]) -> Decimal:
    return sum(
        (
            Decimal(str(line["thanh_tien"]))
            if "thanh_tien" in line
            else Decimal(str(line["so_luong"])) * Decimal(str(line.get("don_gia") or 0))
            for line in lines
        ),
        Decimal(0),
    )


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _day(value: object) -> str | None:
    """A date as yyyymmdd, whatever its format."""
    text = str(value).strip() if isinstance(value, str | int) else ""
    found = _DAY_FIRST.match(text) or _DAY.match(text)
    return None if found is None else found["y"] + found["m"] + found["d"]
