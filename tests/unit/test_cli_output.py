"""What is shown on a terminal: it fits, its codes stay whole, its colours and times are right."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from deployments.cli import output
from deployments.cli.language import use_language
from deployments.cli.output import Tone, code, console, number, table, text, toned
from deployments.cli.status import as_tables
from lib.operations.status import Status
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.counts import ShopSummary

SHOPS = [f"SHOP-HANOI-{n:02}" for n in range(3)]
WIDTHS = pytest.mark.parametrize("width", [40, 60, 80, 120, 200])


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    use_language("en")
    output.use_zone("Asia/Ho_Chi_Minh")


def shown(what: Any, width: int) -> list[str]:
    """The lines of a file of this width."""
    file = io.StringIO()
    Console(file=file, width=width).print(what)
    return file.getvalue().splitlines()


def status() -> Status:
    return Status(
        shops=[ShopSummary("cancellation", shop, pending=123456, failed=7) for shop in SHOPS],
        shop_breakers=dict.fromkeys(SHOPS, BreakerSnapshot(BreakerState.CLOSED)),
        open_failures={("cancellation", SHOPS[0]): 3},
    )


@WIDTHS
@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_status_fits_and_no_code_is_broken(width: int, language: str) -> None:
    use_language(language)
    lines = shown(as_tables(status()), width)
    assert max(map(cell_len, lines)) <= width
    for whole in ("cancellation", *SHOPS, "123456"):
        assert any(whole in line for line in lines), whole


def test_the_least_important_columns_are_left_out_first_and_named() -> None:
    made = table(
        "t",
        [code("document"), text("reason", 1), number("lines", 2), code("id", 3)],
        [("HD-S01-000101", "so_lo is blank, and so is han_dung", 12345678, "x" * 24)],
    )
    assert [name in "".join(shown(made, 200)) for name in ("reason", "lines", "id")] == [True] * 3
    narrow = shown(made, 50)
    assert "id" not in narrow[2]
    assert "lines" in narrow[2]
    assert "id" in narrow[-1]
    narrower = shown(made, 37)
    assert "reason" in narrower[2]
    assert "lines, id" in narrower[-1]


def test_what_fits_in_no_table_is_a_list_of_values() -> None:
    made = table("t", [code("document"), code("national id")], [("D" * 30, "N" * 45)])
    lines = shown(made, 50)
    assert any("D" * 30 in line for line in lines)
    assert any("N" * 45 in line for line in lines)
    assert not any("│" in line for line in lines)


def test_heads_fold_before_a_column_is_left_out() -> None:
    made = table("t", [number(f"a long head {n}", 1) for n in range(4)], [range(4)])
    lines = shown(made, 40)
    assert "left out" not in "".join(lines)
    assert max(map(len, lines)) <= 40


def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == 60
    monkeypatch.delenv("COLUMNS")
    assert console().width == 200


def test_a_state_has_its_colour_unless_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console().print(toned("open", Tone.BAD))
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    console().print(toned("open", Tone.BAD))
    assert "\x1b[31m" not in capsys.readouterr().out


def test_times_are_vietnams_unless_another_zone_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    moment = datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    assert output.local_time(moment) == "2026-11-28 00:30:00"
    assert output.zone_offset(moment) == "+0700"
    output.use_zone("UTC")
    assert output.local_time(moment) == "2026-11-27 17:30:00"
