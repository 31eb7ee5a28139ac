"""The files of a daily close: what is in them, and that a change of them is noticed."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from pydantic import SecretStr

from lib.daily_close.csv_file import COLUMNS, rows_of, to_csv
from lib.daily_close.files import (
    WRITERS,
    Format,
    checksums,
    file_name,
    verify,
    verify_file,
    write_file,
)
from lib.daily_close.proof import BadCloseFile, BadPublicKey, Signer, checksum
from lib.daily_close.result import DailyClose, Difference, Kind, Note, NoteKind, Scope
from lib.errors import ConfigurationError
from lib.words.language import Language
from tests.unit.test_daily_close import DAY, make_close, make_document

UNSIGNED = Signer(None)
SIGNER = Signer(SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
OTHER = Signer(SecretStr("A" * 43 + "="))
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)"]


@pytest.fixture
def close() -> DailyClose:
    return make_close(
        make_document(1),
        make_document(2, status="SYNC_FAILED", national_id=None, message="so_lo:\nis, blank"),
        make_document(3, shop="SHOP02", local_id='HD "3"'),
    )


@pytest.fixture
def file(close: DailyClose, tmp_path: Path) -> Path:
    path = tmp_path / "close.csv"
    write_file(path, to_csv(close, UNSIGNED).content)
    return path


@pytest.fixture(params=list(Format))
def kind(request: pytest.FixtureRequest) -> Format:
    return request.param


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_shop_and_every_document_has_a_row(file: Path) -> None:
    rows = read(file)
    assert [row["row"] for row in rows] == ["close", *["shop"] * 2, *["document"] * 3, "sha256"]
    assert [row["documents"] for row in rows[:3]] == ["3", "2", "1"]
    assert (rows[0]["date"], rows[0]["state"]) == (DAY.isoformat(), "not_closed")
    first, failed, _ = rows[3:6]
    assert (first["document"], first["national_id"], first["state"]) == ("HD-1", "QG-1", "accepted")
    assert (failed["state"], failed["remark"]) == ("failed", "so_lo: is, blank")
    assert first["date"] == DAY.isoformat()


def test_what_was_not_compared_is_in_the_file() -> None:
    noted = DailyClose(Scope(DAY, DAY), (), (Note(NoteKind.LOGS_AWAY, why="MongoDB"),))
    said = rows_of(noted)[-1][COLUMNS.index("remark")]
    assert said == "the logs were not compared: MongoDB does not answer"
    assert "MongoDB không trả lời" in str(sheets_of(noted)["Tổng hợp"])
    refused = DailyClose(Scope(DAY, DAY), (), (Note(NoteKind.NOT_LOOKED_UP, 2, "unavailable"),))
    assert "2 chứng từ không tra cứu được: Cơ sở" in str(sheets_of(refused)["Tổng hợp"])


@pytest.mark.parametrize("difference", list(Kind))
def test_a_difference_is_in_the_language_of_its_reader(difference: Kind) -> None:
    found = Difference(make_document(1).ref, difference, "QG-9")
    assert found.translated(Language.ENGLISH).endswith(": QG-9")
    assert found.translated(Language.VIETNAMESE).endswith(": QG-9")
    assert found.translated(Language.ENGLISH) != found.translated(Language.VIETNAMESE)


def test_a_file_proves_itself(close: DailyClose, kind: Format) -> None:
    found = verify(WRITERS[kind](close, UNSIGNED).content)
    assert found.holds
    assert (found.found, found.documents) == (checksums(close)[kind], 3)
    assert not found.is_signed


def test_a_signed_file_is_verified_with_the_public_key_alone(
    close: DailyClose, kind: Format
) -> None:
    found = verify(WRITERS[kind](close, SIGNER).content)
    assert found.is_signed_by(SIGNER.public_key or "")
    assert not found.is_signed_by(OTHER.public_key or "")
    unsigned = verify(WRITERS[kind](close, UNSIGNED).content)
    assert not unsigned.is_signed_by(SIGNER.public_key or "")
    with pytest.raises(BadPublicKey):
        found.is_signed_by("no key")


def test_a_new_checksum_does_not_make_up_for_the_signature(close: DailyClose) -> None:
    forged = make_close(*(make_document(n) for n in range(3)))
    stated = to_csv(close, SIGNER).seal
    text = to_csv(forged, UNSIGNED).content.decode("utf-8-sig")
    rows = [*csv.reader(io.StringIO(text)), ["ed25519", stated.signature, stated.public_key]]
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    found = verify(out.getvalue().encode())
    assert found.holds
    assert found.is_signed
    assert not found.is_signed_by(SIGNER.public_key or "")


@pytest.mark.parametrize("secret", ["", "short", "A" * 44, "=" * 44])
def test_what_is_no_key_is_named_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="DQG_CLOSE__SIGNING_KEY is not 32 bytes") as error:
        Signer(SecretStr(secret))
    assert not secret or secret not in str(error.value)


def sheets_of(close: DailyClose) -> dict[str, list[list[Any]]]:
    """The values of each sheet, as a spreadsheet shows them."""
    book = load_workbook(io.BytesIO(WRITERS[Format.XLSX](close, SIGNER).content))
    return {s.title: [list(row) for row in s.iter_rows(values_only=True)] for s in book}


def test_a_workbook_has_vietnamese_heads_and_a_sheet_per_kind() -> None:
    found = sheets_of(
        make_close(
            make_document(1),
            make_document(2, pipeline="import", local_id="0001", status="SYNC_FAILED"),
        )
    )
    assert list(found) == ["Tổng hợp", "Phiếu nhập", "Hóa đơn bán", "Phiếu xuất", "Chứng thực"]
    heads, row = found["Phiếu nhập"]
    told = dict(zip(heads, row, strict=True))
    # A code with zeros before it stays text; a date is a date and an amount a number.
    assert (told["Số chứng từ"], told["Trạng thái"]) == ("0001", "cần xử lý")
    assert told["Ngày"] == datetime.combine(DAY, datetime.min.time())
    assert told["Thành tiền"] == 10000
    assert len(found["Phiếu xuất"]) == 1
    assert found["Tổng hợp"][3][:2] == ["Kết luận", "Chưa khóa"]
    assert SIGNER.public_key in found["Chứng thực"][2]


@pytest.mark.parametrize("code", [*FORMULAS, "#N/A", "00123", "1E5"])
def test_no_cell_of_a_workbook_is_a_formula(code: str) -> None:
    document = make_document(local_id=code, status="SYNC_FAILED", message=code)
    content = WRITERS[Format.XLSX](make_close(document), SIGNER).content
    cells = [c for row in load_workbook(io.BytesIO(content))["Hóa đơn bán"] for c in row]
    found = [cell for cell in cells if cell.value == code]
    assert len(found) == 2
    assert {(cell.data_type, cell.number_format) for cell in found} == {("s", "@")}
    # It stays text where a person opens the cell and leaves it again.
    assert all(cell.quotePrefix for cell in found)
    assert verify(content).holds


def resaved(content: bytes, change: Any = lambda book: None) -> bytes:
    """The workbook as another program saves it."""
    book = load_workbook(io.BytesIO(content))
    change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_that_was_only_saved_again_holds(close: DailyClose) -> None:
    content = WRITERS[Format.XLSX](close, SIGNER).content

    def widen(book: Workbook) -> None:
        book["Hóa đơn bán"].column_dimensions["A"].width = 50

    assert verify(resaved(content, widen)).is_signed_by(SIGNER.public_key or "")


@pytest.mark.parametrize(
    ("sheet", "cell", "value"),
    [
        ("Hóa đơn bán", "E2", "QG-9"),
        ("Hóa đơn bán", "K2", 10001),
        ("Hóa đơn bán", "N9", "more"),
        ("Tổng hợp", "B4", "Đã khóa"),
        ("Phiếu xuất", "A2", "one more"),
    ],
)
def test_a_changed_cell_is_noticed(close: DailyClose, sheet: str, cell: str, value: Any) -> None:
    def change(book: Workbook) -> None:
        book[sheet][cell] = value

    assert not verify(resaved(WRITERS[Format.XLSX](close, SIGNER).content, change)).holds


def test_a_formula_and_a_foreign_sheet_are_refused(close: DailyClose) -> None:
    content = WRITERS[Format.XLSX](make_close(make_document(local_id="=1+1")), SIGNER).content

    def calculate(book: Workbook) -> None:
        book["Hóa đơn bán"]["D2"].data_type = "f"

    with pytest.raises(BadCloseFile, match="formula"):
        verify(resaved(content, calculate))
    with pytest.raises(BadCloseFile, match="sheets"):
        verify(resaved(content, lambda book: book.create_sheet("Thêm")))


def test_rows_outside_of_the_size_that_a_sheet_states_are_read(close: DailyClose) -> None:
    content = WRITERS[Format.XLSX](close, SIGNER).content
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("sheet3.xml"):
                row = b'<row r="99"><c r="A99" t="inlineStr"><is><t>x</t></is></c></row>'
                data = data.replace(b"</sheetData>", row + b"</sheetData>")
                assert row in data
            new.writestr(name, data)
    assert not verify(out.getvalue()).holds


def test_damaged_workbooks_are_no_closes(close: DailyClose) -> None:
    content = WRITERS[Format.XLSX](close, SIGNER).content
    for damaged in (content[:200], content[:-30], b"PK\x03\x04" + b"x" * 50):
        with pytest.raises(BadCloseFile):
            verify(damaged)
    out = io.BytesIO()
    Workbook().save(out)
    with pytest.raises(BadCloseFile, match="sheets"):
        verify(out.getvalue())


def test_names_of_files_say_days_and_shop() -> None:
    later = DAY.replace(day=30)
    assert file_name(Scope(DAY, DAY), Format.CSV) == "daily-close-2026-11-02.csv"
    assert file_name(Scope(DAY, later, "S/1"), Format.XLSX) == (
        "daily-close-2026-11-02--2026-11-30-S_1.xlsx"
    )


@pytest.mark.parametrize("change", [("QG-1", "QG-7"), ("so_lo", "so_x"), ("10000.00", "1.00")])
def test_a_changed_value_is_noticed(file: Path, change: tuple[str, str]) -> None:
    file.write_text(file.read_text("utf-8").replace(*change, 1), "utf-8")
    assert not verify_file(file).holds


def test_a_row_that_was_taken_out_is_noticed(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert not verify_file(file).holds


def test_the_checksum_is_of_the_values_not_of_how_they_are_written(file: Path) -> None:
    text = file.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    file.write_bytes(text)
    assert verify_file(file).holds


def test_the_same_documents_give_the_same_checksum() -> None:
    documents = [make_document(n) for n in range(5)]
    one = rows_of(make_close(*documents))
    other = rows_of(make_close(*reversed(documents)))
    assert checksum(one) == checksum(other)
    assert checksum([["a", "b"]]) != checksum([["ab", ""]])


def text_of(*documents: Any) -> str:
    return to_csv(make_close(*documents), UNSIGNED).content.decode("utf-8-sig")


@pytest.mark.parametrize("code", [*FORMULAS, " =1", "\u200b=1", "＝1", " ＋1", "\t=1", "\n=1"])
def test_no_code_is_run_by_a_spreadsheet(code: str) -> None:
    text = text_of(make_document(local_id=code))
    assert f',"\'{code}",' in text
    assert f'"{code}"' not in text


def test_every_cell_is_quoted_so_that_no_semicolon_begins_one() -> None:
    text = text_of(make_document(local_id="a;b"))
    assert ',"a;b",' in text
    assert all(line.startswith('"') and line.endswith('"') for line in text.splitlines())


def test_a_negative_amount_stays_a_number() -> None:
    assert ',"-5",' in text_of(make_document(amount=-5))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin"),
        (b"a,b\n1,2\n", "does not begin"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (",".join(COLUMNS).encode() + b"\nshop\n", "incomplete"),
        (b'"', "CSV"),
    ],
)
def test_what_is_no_close_is_said_to_be_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(BadCloseFile, match=said):
        verify_file(path)


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCloseFile, match=r"x\.csv cannot be read"):
        verify_file(tmp_path / "x.csv")
    with pytest.raises(BadCloseFile, match=r"x\.csv cannot be written"):
        write_file(tmp_path / "nowhere" / "x.csv", b"")


def test_a_file_is_replaced_whole(file: Path) -> None:
    write_file(file, to_csv(make_close(), UNSIGNED).content)
    assert verify_file(file).documents == 0
    assert list(file.parent.iterdir()) == [file]
