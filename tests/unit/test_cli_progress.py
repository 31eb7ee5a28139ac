"""Bars for long work: on a terminal, after a moment, and nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from deployments.cli.progress import progress


def drawn(*, terminal: bool = True, shown: bool = True, delay: float = 0) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    with progress("reading", 10, shown=shown, console=console, delay=delay) as advance:
        advance(4)
        advance(6)
    return out.getvalue()


def test_a_bar_counts_what_is_done() -> None:
    assert "reading" in drawn()
    assert "10/10" in drawn()


@pytest.mark.parametrize(
    "how", [{"terminal": False}, {"shown": False}, {"delay": 60}], ids=["file", "json", "quick"]
)
def test_there_is_none_in_a_file_between_json_or_for_quick_work(how: dict[str, bool]) -> None:
    assert drawn(**how) == ""
