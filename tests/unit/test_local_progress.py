"""What is shown while documents are on their way."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from deployments.local.progress import LiveTable, Meter, PlainLines, make_display
from lib.models import PipelineSummary

UI = "http://127.0.0.1:4200"


def summary(succeeded: int, pending: int = 0, failed: int = 0) -> list[PipelineSummary]:
    return [
        PipelineSummary("sale", pending=pending, in_flight=3, succeeded=succeeded, failed=failed)
    ]


def plain_lines() -> tuple[PlainLines, io.StringIO]:
    output = io.StringIO()
    return PlainLines(Console(file=output, width=40), UI, Path("/logs")), output


def test_throughput_is_that_of_the_last_seconds() -> None:
    meter = Meter()
    assert meter.take(0, summary(0)).throughput == 0
    assert meter.take(10, summary(100)).throughput == 10
    assert meter.take(20, summary(100, failed=50)).throughput == 5
    assert meter.take(30, summary(100, failed=50)).throughput == 0


def test_finished_and_unfinished_count_every_pipeline() -> None:
    snapshot = Meter().take(1, [*summary(5, pending=2, failed=1), *summary(4)])
    assert (snapshot.finished, snapshot.unfinished) == (10, 8)


def test_a_line_names_all_counts_in_one_piece() -> None:
    display, output = plain_lines()
    with display:
        display.show(Meter().take(2, summary(7, pending=5, failed=1)))
    header, line = output.getvalue().splitlines()
    assert UI in header
    assert "/logs" in header
    assert "sale: 5 pending, 3 in flight, 7 succeeded, 1 failed" in line


def test_lines_come_when_something_changed_and_not_too_often() -> None:
    display, output = plain_lines()
    meter = Meter()
    for seconds, succeeded in [(0, 0), (1, 1), (2, 2), (6, 3), (20, 3), (40, 3), (41, 4)]:
        display.show(meter.take(seconds, summary(succeeded)))
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["0", "6", "41"]


def test_a_terminal_gets_a_table_with_the_ui_address() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    display = make_display(console, UI, Path("/logs"))
    assert isinstance(display, LiveTable)
    with display:
        display.show(Meter().take(1, summary(7, pending=5)))
        display.say("[done]")
    text = output.getvalue()
    assert UI in text
    assert "/logs" in text
    assert "[done]" in text
    assert "succeeded" in text
