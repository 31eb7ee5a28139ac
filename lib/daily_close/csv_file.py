"""A daily close as a CSV file that proves itself: its last row holds a checksum over the others.

One row a shop and pipeline, one a document, one for each thing that could not be compared. Read
again, the rows must give the same SHA-256; the same stores give the same one at any later time,
for nothing in the rows tells when they were written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.daily_close.compare import ClosedDocument, DayClose, ShopClose, State
from lib.errors import SyncError

COLUMNS: Final = (
    *("row", "date", "pipeline", "shop", "pharmacy_code", "document", "national_id", "state"),
    *("sent", "logs", "api", "lines", "amount", "remark"),
    *("documents", "accepted", "failed", "open", "checked", "differences", "accepted_amount"),
)
CHECKSUM_ROW: Final = "sha256"
#: Spreadsheets run what begins like this as a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_REMARK_LIMIT = 300

Row = Sequence[str]


class BadCloseFile(SyncError):
    """A file that is no daily close, or no whole one."""

    error_class = "close_file"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a file says its checksum is, and what it is.

    Attributes:
        documents: document rows in it.
    """

    stated: str
    found: str
    documents: int

    @property
    def holds(self) -> bool:
        return self.stated == self.found


def rows_of(close: DayClose) -> list[Row]:
    """The rows of a close, head first, without the checksum."""
    day = close.day.isoformat()
    return [
        COLUMNS,
        *(_shop_row(day, shop) for shop in close.shops),
        *(_document_row(day, document) for document in close.documents),
        *(_row(row="note", date=day, remark=note) for note in close.notes),
    ]


def checksum(rows: Iterable[Row]) -> str:
    """SHA-256 over the rows' cells: quoting, line ends and a byte order mark make no difference."""
    digest = hashlib.sha256()
    for row in rows:
        # JSON keeps cells apart whatever they hold.
        digest.update(json.dumps(list(row), ensure_ascii=False).encode("utf-8") + b"\n")
    return digest.hexdigest()


def to_csv(rows: Sequence[Row]) -> str:
    """The file's text: the rows, and their checksum in the last one."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows(rows)
    writer.writerow([CHECKSUM_ROW, checksum(rows), *[""] * (len(COLUMNS) - 2)])
    return out.getvalue()


def write_file(path: Path, rows: Sequence[Row]) -> None:
    """Write all or nothing, replacing what is there.

    Raises:
        BadCloseFile: it cannot be written there.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        # With a byte order mark, by which Excel knows that it is UTF-8.
        draft.write_text(to_csv(rows), encoding="utf-8-sig", newline="")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadCloseFile(f"{path} cannot be written: {error.strerror}") from error


def verify_file(path: Path) -> Verification:
    """Compute the checksum of a file's rows again.

    Raises:
        BadCloseFile: it cannot be read, or is no daily close.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadCloseFile(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadCloseFile(f"{path} is not UTF-8") from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise BadCloseFile(f"{path} is no CSV file: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise BadCloseFile(f"{path} does not begin like a daily close")
    *content, last = rows
    if len(last) < 2 or last[0] != CHECKSUM_ROW:
        raise BadCloseFile(f"{path} does not end with a row {CHECKSUM_ROW}: it is not whole")
    documents = sum(row[0] == "document" for row in content)
    return Verification(last[1], checksum(content), documents)


def _shop_row(day: str, shop: ShopClose) -> Row:
    return _row(
        row="shop",
        date=day,
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


def _document_row(day: str, closed: ClosedDocument) -> Row:
    document, ref = closed.document, closed.ref
    remarks = [difference.text for difference in closed.differences]
    if closed.state is State.FAILED and document.message:
        remarks.insert(0, document.message)
    return _row(
        row="document",
        date=day,
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
        remark=" ".join("; ".join(remarks).split())[:_REMARK_LIMIT],
        differences=len(closed.differences),
    )


def _row(**cells: object) -> Row:
    return [safe_cell(cells.get(column)) for column in COLUMNS]


def safe_cell(value: object) -> str:
    """A value as text that no spreadsheet runs as a formula."""
    if value is None:
        return ""
    text = str(value)
    # A negative number is no formula; a code that begins with a minus may be one.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
