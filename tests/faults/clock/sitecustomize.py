"""Loaded by Python itself where this folder is on PYTHONPATH: a clock that is wrong.

Shifts what `time.time` and `datetime.now` say by PYTHON_CLOCK_SHIFT_SECONDS; with
PYTHON_CLOCK_SHIFT_EXCEPT not in processes whose command line holds that text. The names begin like
Python's own variables, so that preloaded processes of two clocks are kept apart.
Durations (`time.monotonic`) stay right, as on a machine whose clock was set wrongly.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any


def _shift_clock(seconds: float) -> None:
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)

    # The class itself is changed, since drivers and models hold on to the one there is. It is
    # built in, so its attributes can be set only in the dictionary behind them.
    attributes: dict[str, Any] = gc.get_referents(datetime.__dict__)[0]
    real_now, step = attributes["now"], timedelta(seconds=seconds)

    def now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        told: datetime = real_now.__get__(None, cls)(tz)
        return told + step

    def utcnow(cls: type[datetime]) -> datetime:
        return now(cls, UTC).replace(tzinfo=None)

    attributes |= {
        "now": classmethod(now),
        "utcnow": classmethod(utcnow),
        "today": classmethod(now),
    }
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


_shift = os.environ.get("PYTHON_CLOCK_SHIFT_SECONDS")
_spared = os.environ.get("PYTHON_CLOCK_SHIFT_EXCEPT")
if _shift and not (_spared and _spared in " ".join(sys.orig_argv)):
    _shift_clock(float(_shift))
