"""CPU profiler: samples the stacks of a process every few milliseconds of CPU time.

A thread's stack is charged with the CPU time that the thread has used since its last sample, so
waiting costs nothing and all threads are covered. Linux only; imports only the standard library.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

PERIOD = 0.005
DEPTH = 200
#: Interval of writing the result: a server that a signal ends runs no exit handler.
WRITE_SECONDS = 15.0

Stack = tuple[tuple[str, str], ...]


class Sampler:
    """Adds up CPU seconds by stack, innermost frame first."""

    def __init__(self) -> None:
        self.seconds: dict[Stack, float] = defaultdict(float)
        self._used: dict[int, float] = {}

    def look(self, frame: FrameType | None) -> None:
        """Charge every thread's stack with the CPU time used since the last sample.

        Args:
            frame: current frame of the calling thread.
        """
        own = threading.get_ident()
        native = {thread.ident: thread.native_id for thread in threading.enumerate()}
        # After a fork the main thread is still listed with the parent's thread id.
        native[own] = threading.get_native_id()
        for ident, top in sys._current_frames().items():
            thread = native.get(ident)
            if thread is None:
                continue
            used = _cpu_seconds(thread)
            if used is None:
                continue
            spent = used - self._used.get(thread, used)
            self._used[thread] = used
            if spent > 0:
                self.seconds[_stack(frame if ident == own else top)] += spent

    def write(self, path: Path) -> None:
        content = [[seconds, stack] for stack, seconds in list(self.seconds.items())]
        path.write_text(json.dumps({"command": sys.orig_argv, "stacks": content}))


def start(folder: Path) -> None:
    """Sample this process until it ends; the result is written to a file in the folder."""
    path = folder / f"{os.getpid()}.json"
    sampler = Sampler()
    written = time.monotonic()
    busy = False

    def look(_number: int, frame: FrameType | None) -> None:
        nonlocal busy, written
        if busy:  # the previous sample took longer than a period
            return
        busy = True
        sampler.look(frame)
        if time.monotonic() - written > WRITE_SECONDS:
            sampler.write(path)
            written = time.monotonic()
        busy = False

    signal.signal(signal.SIGPROF, look)
    # A system timer fires whenever CPU time has passed. A sampling thread would run only where the
    # main thread releases the interpreter lock, and would always show the same few places.
    signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)
    _stop_before_exec()
    atexit.register(sampler.write, path)


def _stop_before_exec() -> None:
    """Stop the timer before `exec`: otherwise its signal would kill the new program."""
    for name in ("execv", "execve"):
        original = getattr(os, name)

        def stopped(*arguments: Any, _original: Any = original) -> None:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _original(*arguments)

        setattr(os, name, stopped)


def _cpu_seconds(thread: int) -> float | None:
    try:
        with open(f"/proc/self/task/{thread}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except OSError:
        return None  # it has just ended


def _stack(frame: FrameType | None) -> Stack:
    found: list[tuple[str, str]] = []
    while frame is not None and len(found) < DEPTH:
        code = frame.f_code
        found.append((code.co_filename, code.co_qualname))
        frame = frame.f_back
    return tuple(found)
