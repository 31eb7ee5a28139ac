"""A daily close as a workbook for people: Vietnamese, one sheet per document kind, codes as text.

Its checksum covers the values of all cells in all sheets except the last, which holds the proof.
Formatting does not change it, so a workbook that Excel only saved again is still valid.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Final

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils.exceptions import InvalidFileException

from lib.daily_close.csv_file import remark_of
from lib.daily_close.proof import (
    BadCloseFile,
    Row,
    Seal,
    SealedFile,
    Signer,
    Verification,
    checksum,
)
from lib.daily_close.result import (
    ApiState,
    ClosedDocument,
    DailyClose,
    LogState,
    State,
)
from lib.sanitize import one_line
from lib.words.language import Language

#: Rows that a sheet can hold.
_MAX_ROWS = 1_048_576
#: Maximum unpacked size of the archive in bytes: a malicious file could fill the memory.
_MAX_BYTES = 500_000_000
_TOO_LARGE = "the workbook is too large: choose fewer days, or CSV"

_SUMMARY, _PROOF = "Tổng hợp", "Chứng thực"
_SHEETS: Final = {"import": "Phiếu nhập", "sale": "Hóa đơn bán", "cancellation": "Phiếu xuất"}
_TITLES: Final = [_SUMMARY, *_SHEETS.values(), _PROOF]
_CLOSED, _NOT_CLOSED = "Đã khóa: mọi chứng từ được tiếp nhận, các nơi khớp nhau", "Chưa khóa"
_STATES: Final = {
    State.ACCEPTED: "đã tiếp nhận",
    State.FAILED: "cần xử lý",
    State.PENDING: "đang chờ gửi",
    State.IN_FLIGHT: "đang gửi",
    State.UNCONFIRMED: "chưa rõ đã tới hay chưa",
    State.UNKNOWN: "trạng thái lạ",
}
_LOGS: Final = {
    LogState.ACCEPTED: "đã tiếp nhận",
    LogState.OTHERWISE: "chưa tiếp nhận",
    LogState.NOTHING: "không có",
    LogState.NOT_ASKED: "",
}
_API: Final = {
    ApiState.PRESENT: "có",
    ApiState.ABSENT: "không có",
    ApiState.NO_ANSWER: "không trả lời",
    ApiState.NOT_ASKED: "",
}
_SHOP_HEADS: Final = (
    *("Nhà thuốc", "Loại chứng từ", "Chứng từ", "Đã gửi", "Đã tiếp nhận", "Cần xử lý", "Còn mở"),
    *("Có trong nhật ký", "Đã tra cứu", "Tra cứu thấy", "Chênh lệch"),
    *("Thành tiền", "Thành tiền đã tiếp nhận"),
)
_DOCUMENT_HEADS: Final = (
    *("Ngày", "Nhà thuốc", "Mã cơ sở", "Số chứng từ", "Mã quốc gia", "Trạng thái", "Đã gửi"),
    *("Nhật ký gửi", "Cơ sở dữ liệu quốc gia", "Số dòng", "Thành tiền", "Ghi chú"),
)
_WIDTHS: Final = {
    _SUMMARY: (34, 18, *[14] * 9, 18, 22),
    _PROOF: (22, 100),
    **dict.fromkeys(_SHEETS.values(), (12, 14, 16, 24, 26, 22, 8, 16, 22, 9, 18, 80)),
}
#: Labels of the values at the top of the first sheet.
_DAYS, _SHOP, _ALL_SHOPS = "Ngày chứng từ", "Nhà thuốc", "tất cả"
_PROOF_NAMES: Final = ("SHA-256", "Chữ ký Ed25519", "Khóa công khai")

_NO_CHARACTERS: Final = dict.fromkeys((0xFFFE, 0xFFFF))

#: Errors of openpyxl for a damaged archive or damaged XML; they are not documented.
_DAMAGED: Final = (
    *(zipfile.BadZipFile, InvalidFileException, OSError, SyntaxError, LookupError, ValueError),
    *(TypeError, AttributeError, NotImplementedError, RuntimeError),
)

Cell = str | int | Decimal | datetime | None
Table = list[Sequence[Cell]]


def to_workbook(close: DailyClose, signer: Signer) -> SealedFile:
    """The whole file.

    Raises:
        BadCloseFile: there are more documents than a workbook can hold.
    """
    sheets = _tables(close)
    if any(len(table) > _MAX_ROWS for table in sheets.values()):
        raise BadCloseFile(_TOO_LARGE)
    seal = signer.seal(_rows_of(sheets))
    book = Workbook(write_only=True)
    for title, table in {**sheets, _PROOF: _proof(seal)}.items():
        sheet = book.create_sheet(title)
        for number, width in enumerate(_WIDTHS[title]):
            sheet.column_dimensions[chr(ord("A") + number)].width = width
        if title in _SHEETS.values():
            sheet.freeze_panes = "A2"
        style = _Styles(sheet)
        for row in table:
            bold = row in _HEADS
            sheet.append([style.cell(value, bold=bold) for value in row])
    out = io.BytesIO()
    book.save(out)
    content = out.getvalue()
    _check_size(content)
    return SealedFile(content, seal)


def rows_of_workbook(close: DailyClose) -> Iterator[Row]:
    """The rows that the checksum of a workbook covers."""
    return _rows_of(_tables(close))


def verify_workbook(content: bytes) -> Verification:
    """Recompute the checksum of a workbook's cells.

    Raises:
        BadCloseFile: the file is not a daily close, or is incomplete.
    """
    try:
        sheets = _sheets_of(content)
    except _DAMAGED as error:
        raise BadCloseFile(f"the file is not a workbook: {type(error).__name__}") from None
    stated = {row[0]: row[1] for row in sheets.pop(_PROOF) if len(row) > 1}
    if not stated.get(_PROOF_NAMES[0]):
        raise BadCloseFile("the workbook has no checksum: it is incomplete")
    about = {row[0]: row[1] for row in sheets[_SUMMARY][:4] if len(row) > 1}
    shop = about.get(_SHOP, "")
    rows = [[title, *row] for title, table in sheets.items() for row in table]
    return Verification(
        Seal(*(stated.get(name, "") for name in _PROOF_NAMES)),
        checksum(rows),
        sum(max(len(sheets[title]) - 1, 0) for title in _SHEETS.values()),
        f"{about.get(_DAYS, '')} {'' if shop == _ALL_SHOPS else shop}".strip(),
    )


def _sheets_of(content: bytes) -> dict[str, list[list[str]]]:
    _check_size(content)
    book = load_workbook(io.BytesIO(content), read_only=True)
    if book.sheetnames != _TITLES or len(book.worksheets) != len(_TITLES):
        raise BadCloseFile("the workbook does not have the sheets of a daily close")
    return {sheet.title: list(_read(sheet)) for sheet in book.worksheets}


def _check_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
            raise BadCloseFile(_TOO_LARGE)


def _rows_of(sheets: dict[str, Table]) -> Iterator[Row]:
    """The cells as they are read back from the file."""
    for title, table in sheets.items():
        for row in table:
            if cells := _trimmed(map(_as_text, row)):
                yield [title, *cells]


def _read(sheet: Any) -> Iterator[list[str]]:
    # The size stated in a sheet may be wrong.
    sheet.reset_dimensions()
    for row in sheet.iter_rows():
        if any(cell.data_type == "f" for cell in row):
            raise BadCloseFile("the workbook contains a formula, which a daily close never does")
        if cells := _trimmed(_as_text(cell.value) for cell in row):
            yield cells


def _trimmed(cells: Iterable[str]) -> list[str]:
    """The cells without empty ones at the end, which a file may or may not have."""
    found = list(cells)
    while found and not found[-1]:
        found.pop()
    return found


def _as_text(value: object) -> str:
    """A cell's value as text; the same before writing and after reading."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, int | float | Decimal):
        return f"{float(value):.2f}"
    return str(value)


def _tables(close: DailyClose) -> dict[str, Table]:
    tables: dict[str, Table] = {_SUMMARY: list(_summary(close))}
    for pipeline, title in _SHEETS.items():
        documents = [_document(d) for d in close.documents if d.ref.pipeline == pipeline]
        tables[title] = [_DOCUMENT_HEADS, *documents]
    return tables


def _summary(close: DailyClose) -> Iterator[Sequence[Cell]]:
    scope = close.scope
    yield ("Khóa sổ gửi Cơ sở dữ liệu Dược quốc gia",)
    days = [f"{day:%d/%m/%Y}" for day in dict.fromkeys((scope.first, scope.last))]
    yield _DAYS, " – ".join(days)
    yield _SHOP, _ALL_SHOPS if scope.shop is None else _text(scope.shop)
    yield "Kết luận", _CLOSED if close.is_closed else _NOT_CLOSED
    yield "Chứng từ", len(close.documents)
    for state in State:
        if count := close.count(state):
            yield _STATES[state].capitalize(), count
    yield "Chênh lệch", len(close.differences)
    for note in close.notes:
        yield "Không đối chiếu được", _text(note.translated(Language.VIETNAMESE))
    yield _SHOP_HEADS
    for shop in close.shops:
        yield (
            *(_text(shop.shop), _SHEETS[shop.pipeline], shop.documents, shop.sent, shop.accepted),
            *(shop.failed, shop.open, shop.logged, shop.checked, shop.present, shop.differences),
            *(shop.amount, shop.accepted_amount),
        )


def _document(closed: ClosedDocument) -> Sequence[Cell]:
    document, ref = closed.document, closed.ref
    return (
        datetime.combine(document.day, time.min),
        *(_text(ref.shop_pharmacy_code), _text(ref.pharmacy_code), _text(ref.local_id)),
        *(_text(document.national_id), _STATES[closed.state]),
        "" if closed.sent is None else ("có" if closed.sent else "chưa"),
        *(_LOGS[closed.logs], _API[closed.api], document.lines, document.amount),
        _text(remark_of(closed, [d.translated(Language.VIETNAMESE) for d in closed.differences])),
    )


def _proof(seal: Seal) -> Table:
    how = "Kiểm tra: dqg close verify TỆP --public-key KHÓA, hoặc trang Khóa sổ"
    values = (seal.sha256, seal.signature, seal.public_key)
    return [*zip(_PROOF_NAMES, values, strict=True), (None, how)]


def _text(value: str | None) -> str:
    """The characters that XML can hold, without outer blanks, which may be lost on reading."""
    return one_line(value or "").translate(_NO_CHARACTERS).strip()


_HEADS = (_SHOP_HEADS, _DOCUMENT_HEADS)


class _Styles:
    """Creates cells: text stays text whatever it begins with, numbers and dates get a format."""

    def __init__(self, sheet: Any) -> None:
        self._sheet = sheet
        self._bold = Font(bold=True)

    def cell(self, value: Any, *, bold: bool) -> Any:
        cell = WriteOnlyCell(self._sheet, value)
        if isinstance(value, str):
            # Set after the value: openpyxl treats a text that begins with = as a formula.
            cell.data_type = "s"
            cell.number_format = "@"
            cell.quotePrefix = True
            if bold:
                cell.font = self._bold
        elif isinstance(value, Decimal):
            cell.number_format = "#,##0.00"
        elif isinstance(value, datetime):
            cell.number_format = "dd/mm/yyyy"
        return cell
