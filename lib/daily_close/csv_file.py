"""A daily close as a CSV file for programs; its last rows hold the checksum and any signature.

It has one row for the close, one per shop and pipeline, one per document, and one for each item
that could not be compared. The same data in the stores always gives the same rows and the same
checksum, because the rows do not contain the time of writing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

from lib.daily_close.proof import (
    BadCloseFile,
    Row,
    Seal,
    SealedFile,
    Signer,
    Verification,
    checksum,
)
from lib.daily_close.result import ClosedDocument, DailyClose, ShopClose, State
from lib.words.language import Language

COLUMNS: Final = (
    *("row", "date", "pipeline", "shop", "pharmacy_code", "document", "national_id", "state"),
    *("sent", "logs", "api", "lines", "amount", "remark"),
    *("documents", "accepted", "failed", "open", "checked", "differences", "accepted_amount"),
)
CHECKSUM_ROW: Final = "sha256"
SIGNATURE_ROW: Final = "ed25519"
#: A spreadsheet may run a cell that begins like this as a formula: a formula character, also after
#: blanks or in full width, or a tab or line break before any other text.
_FORMULA: Final = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*[=+@＝＋＠－-]|[\t\r\n]")
_REMARK_LIMIT = 300


def rows_of(close: DailyClose) -> list[Row]:
    """The rows of a close, header row first, without checksum and signature."""
    days = close.scope.days
    return [
        COLUMNS,
        _close_row(close),
        *(_shop_row(days, shop) for shop in close.shops),
        *map(_document_row, close.documents),
        *(
            _row(row="note", date=days, remark=note.translated(Language.ENGLISH))
            for note in close.notes
        ),
    ]


def to_csv(close: DailyClose, signer: Signer) -> SealedFile:
    """The whole file, with a byte order mark, so that Excel reads it as UTF-8."""
    rows = rows_of(close)
    seal = signer.seal(rows)
    out = io.StringIO(newline="")
    # Quote all cells: in some locales spreadsheets use the semicolon as the separator.
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    writer.writerow(_padded(CHECKSUM_ROW, seal.sha256))
    if seal.signature:
        writer.writerow(_padded(SIGNATURE_ROW, seal.signature, seal.public_key))
    return SealedFile(out.getvalue().encode("utf-8-sig"), seal)


def verify_csv(content: bytes) -> Verification:
    """Recompute the checksum of a file's rows.

    Raises:
        BadCloseFile: the file is not a daily close, or is incomplete.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCloseFile("the file is not UTF-8") from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise BadCloseFile(f"the file is not a CSV file: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise BadCloseFile("the file does not begin with the header of a daily close")
    signature = rows.pop() if rows[-1][0] == SIGNATURE_ROW else []
    *content_rows, last = rows
    if len(last) < 2 or last[0] != CHECKSUM_ROW:
        raise BadCloseFile(f"the file does not end with a row {CHECKSUM_ROW}: it is incomplete")
    stated = Seal(last[1], *(signature[1:3] if len(signature) > 2 else ()))
    documents = sum(row[0] == "document" for row in content_rows)
    scope = next((f"{row[1]} {row[3]}".strip() for row in content_rows if row[0] == "close"), "")
    return Verification(stated, checksum(content_rows), documents, scope)


def _padded(*cells: str) -> Row:
    return [*cells, *[""] * (len(COLUMNS) - len(cells))]


def _close_row(close: DailyClose) -> Row:
    return _row(
        row="close",
        date=close.scope.days,
        shop=close.scope.shop,
        state="closed" if close.is_closed else "not_closed",
        documents=len(close.documents),
        accepted=close.count(State.ACCEPTED),
        failed=close.count(State.FAILED),
        open=close.open,
        differences=len(close.differences),
    )


def _shop_row(days: str, shop: ShopClose) -> Row:
    return _row(
        row="shop",
        date=days,
        pipeline=shop.pipeline,
        shop=shop.shop,
        sent=shop.sent,
        logs=shop.logged,
        api=shop.present,
        amount=shop.amount,
        documents=shop.documents,
        accepted=shop.accepted,
        failed=shop.failed,
        open=shop.open,
        checked=shop.checked,
        differences=shop.differences,
        accepted_amount=shop.accepted_amount,
    )


def _document_row(closed: ClosedDocument) -> Row:
    document, ref = closed.document, closed.ref
    remarks = [difference.translated(Language.ENGLISH) for difference in closed.differences]
    return _row(
        row="document",
        date=document.day.isoformat(),
        pipeline=ref.pipeline,
        shop=ref.shop_pharmacy_code,
        pharmacy_code=ref.pharmacy_code,
        document=ref.local_id,
        national_id=document.national_id,
        state=closed.state.value,
        sent=None if closed.sent is None else int(closed.sent),
        logs=closed.logs.value,
        api=closed.api.value,
        lines=document.lines,
        amount=document.amount,
        remark=remark_of(closed, remarks),
        differences=len(closed.differences),
    )


def remark_of(closed: ClosedDocument, differences: Sequence[str]) -> str:
    """Why a document failed and where the stores differ, on one line."""
    failed = closed.state is State.FAILED and closed.document.message
    remarks = [*([closed.document.message or ""] if failed else ()), *differences]
    return " ".join("; ".join(remarks).split())[:_REMARK_LIMIT]


def _row(**cells: object) -> Row:
    return [safe_cell(cells.get(column)) for column in COLUMNS]


def safe_cell(value: object) -> str:
    """A value as text that no spreadsheet runs as a formula."""
    if value is None:
        return ""
    text = str(value)
    # A negative number is not a formula; a text that begins with a minus may be one.
    return f"'{text}" if isinstance(value, str) and _FORMULA.match(text) else text
