"""A wrong clock. Python loads this module automatically if this folder is on PYTHONPATH.

Shifts the results of `time.time` and `datetime.now` by PYTHON_CLOCK_SHIFT_SECONDS, except in
processes whose command line contains the text of PYTHON_CLOCK_SHIFT_EXCEPT. The names begin like
Python's own variables, so that runs with different clocks use different preloaded processes.
Durations (`time.monotonic`) stay correct, as on a machine whose clock was set wrongly.
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

    # The class itself is patched, since drivers and models keep references to it. It is a
    # built-in type, so its attributes can be set only in its underlying dictionary.
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
