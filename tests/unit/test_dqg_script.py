"""`./dqg`: whose settings it works with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.local.supervisor.stack import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python prints the source database it was given."""
    folder = tmp_path / "check out"
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "${DQG_SOURCE__URL:-none} $*"\n')
    python.chmod(0o755)
    shutil.copy(ROOT / "dqg", folder / "dqg")
    return folder


def offer(state: Path) -> None:
    """What a running `make run` leaves in its state folder."""
    state.mkdir()
    (state / "environment.sh").write_text("export DQG_SOURCE__URL='the local stack'\n")


def dqg(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith("DQG_") and n != "STATE"}
    return subprocess.run(  # noqa: S603
        [checkout / "dqg", "status", "two words"],
        cwd="/",
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_local_stack_the_environment_decides(checkout: Path) -> None:
    done = dqg(checkout, DQG_SOURCE__URL="installed")
    assert done.stdout == "installed -m deployments.cli status two words\n"
    assert dqg(checkout).stdout.startswith("none ")


def test_a_running_local_stack_is_found(checkout: Path) -> None:
    offer(checkout / ".state")
    assert dqg(checkout).stdout.startswith("the local stack ")


def test_settings_of_an_installation_come_before_a_local_stack(checkout: Path) -> None:
    offer(checkout / ".state")
    assert dqg(checkout, DQG_SOURCE__URL="installed").stdout.startswith("installed ")
    assert dqg(checkout, DQG_ENV_FILE="/etc/dqg.env").stdout.startswith("none ")
    (checkout / ".env").touch()
    assert dqg(checkout).stdout.startswith("none ")


@pytest.mark.parametrize("name", ["other", "{checkout}/other"])
def test_a_state_folder_that_is_named_comes_first(checkout: Path, name: str) -> None:
    offer(checkout / ".state")
    (checkout / ".env").touch()
    (checkout / "other").mkdir()
    (checkout / "other" / "environment.sh").write_text("export DQG_SOURCE__URL='the other'\n")
    state = name.format(checkout=checkout)
    assert dqg(checkout, STATE=state, DQG_SOURCE__URL="installed").stdout.startswith("the other ")


def test_a_named_state_folder_without_a_stack_is_an_error(checkout: Path) -> None:
    done = dqg(checkout, STATE="other", DQG_SOURCE__URL="installed")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no local stack of yours runs in other\n"


def test_what_a_stack_that_was_killed_left_behind_is_ignored(checkout: Path) -> None:
    (checkout / ".state").mkdir()
    (checkout / ".state" / "environment.sh").symlink_to(checkout / "gone")
    assert dqg(checkout).stdout.startswith("none ")
