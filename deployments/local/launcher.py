"""`make run`: starts the whole system, shows the progress, and checks the result."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import httpx
from rich.console import Console

from deployments.local.environment_file import command_prefix
from deployments.local.errors import LauncherError
from deployments.local.options import DEFAULT_STATE, Options, read_options
from deployments.local.parts.console import start_console
from deployments.local.preflight import check_machine
from deployments.local.progress import Display, Meter, Snapshot, make_display
from deployments.local.state import empty_state
from deployments.local.supervisor.service import ServiceFailed
from deployments.local.supervisor.stack import Stack
from deployments.local.system import System, check_complete, start_system
from deployments.local.verdict import SHOWN, find_problems
from lib.errors import StoreUnavailable, SyncError
from lib.pipelines import PIPELINES

LOOK_SECONDS = 1.0
#: Interval while every document has a final status; a new document is noticed within this time.
QUIET_SECONDS = 3.0
INTERRUPTED = 130


def main() -> int:
    """Run until Ctrl-C, or with EXIT=1 until the last document; returns the exit status."""
    console = Console()
    end_on_signals()
    try:
        options = read_options(os.environ)
        check_machine(options.state_dir)
        with empty_state(options.state_dir) as lock:
            return run(options, console, lock)
    except (LauncherError, ServiceFailed, SyncError, httpx.HTTPError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def run(options: Options, console: Console, lock: int) -> int:
    """Run the stack in a locked, empty state folder; returns the exit status.

    Raises:
        LauncherError, ServiceFailed: the system cannot continue.
    """
    begin = time.monotonic()

    def report(message: str) -> None:
        text = f"{time.monotonic() - begin:5.1f} s  {message}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    with (
        Stack(options.state_dir, keep_open=[lock]) as stack,
        start_system(
            stack,
            source_url=options.source,
            documents=options.documents,
            seed=options.seed,
            report=report,
        ) as system,
        make_display(console, system.prefect.ui_url, stack.log_dir) as display,
    ):
        display.say(f"console: {start_console(stack, system.prefect, system.environment)}")
        watch = Watch(system, display)
        limit = options.deadline_for(len(system.plan.documents))
        end = watch.until_done(deadline=limit if options.exit_when_done else None)
        wrong = find_problems(system)
        for line in summary_lines(end, wrong):
            display.say(line)
        if options.exit_when_done:
            return 1 if wrong else 0
        display.say("The stack runs until Ctrl-C; new documents are sent as well.")
        prefix = command_prefix(options.state_dir, DEFAULT_STATE.resolve())
        display.say(f"In a second terminal: {prefix}.venv/bin/dqg failures group")
        with suppress(KeyboardInterrupt):
            watch.until_interrupted()
        display.say("stopping")
        return 0


def summary_lines(end: Snapshot, wrong: list[str]) -> list[str]:
    """The lines shown after the last document."""
    speed = end.finished / end.seconds if end.seconds else 0.0
    lines = [
        f"{end.finished} documents have their final status "
        f"after {end.seconds:.0f} s, {speed:.1f} documents/s"
    ]
    if not wrong:
        return [
            *lines,
            "as planned: each correct document accepted exactly once, each faulty document refused",
        ]
    lines += [f"{len(wrong)} differences from the plan:", *(f"  {w}" for w in wrong[:SHOWN])]
    return lines if len(wrong) <= SHOWN else [*lines, f"  and {len(wrong) - SHOWN} more"]


class Watch:
    """Polls the system once per second."""

    def __init__(
        self,
        system: System,
        display: Display,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._system = system
        self._display = display
        self._meter = Meter()
        self._clock = clock
        self._sleep = sleep
        self._begin = clock()

    def until_done(self, deadline: float | None) -> Snapshot:
        """Watch until every document has a final status.

        Raises:
            LauncherError: a part has stopped, or the deadline has passed.
        """
        while True:
            check_complete(self._system)
            snapshot = self._look()
            if not snapshot.unfinished:
                return snapshot
            if deadline is not None and snapshot.seconds > deadline:
                raise LauncherError(
                    f"{snapshot.unfinished} documents have no final status after "
                    f"{snapshot.seconds:.0f} s, which is the deadline; "
                    f"see the logs in {self._system.stack.log_dir}"
                )
            self._sleep(LOOK_SECONDS)

    def until_interrupted(self) -> NoReturn:
        """Watch until interrupted; reports each stopped part once."""
        reported: set[str] = set()
        while True:
            stopped = set(self._system.stack.stopped_services())
            for name in sorted(stopped - reported):
                self._display.say(str(self._system.stack.failure(name)))
            reported = stopped
            unfinished = not stopped and self._look().unfinished
            self._sleep(LOOK_SECONDS if unfinished else QUIET_SECONDS)

    def _look(self) -> Snapshot:
        try:
            summaries = self._system.source.counts.summary(list(PIPELINES.values()))
        except StoreUnavailable as error:
            check_complete(self._system)
            raise LauncherError(f"the source database does not answer: {error}") from error
        snapshot = self._meter.take(self._clock() - self._begin, summaries)
        self._display.show(snapshot)
        return snapshot


def end_on_signals() -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Also SIGINT: shells make background processes ignore it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
