"""The launcher's watch over a running system: when it ends, and when it gives up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployments.local.errors import LauncherError
from deployments.local.launcher import Watch
from deployments.local.progress import Snapshot
from deployments.local.supervisor.service import ServiceFailed
from lib.errors import StoreUnavailable
from lib.models import PipelineSummary
from lib.pipelines import Pipeline

PENDING = PipelineSummary("sale", pending=4)
IN_FLIGHT = PipelineSummary("sale", pending=2, in_flight=2)
DONE = PipelineSummary("sale", succeeded=3, failed=1)


@dataclass
class FakeStack:
    """Parts that stop when a test says so."""

    log_dir: Path = Path("/logs")
    stopped: list[str] = field(default_factory=list)

    def stopped_services(self) -> list[str]:
        return list(self.stopped)

    def failure(self, name: str) -> ServiceFailed:
        return ServiceFailed(name, "has stopped by itself", self.log_dir / name, "last words")


@dataclass
class FakeCounts:
    """Gives the next summary at each look, the last one for ever."""

    summaries: list[PipelineSummary | Exception]

    def summary(self, _pipelines: Sequence[Pipeline]) -> list[PipelineSummary]:
        now = self.summaries.pop(0) if len(self.summaries) > 1 else self.summaries[0]
        if isinstance(now, Exception):
            raise now
        return [now]


@dataclass
class FakeSource:
    counts: FakeCounts


@dataclass
class FakeSystem:
    """As much of a system as the watch looks at."""

    source: FakeSource
    stack: FakeStack = field(default_factory=FakeStack)


class FakeDisplay:
    def __init__(self) -> None:
        self.shown: list[Snapshot] = []
        self.said: list[str] = []

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)

    def say(self, message: str) -> None:
        self.said.append(message)


class FakeTime:
    """Moves on only by sleeping; can end an endless watch."""

    def __init__(self, end: float = float("inf")) -> None:
        self.now = 0.0
        self._end = end

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._end:
            raise KeyboardInterrupt


def make_watch(
    *summaries: PipelineSummary | Exception, end: float = float("inf")
) -> tuple[Watch, FakeSystem, FakeDisplay]:
    time = FakeTime(end)
    system = FakeSystem(FakeSource(FakeCounts(list(summaries))))
    display = FakeDisplay()
    watch = Watch(system, display, clock=lambda: time.now, sleep=time.sleep)  # type: ignore[arg-type]
    return watch, system, display


def test_it_ends_with_the_last_document() -> None:
    watch, _, display = make_watch(PENDING, IN_FLIGHT, IN_FLIGHT, DONE)
    end = watch.until_done(deadline=None)
    assert (end.finished, end.unfinished, end.seconds) == (4, 0, 3)
    assert len(display.shown) == 4


def test_it_gives_up_at_the_deadline() -> None:
    watch, _, _ = make_watch(IN_FLIGHT)
    with pytest.raises(LauncherError, match="4 documents have no final status after 31 s"):
        watch.until_done(deadline=30)


def test_it_ends_when_a_part_has_stopped() -> None:
    watch, system, _ = make_watch(IN_FLIGHT)
    system.stack.stopped.append("worker-sale")
    with pytest.raises(LauncherError, match=r"worker-sale has stopped by itself(.|\n)*last words"):
        watch.until_done(deadline=None)


def test_it_ends_when_the_source_does_not_answer() -> None:
    watch, _, _ = make_watch(IN_FLIGHT, StoreUnavailable("source", "gone"))
    with pytest.raises(LauncherError, match="source database does not answer"):
        watch.until_done(deadline=None)


def test_afterwards_it_goes_on_and_tells_once_of_each_part_that_stops() -> None:
    watch, system, display = make_watch(DONE, end=10)
    system.stack.stopped.append("mongo")
    with pytest.raises(KeyboardInterrupt):
        watch.until_interrupted()
    assert len(display.said) == 1
    assert "mongo has stopped" in display.said[0]
