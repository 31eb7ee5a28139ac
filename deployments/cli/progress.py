"""A progress bar for work that takes some time: only on a terminal, and never in JSON output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Receives the number of things done since its last call.
Advance = Callable[[int], None]

#: Seconds before the bar appears: shorter work needs none.
_DELAY_SECONDS = 1.0


@contextmanager
def progress(
    text: str,
    total: int | None,
    *,
    shown: bool,
    console: Console | None = None,
    delay: float = _DELAY_SECONDS,
) -> Iterator[Advance]:
    """Shows progress on standard error while the body runs; the bar disappears afterwards.

    Args:
        total: None if it is not known.
        shown: False for a command that prints JSON.
    """
    console = console or Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda done: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(text, total=total)
    begin = time.monotonic()

    def advance(done: int) -> None:
        bar.advance(task, done)
        if not bar.live.is_started and time.monotonic() - begin >= delay:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
