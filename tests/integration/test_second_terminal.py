"""The environment that a running local stack offers to a second terminal."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.environment_file import (
    FILE_NAME,
    command_prefix,
    offer_environment,
    read_environment,
)
from deployments.local.errors import LauncherError
from deployments.local.parts.postgres import PostgresServer, client_program
from deployments.local.sql import client_environment
from deployments.local.supervisor.stack import Stack

VALUES = {"DQG_ODD": 'it\'s $HOME; `id` "100%"\n\\ Hóa đơn', "DQG_ENV_FILE": "", "A": "export"}
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def own_stack(tmp_path: Path) -> Stack:
    """A stack as far as the offer needs it: two folders and an environment."""
    stack = Stack(tmp_path / "state")
    stack.private_dir = tmp_path / "private"
    for folder in (stack.private_dir, stack.state_dir):
        folder.mkdir()
    return stack


def test_a_shell_and_python_read_the_same_values(own_stack: Stack) -> None:
    with offer_environment(own_stack, VALUES):
        file = own_stack.state_dir / FILE_NAME
        read = read_environment(own_stack.state_dir)
        shell = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", '. "$0" && exec "$1" -c "$2"', file, sys.executable, PRINT],
            env={},
            capture_output=True,
            check=True,
        )
    seen = json.loads(shell.stdout)
    assert {name: read[name] for name in VALUES} == VALUES
    assert {name: seen[name] for name in VALUES} == VALUES
    assert "127.0.0.1" in seen["NO_PROXY"]


def test_nobody_else_can_read_it_and_it_is_gone_afterwards(own_stack: Stack) -> None:
    with offer_environment(own_stack, VALUES):
        file = (own_stack.state_dir / FILE_NAME).resolve()
        assert file.parent == own_stack.private_dir
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(own_stack.private_dir.iterdir()) == []
    assert list(own_stack.state_dir.iterdir()) == []
    with pytest.raises(LauncherError, match="no local stack of this user runs in"):
        read_environment(own_stack.state_dir)


def test_another_state_folder_is_named_in_the_command() -> None:
    default = Path("/checkout/.state")
    assert command_prefix(default, default) == ""
    assert command_prefix(Path("/data/my state"), default) == "STATE='/data/my state' "


def test_psql_works_in_the_source_database(postgres: PostgresServer, database_url: str) -> None:
    done = subprocess.run(  # noqa: S603
        [client_program(), "-At", "-c", "SELECT 'Dược phẩm', current_database()"],
        env=client_environment({"DQG_SOURCE__URL": database_url}),
        capture_output=True,
        check=True,
    )
    name = database_url.rsplit("/", 1)[1]
    assert done.stdout.decode() == f"Dược phẩm|{name}\n"
