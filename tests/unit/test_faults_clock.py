"""The hook that gives one process a wrong clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tests.faults

HOOK = Path(tests.faults.__file__).with_name("clock")
TELL = (
    "import time; from datetime import UTC, datetime;"
    "print(time.time(), time.time_ns() / 1e9, datetime.now(UTC).timestamp(),"
    " datetime.now().timestamp(), datetime.today().timestamp())"
)
#: Far more than a process takes to start.
ROUGHLY = 600


def told(*arguments: str, **environment: str) -> list[float]:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", TELL, *arguments],
        env={**os.environ, "PYTHONPATH": str(HOOK), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(text) for text in done.stdout.split()]


@pytest.mark.parametrize("shift", [3600, -3600])
def test_every_clock_is_wrong_by_the_same(shift: int) -> None:
    clocks = told(PYTHON_CLOCK_SHIFT_SECONDS=str(shift))
    assert len(clocks) == 5
    assert all(abs(clock - time.time() - shift) < ROUGHLY for clock in clocks)


def test_without_a_shift_the_clock_is_right() -> None:
    assert all(abs(clock - time.time()) < ROUGHLY for clock in told())


def test_a_process_can_be_spared_by_its_command_line() -> None:
    shifted = {"PYTHON_CLOCK_SHIFT_SECONDS": "3600", "PYTHON_CLOCK_SHIFT_EXCEPT": "worker start"}
    spared = told("worker start", **shifted)
    assert all(abs(clock - time.time()) < ROUGHLY for clock in spared)
    assert all(clock - time.time() > ROUGHLY for clock in told("flow run", **shifted))


def test_times_can_still_be_compared_and_kept() -> None:
    code = (
        "import pickle; from datetime import UTC, datetime, timedelta;"
        "now = datetime.now(UTC); assert isinstance(now, datetime);"
        "assert pickle.loads(pickle.dumps(now)) == now;"
        "assert now - datetime(2020, 1, 1, tzinfo=UTC) > timedelta(0)"
    )
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HOOK), "PYTHON_CLOCK_SHIFT_SECONDS": "3600"},
        check=True,
    )
