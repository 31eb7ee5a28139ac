"""The content of a document in the source and at the API, in one common form. Pure.

Written without the product's own payload models, because they are under test here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

#: Per line: drug, lot, quantity. Sorted, since the order of lines has no meaning.
Content = tuple[tuple[str, str, Decimal], ...]


def content_of_rows(lines: Iterable[Mapping[str, Any]]) -> Content:
    """Content of the lines of a document in the source, by the columns' standard names."""
    return _sorted(
        (str(line["drug_code"]), str(line["lot_number"]), Decimal(line["quantity"]))
        for line in lines
    )


def content_of_body(lines: Iterable[Mapping[str, Any]]) -> Content:
    """Content of the lines of a document as the API has it."""
    return _sorted(
        (str(line["ma_thuoc"]), str(line["so_lo"]), Decimal(str(line["so_luong"])))
        for line in lines
    )


def _sorted(lines: Iterable[tuple[str, str, Decimal]]) -> Content:
    return tuple(sorted((drug.strip(), lot.strip(), amount) for drug, lot, amount in lines))
