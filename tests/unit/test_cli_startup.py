"""What a command imports: only what it needs, for each import is waited for at every call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.cli.__main__ import COMMANDS, app
from deployments.cli.command_line import whole
from deployments.cli.language import help_key

ROOT = Path(__file__).resolve().parents[2]
STORES = frozenset({"sqlalchemy", "pymongo", "redis", "httpx", "pydantic", "yaml"})
PREFECT = frozenset({"prefect", "alembic", "fastapi", "uvicorn", "prometheus_client", "limits"})
NOWHERE = "http://127.0.0.1:9/api"

CALL = """
import sys
from deployments.cli.console_script import main
sys.argv = ["dqg", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *sorted(sys.modules))
"""
READ = """
import asyncio, sys
from deployments.cli.{module} import {function}
from lib.errors import StoreUnavailable
try:
    asyncio.run({function}(["sale"]))
except StoreUnavailable as error:
    print("away:", error)
print("imported:", *sorted(sys.modules))
"""


def imported(code: str, *words: str) -> set[str]:
    """The packages that a new process has imported at its end, by their first name."""
    shown = subprocess.run(  # noqa: S603 - this test's code
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env={**os.environ, "DQG_ENV_FILE": "", "PREFECT_API_URL": NOWHERE, "DQG_X": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "imported:" in shown.stdout, shown.stderr
    return {name.split(".")[0] for name in shown.stdout.split("imported:")[1].split()}


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_what_asks_no_store_imports_none(words: list[str]) -> None:
    assert imported(CALL, *words) & (STORES | PREFECT | {"rich"}) == set()


@pytest.mark.parametrize(
    "command", ["status", "trace x", "send sale x", "failures group", "requeue x", "config show"]
)
def test_a_command_imports_no_prefect(command: str) -> None:
    found = imported(CALL, *command.split())
    assert "lib" in found
    assert found & PREFECT == set()


@pytest.mark.parametrize(("module", "function"), [("prefect_api", "read_pools")])
def test_prefect_is_asked_without_its_client(module: str, function: str) -> None:
    assert imported(READ.format(module=module, function=function)) & PREFECT == set()


def test_the_list_of_commands_says_what_each_says_itself() -> None:
    loaded = whole(app, COMMANDS).commands
    first = {name: help_key(c.help or "").split("\n\n")[0] for name, c in loaded.items()}
    assert first == {name: place.help for name, place in COMMANDS.items()}


def test_an_unknown_command_is_named_with_the_nearest() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "stats"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 2
    assert "'status'" in shown.stderr
