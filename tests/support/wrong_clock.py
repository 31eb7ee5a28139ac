"""Processes with a wrong clock, by libfaketime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import psutil

#: Its wheel has a binary for Linux on x86-64 only.
IS_AVAILABLE = find_spec("libfaketime") is not None


def wrong_clock(seconds: int) -> dict[str, str]:
    """Environment variables that shift the wall clock of a new process and of its children.

    Durations and the times of files stay right, as on a machine whose clock was set wrongly.
    """
    spec = find_spec("libfaketime")
    assert spec is not None, "libfaketime is not installed"
    assert spec.origin is not None
    library = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    assert library.is_file(), f"{library} is missing"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+d}",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def remove_leftovers() -> None:
    """Remove the shared memory of processes that ended without removing it, as killed ones do."""
    for path in Path("/dev/shm").glob("*faketime_*"):  # noqa: S108 - where libfaketime puts it
        if not psutil.pid_exists(int(path.name.rpartition("_")[2])):
            path.unlink(missing_ok=True)
