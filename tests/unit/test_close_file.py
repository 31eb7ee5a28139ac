"""The file of a daily close: what stands in it, and that a change of it is noticed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lib.daily_close.compare import DayClose
from lib.daily_close.csv_file import (
    COLUMNS,
    BadCloseFile,
    checksum,
    rows_of,
    to_csv,
    verify_file,
    write_file,
)
from tests.unit.test_daily_close import DAY, make_close, make_document


@pytest.fixture
def close() -> DayClose:
    return make_close(
        make_document(1),
        make_document(2, status="SYNC_FAILED", national_id=None, message="so_lo:\nis, blank"),
        make_document(3, shop="SHOP02", local_id='HD "3"'),
    )


@pytest.fixture
def file(close: DayClose, tmp_path: Path) -> Path:
    path = tmp_path / "close.csv"
    write_file(path, rows_of(close))
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_shop_and_every_document_has_a_row(file: Path) -> None:
    rows = read(file)
    assert [row["row"] for row in rows] == ["shop"] * 2 + ["document"] * 3 + ["sha256"]
    assert [row["documents"] for row in rows[:2]] == ["2", "1"]
    first, failed, _ = rows[2:5]
    assert (first["document"], first["national_id"], first["state"]) == ("HD-1", "QG-1", "accepted")
    assert (failed["state"], failed["remark"]) == ("failed", "so_lo: is, blank")
    assert first["date"] == DAY.isoformat()


def test_what_was_not_compared_stands_in_the_file() -> None:
    noted = DayClose(DAY, (), ("the logs were not compared",))
    assert rows_of(noted)[-1][COLUMNS.index("remark")] == "the logs were not compared"


def test_a_file_proves_itself(file: Path, close: DayClose) -> None:
    found = verify_file(file)
    assert found.holds
    assert (found.found, found.documents) == (checksum(rows_of(close)), 3)


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


@pytest.mark.parametrize("code", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_code_is_run_by_a_spreadsheet(code: str) -> None:
    text = to_csv(rows_of(make_close(make_document(local_id=code))))
    assert f",'{code}," in text
    assert f",{code}," not in text


def test_a_negative_amount_stays_a_number() -> None:
    text = to_csv(rows_of(make_close(make_document(amount=-5))))
    assert ",-5," in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin"),
        (b"a,b\n1,2\n", "does not begin"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (",".join(COLUMNS).encode() + b"\nshop\n", "not whole"),
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
        write_file(tmp_path / "nowhere" / "x.csv", [COLUMNS])


def test_a_file_is_replaced_whole(file: Path) -> None:
    write_file(file, rows_of(make_close()))
    assert verify_file(file).documents == 0
    assert list(file.parent.iterdir()) == [file]
