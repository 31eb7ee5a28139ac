"""Foreign text on a terminal and in a text log: it is shown, and does nothing else."""

from __future__ import annotations

import io
import logging

import pytest

from deployments.cli.context import print_error
from deployments.cli.output import console, table
from lib.sanitize import one_line, printable
from tasks.runtime import keep_to_one_line

NASTY = [
    "[/red]T",
    "[bold]T[/bold]",
    "T\\",
    "\x1b[2J\x1b]0;owned\x07T",
    "\u202eT\u202c",
    "\u2066T\u2069",
    "\x9b31mT",
    "\x00T\x08",
    "\ud800T",
    "T\r\nT",
]


@pytest.mark.parametrize("text", NASTY)
def test_a_title_and_a_cell_are_shown_as_they_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console().print(table(text, [""], [[text]]))
    shown = capsys.readouterr().out

    shown.encode()
    assert shown == printable(shown)
    assert "\x1b" not in shown
    assert "T" in shown
    if text.startswith("["):
        assert shown.count(text) == 2


@pytest.mark.parametrize("text", NASTY)
def test_an_error_steers_no_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_error(text)

    told = capsys.readouterr().err
    assert told == printable(told)


@pytest.mark.parametrize("name", ["dqg.submission", "prefect.flow_runs"])
def test_a_line_feed_in_a_code_begins_no_line_of_a_log(name: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(keep_to_one_line)
    logger = logging.Logger(name)
    logger.addHandler(handler)

    logger.warning("%s failed after %d calls", "HD-1\n2026-11-27 INFO forged\x1b[2J\u2028x", 3)

    (line,) = stream.getvalue().splitlines()
    assert line == "HD-1\\n2026-11-27 INFO forged[2J\\nx failed after 3 calls"


def test_a_text_without_anything_of_the_kind_stays_as_it_is() -> None:
    assert one_line("Nguyễn Thị Mai: 1 viên/lần") == "Nguyễn Thị Mai: 1 viên/lần"
    assert printable("một\n\thai") == "một\n\thai"
