"""The wrong clocks that tests give to processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.support.wrong_clock import IS_AVAILABLE, wrong_clock

CLOCKS = (
    "import os, time; from datetime import UTC, datetime; begin = time.monotonic();"
    "time.sleep(0.1);"
    "print(time.time(), datetime.now(UTC).timestamp(), os.stat(__import__('sys').executable)"
    ".st_mtime, time.monotonic() - begin)"
)
#: Far more than a process takes to start.
ROUGHLY = 600

pytestmark = pytest.mark.skipif(not IS_AVAILABLE, reason="no libfaketime for this platform")


@pytest.mark.parametrize("shift", [3600, -3600])
def test_the_wall_clock_is_wrong_and_nothing_else(shift: int) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CLOCKS],
        env={**os.environ, **wrong_clock(shift)},
        check=True,
        capture_output=True,
        text=True,
    )
    wall, aware, written, slept = map(float, done.stdout.split())
    assert all(abs(clock - time.time() - shift) < ROUGHLY for clock in (wall, aware))
    assert written == pytest.approx(os.stat(sys.executable).st_mtime)
    assert 0.1 <= slept < ROUGHLY
