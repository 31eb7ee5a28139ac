"""Progress output while the documents are being sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lib.models import PipelineSummary

WINDOW_SECONDS = 10.0
PLAIN_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The documents of all pipelines at one moment.

    Attributes:
        seconds: since the progress output began.
        throughput: documents per second that reached their final status recently.
    """

    seconds: float
    pipelines: Sequence[PipelineSummary]
    throughput: float

    @property
    def finished(self) -> int:
        return sum(p.succeeded + p.failed for p in self.pipelines)

    @property
    def unfinished(self) -> int:
        return sum(p.pending + p.in_flight for p in self.pipelines)


class Meter:
    """Makes snapshots; keeps enough history to compute the throughput."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int]] = deque()

    def take(self, seconds: float, pipelines: Sequence[PipelineSummary]) -> Snapshot:
        finished = sum(p.succeeded + p.failed for p in pipelines)
        self._past.append((seconds, finished))
        while len(self._past) > 2 and self._past[1][0] <= seconds - WINDOW_SECONDS:
            self._past.popleft()
        (begin, before) = self._past[0]
        throughput = (finished - before) / (seconds - begin) if seconds > begin else 0.0
        return Snapshot(seconds, pipelines, throughput)


class Display(Protocol):
    """Shows snapshots and messages."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, snapshot: Snapshot) -> None: ...

    def say(self, message: str) -> None: ...


def make_display(console: Console, ui_url: str, log_dir: Path) -> Display:
    """A live table in a terminal, otherwise one line every few seconds."""
    kind = LiveTable if console.is_terminal else PlainLines
    return kind(console, ui_url, log_dir)


class LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, console: Console, ui_url: str, log_dir: Path) -> None:
        self._console = console
        self._footer = f"Prefect UI  {ui_url}\nlogs        {log_dir}"
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(Group(make_table(snapshot), Text(self._footer)), refresh=True)

    def say(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False)


class PlainLines:
    """One line when the counts have changed, at most every few seconds."""

    def __init__(self, console: Console, ui_url: str, log_dir: Path) -> None:
        self._console = console
        self._header = f"Prefect UI: {ui_url}, logs: {log_dir}"
        self._shown_at: float | None = None
        self._shown: list[tuple[int, int, int, int]] = []

    def __enter__(self) -> Self:
        self.say(self._header)
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        due = self._shown_at is None or snapshot.seconds - self._shown_at >= PLAIN_INTERVAL
        counts = [counts_of(p) for p in snapshot.pipelines]
        if not due or counts == self._shown:
            return
        self._shown_at, self._shown = snapshot.seconds, counts
        self.say(make_line(snapshot))

    def say(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)


def counts_of(pipeline: PipelineSummary) -> tuple[int, int, int, int]:
    return (pipeline.pending, pipeline.in_flight, pipeline.succeeded, pipeline.failed)


def make_line(snapshot: Snapshot) -> str:
    parts = [
        f"{p.pipeline}: {p.pending} pending, {p.in_flight} in flight, "
        f"{p.succeeded} succeeded, {p.failed} failed"
        for p in snapshot.pipelines
    ]
    return " | ".join(
        [f"{snapshot.seconds:5.0f} s", *parts, f"{snapshot.throughput:.1f} documents/s"]
    )


def make_table(snapshot: Snapshot) -> Table:
    table = Table(title=f"{snapshot.seconds:.0f} s, {snapshot.throughput:.1f} documents/s")
    table.add_column("pipeline")
    for heading in ("pending", "in flight", "succeeded", "failed"):
        table.add_column(heading, justify="right")
    for pipeline in snapshot.pipelines:
        table.add_row(pipeline.pipeline, *map(str, counts_of(pipeline)))
    return table
