"""The files of a daily close, CSV or workbook, chosen by file extension or first bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from lib.daily_close.csv_file import rows_of, to_csv, verify_csv
from lib.daily_close.proof import BadCloseFile, SealedFile, Signer, Verification, checksum
from lib.daily_close.result import DailyClose, Scope
from lib.daily_close.workbook import rows_of_workbook, to_workbook, verify_workbook


class Format(StrEnum):
    """A file format; its value is the file extension."""

    CSV = "csv"
    XLSX = "xlsx"


WRITERS: dict[Format, Callable[[DailyClose, Signer], SealedFile]] = {
    Format.CSV: to_csv,
    Format.XLSX: to_workbook,
}
MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
#: The first bytes of every workbook: it is a ZIP archive.
_ZIP = b"PK\x03\x04"


def file_name(scope: Scope, kind: Format) -> str:
    """`daily-close-2026-11-02.csv`, with the last day and the shop if they are given."""
    last = "" if scope.last == scope.first else f"--{scope.last}"
    shop = "".join(c if c.isascii() and c.isalnum() else "_" for c in scope.shop or "")
    return f"daily-close-{scope.first}{last}{f'-{shop}' if shop else ''}.{kind.value}"


def checksums(close: DailyClose) -> dict[Format, str]:
    """The checksum of each file of a close, without creating the files."""
    return {Format.CSV: checksum(rows_of(close)), Format.XLSX: checksum(rows_of_workbook(close))}


def audit_detail(close: DailyClose, sums: Mapping[Format, str]) -> str:
    """A close as text for the audit log: `2026-11-02 SHOP01, not closed, csv …, xlsx …`."""
    state = "closed" if close.is_closed else "not closed"
    return ", ".join([str(close.scope), state, *(f"{k.value} {s}" for k, s in sums.items())])


def read_audit_detail(text: str) -> tuple[str, bool, str]:
    """Scope, whether it was closed, and checksums, parsed from a text of `audit_detail`."""
    scope, state, sums = (*text.split(", ", 2), "", "")[:3]
    return scope, state == "closed", sums


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and replace an existing one.

    Raises:
        BadCloseFile: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadCloseFile(f"{path} cannot be written: {error.strerror}") from error


def verify(content: bytes) -> Verification:
    """Recompute the checksum of a file. Accepts any bytes.

    Raises:
        BadCloseFile: the file is not a daily close, or is incomplete.
    """
    return (verify_workbook if content.startswith(_ZIP) else verify_csv)(content)


def verify_file(path: Path) -> Verification:
    """Like `verify`.

    Raises:
        BadCloseFile: also if the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadCloseFile(f"{path} cannot be read: {error.strerror}") from error
    return verify(content)
