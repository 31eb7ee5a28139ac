"""`.ci/install`, which every target of the Makefile starts with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.supervisor.stack import ROOT

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
#: Builds a package that is only the command `dqg`.
BACKEND = """\
import zipfile

INFO = "dqg_sync-0.dist-info"


def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "dqg_sync-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\\nName: dqg-sync\\nVersion: 0\\n")
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(f"{INFO}/entry_points.txt", "[console_scripts]\\ndqg = site:main\\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    return name
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the installer, and a project that needs nothing and builds itself."""
    folder = tmp_path / "check out"
    (folder / ".ci").mkdir(parents=True)
    (folder / ".ci" / "install").symlink_to(ROOT / ".ci" / "install")
    (folder / "requirements-dev.txt").write_text("# nothing\n")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    return folder


def install(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [".ci/install", ".venv"],
        cwd=checkout,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_environment_is_made_once_and_again_when_the_lock_changes(checkout: Path) -> None:
    first = install(checkout)
    assert first.returncode == 0, first.stderr
    assert "making the virtual environment" in first.stdout
    mark = checkout / ".venv" / "mark"
    mark.touch()
    assert (checkout / ".venv" / "bin" / "dqg").exists()
    assert install(checkout).stdout == ""
    # Another lock, and an installation that is interrupted: it does not look finished.
    (checkout / "requirements-dev.txt").write_text("not-there==1 --hash=sha256:" + "0" * 64 + "\n")
    failed = install(checkout, PIP_NO_INDEX="1")
    assert failed.returncode != 0
    assert "making the virtual environment" in failed.stdout
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert not mark.exists()
    assert not (checkout / ".venv" / ".installed").exists()


def test_a_python_that_is_not_there_is_named(checkout: Path) -> None:
    done = install(checkout, PYTHON="/no/python")
    assert done.returncode != 0
    assert done.stderr == "error: PYTHON=/no/python: there is no such program\n"


def test_an_old_python_is_refused(checkout: Path, tmp_path: Path) -> None:
    script = 'case "$2" in *exit*) exit 1;; *) echo 3.9;; esac'
    old = fake_python(tmp_path / "bin", "python3", script)
    done = install(checkout, PYTHON=str(old))
    assert done.stderr == f"error: PYTHON={old} is version 3.9; 3.11 or newer is needed\n"


def test_a_newer_python_than_the_systems_first_is_found(checkout: Path, tmp_path: Path) -> None:
    fake_python(tmp_path / "bin", "python3", "exit 1")
    fake_python(tmp_path / "bin", "python3.13", "exit 1")
    taken = 'case "$*" in *venv\\ *) echo taken >&2; exit 1;; esac'
    fake_python(tmp_path / "bin", "python3.12", f'{taken}\nexec "{sys.executable}" "$@"')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    assert "taken" in install(checkout, PYTHON="", PATH=path).stderr


def test_a_missing_venv_module_is_told_with_the_package_that_has_it(
    checkout: Path, tmp_path: Path
) -> None:
    script = 'case "$2" in *venv*) exit 1;; *exit*) exit 0;; *) echo 3.12;; esac'
    bare = fake_python(tmp_path / "bin", "python3", script)
    done = install(checkout, PYTHON=str(bare))
    assert done.returncode != 0
    assert done.stderr.endswith("on Debian and Ubuntu: apt-get install python3.12-venv\n")
    assert done.stderr.count("\n") == 1
