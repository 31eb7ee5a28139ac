"""Secret files become variables of the program that comes next, and of nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.containers.secret_files import SecretUnreadable, with_secrets
from lib.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def secrets_in(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(
    *command: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "deployments.containers.secret_files", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_gets_its_secrets_as_variables(tmp_path: Path) -> None:
    folder = secrets_in(tmp_path, DQG_SOURCE__URL="mssql://Thuốc:p%20w@db/x?a=b\n", NAME=" 'a' $B ")
    done = run(sys.executable, "-c", SHOW, folder=folder)
    seen = json.loads(done.stdout)
    assert seen["DQG_SOURCE__URL"] == "mssql://Thuốc:p%20w@db/x?a=b"
    assert seen["NAME"] == " 'a' $B "


def test_a_variable_that_is_set_wins(tmp_path: Path) -> None:
    folder = secrets_in(tmp_path, NAME="file")
    assert with_secrets({"NAME": "shell"}, folder) == {"NAME": "shell"}


def test_only_the_last_line_break_is_dropped_and_nothing_is_set_by_an_empty_file(
    tmp_path: Path,
) -> None:
    folder = secrets_in(tmp_path, KEY="a\nb\n\n", WINDOWS="x\r\n", EMPTY="", BLANK="\n")
    assert with_secrets({}, folder) == {"KEY": "a\nb\n", "WINDOWS": "x"}


def test_files_with_other_names_and_folders_are_left_alone(tmp_path: Path) -> None:
    folder = secrets_in(tmp_path, postgres_password="x", **{"..data": "x", "1A": "x"})
    (folder / "FOLDER").mkdir()
    assert with_secrets({}, folder) == {}


def test_links_as_kubernetes_makes_them_are_followed(tmp_path: Path) -> None:
    hidden = secrets_in(tmp_path / "..2026", NAME="value")
    (tmp_path / "NAME").symlink_to(hidden / "NAME")
    assert with_secrets({}, tmp_path) == {"NAME": "value"}


def test_without_a_folder_there_are_no_secrets(tmp_path: Path) -> None:
    assert with_secrets({"A": "b"}, tmp_path / "none") == {"A": "b"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b"])
def test_a_file_that_is_no_text_is_refused_without_showing_it(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "NAME").write_bytes(content)
    with pytest.raises(SecretUnreadable, match="NAME: ") as caught:
        with_secrets({}, tmp_path)
    assert "a\0b" not in str(caught.value)


def test_a_program_is_not_started_with_half_of_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "NAME").write_bytes(b"\xff")
    done = run(sys.executable, "-c", SHOW, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "NAME: not UTF-8 text" in done.stderr


def test_the_programs_status_and_its_signals_are_its_own(tmp_path: Path) -> None:
    assert run(sys.executable, "-c", "raise SystemExit(7)", folder=tmp_path).returncode == 7
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert run(sys.executable, "-c", code, folder=tmp_path).returncode == -signal.SIGTERM


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    done = run("no-such-program", folder=tmp_path)
    assert done.returncode == 1
    assert "no-such-program: No such file" in done.stderr
    assert run(folder=tmp_path).returncode == 1


def test_the_settings_of_the_service_are_read_from_secret_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = secrets_in(
        tmp_path,
        DQG_SOURCE__URL="mssql+pyodbc://dqg:secret@db/Pharmacy\n",
        DQG_MONGO__URL="mongodb://mongo/",
        DQG_REDIS__URL="redis://redis/0",
    )
    for name, value in with_secrets({"DQG_ENV_FILE": ""}, folder).items():
        monkeypatch.setenv(name, value)
    url = load_settings().source.url
    assert url is not None
    assert url.get_secret_value() == "mssql+pyodbc://dqg:secret@db/Pharmacy"
