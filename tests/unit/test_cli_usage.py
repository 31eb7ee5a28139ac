"""What every command line is asked for: help, version, and what a shell may complete."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from deployments.cli import VERSION
from deployments.cli.__main__ import COMMANDS, app


def say(*words: str, **environment: str) -> str:
    """What `dqg` prints for these words; the test fails where it does not end well."""
    done = CliRunner().invoke(app, words, prog_name="dqg", env=environment)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", [(), ("failures", "list"), ("console", "user", "add")])
def test_help_has_a_short_name_everywhere(words: tuple[str, ...]) -> None:
    assert say(*words, "-h") == say(*words, "--help")


def test_the_version_is_shown() -> None:
    assert say("--version") == f"dqg-sync {VERSION}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", list(COMMANDS)),
        ("fail", ["failures"]),
        ("failures ", ["list", "group", "show"]),
        ("failures list --class inv", ["invalid"]),
        ("send ", ["import", "sale", "cancellation"]),
        ("pause pipeline s", ["sale"]),
        ("failures list --s", ["--shop", "--state"]),
        ("console user add lan --role a", ["accountant", "administrator"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(typed: str, offered: list[str]) -> None:
    line = f"dqg {typed}"
    asked = {
        "_DQG_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    assert say(**asked).split() == offered


def test_a_shell_gets_its_script() -> None:
    assert "_DQG_COMPLETE=complete_bash" in say(_DQG_COMPLETE="source_bash")
