"""`dqg`: whose settings it works with."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deployments.cli.console_script import CHECKOUT, choose_settings
from tests.support.cli import dqg

URL = "DQG_SOURCE__URL"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "check out").mkdir()
    return tmp_path / "check out"


def offer(state: Path, url: str = "the local stack") -> None:
    """What a running `make run` leaves in its state folder."""
    state.mkdir()
    (state / "environment.sh").write_text(f"export {URL}='{url}'\n")


def chosen(checkout: Path, **environment: str) -> dict[str, str]:
    choose_settings(environment, checkout)
    return environment


def test_an_installation_is_its_variables_and_its_file(checkout: Path) -> None:
    assert chosen(checkout, DQG_SOURCE__URL="installed") == {
        URL: "installed",
        "DQG_ENV_FILE": "",
    }
    (checkout / ".env").touch()
    assert chosen(checkout) == {"DQG_ENV_FILE": str(checkout / ".env")}
    assert chosen(checkout, DQG_ENV_FILE="/etc/dqg.env") == {"DQG_ENV_FILE": "/etc/dqg.env"}


def test_a_running_local_stack_is_found(checkout: Path) -> None:
    offer(checkout / ".state")
    assert chosen(checkout)[URL] == "the local stack"


def test_settings_of_an_installation_come_before_a_local_stack(checkout: Path) -> None:
    offer(checkout / ".state")
    assert chosen(checkout, DQG_SOURCE__URL="installed")[URL] == "installed"
    assert URL not in chosen(checkout, DQG_ENV_FILE="/etc/dqg.env")
    (checkout / ".env").touch()
    assert URL not in chosen(checkout)


def test_a_state_folder_that_is_named_comes_first(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(checkout / ".state")
    (checkout / ".env").touch()
    offer(checkout / "other", "the other")
    monkeypatch.chdir(checkout)
    for state in ("other", str(checkout / "other")):
        assert chosen(checkout, STATE=state, DQG_SOURCE__URL="installed")[URL] == "the other"


def test_a_named_state_folder_without_a_stack_is_an_error(checkout: Path) -> None:
    with pytest.raises(SystemExit, match="error: no local stack of this user runs in other"):
        chosen(checkout, STATE="other", DQG_SOURCE__URL="installed")


def test_what_a_stack_that_was_killed_left_behind_is_ignored(checkout: Path) -> None:
    (checkout / ".state").mkdir()
    (checkout / ".state" / "environment.sh").symlink_to(checkout / "gone")
    assert URL not in chosen(checkout)


def test_the_installed_command_runs_in_any_folder(tmp_path: Path) -> None:
    name, _, function = project()["scripts"]["dqg"].partition(":")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"from {name} import {function}; {function}()", "config", "show"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            URL: "postgresql+psycopg://u@h/d",
            "DQG_MONGO__URL": "mongodb://m",
            "DQG_REDIS__URL": "redis://r",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mongodb://m" in done.stdout


def test_the_version_is_that_of_the_project() -> None:
    assert dqg("--version") == f"dqg-sync {project()['version']}\n"


def test_help_has_a_short_form() -> None:
    assert dqg("status", "-h") == dqg("status", "--help")


def project() -> dict[str, Any]:
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found
