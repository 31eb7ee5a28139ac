"""The configuration of JSON logs: Prefect's own, with another output; and what a line holds."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prefect.logging
import pytest
from prefect.logging.configuration import load_logging_config

from tasks.runtime import add_run_context

ROOT = Path(__file__).resolve().parents[2]
JSON_LOGS = ROOT / "deployments" / "containers" / "logging" / "json.yml"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What the root logger writes, formatted as the file says."""
    stream = io.StringIO()
    formatters = load_logging_config(JSON_LOGS)["formatters"]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.config.DictConfigurator({}).configure_formatter(formatters["json"])
    )
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_only_the_output_differs_from_prefects_own_configuration() -> None:
    """A newer Prefect may log in other places: its own file then has to be followed."""
    default = Path(prefect.logging.__path__[0]) / "logging.yml"
    theirs, ours = load_logging_config(default), load_logging_config(JSON_LOGS)
    assert set(ours["loggers"]) == {*theirs["loggers"], "dqg"}
    for name, logger in theirs["loggers"].items():
        handlers = ["console" if h == "debug" else h for h in logger.get("handlers", [])]
        assert ours["loggers"][name] == logger | ({"handlers": handlers} if handlers else {})
    assert ours["root"] == theirs["root"]
    for name in ("api", "worker_api"):
        assert ours["handlers"][name] == theirs["handlers"][name]


def test_a_line_holds_what_was_logged_and_who_logged_it(output: io.StringIO) -> None:
    logging.getLogger("dqg.test").warning(
        "lô %s hết hạn", "A1", extra={"action": "test", "local_id": "HD-1"}
    )
    (line,) = lines(output)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "dqg.test",
        "message": "lô A1 hết hạn",
        "action": "test",
        "local_id": "HD-1",
    }
    assert "lô" in output.getvalue()


def test_a_message_of_several_lines_and_an_error_stay_one_line(output: io.StringIO) -> None:
    try:
        int("first\nsecond")
    except ValueError:
        logging.getLogger("dqg.test").exception("went\nwrong")
    (line,) = lines(output)
    assert line["message"] == "went\nwrong"
    assert "ValueError" in line["exc_info"]


def test_outside_of_a_run_nothing_is_added_and_nothing_fails(output: io.StringIO) -> None:
    add_run_context()
    add_run_context()
    logging.getLogger("dqg.test").warning("alone")
    (line,) = lines(output)
    assert set(line) == {"time", "level", "logger", "message"}
