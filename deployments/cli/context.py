"""What the commands share: stores opened for one command, errors in plain words, output."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from deployments.cli.language import N_, _, use_language
from lib.errors import SyncError
from lib.operations.operator import Operator
from lib.operations.operator import open_operator as stores_of
from lib.pipelines import PIPELINES
from lib.sanitize import one_line, printable
from lib.settings import Language
from tasks.runtime import read_settings, source_url

#: Exit status: nothing found, not done, or something needs a person. Wrong usage is 2.
ATTENTION = 1
_WIDTH_OF_A_FILE = 200

PipelineName = StrEnum("PipelineName", {name: name for name in PIPELINES})  # type: ignore[misc]

AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]


@asynccontextmanager
async def open_operator(*, source_may_be_away: bool = False) -> AsyncIterator[Operator]:
    """The stores for the length of a command; see `lib.operations.operator`.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    settings = await read_settings()
    url = await source_url(settings)
    async with stores_of(settings, url, source_may_be_away=source_may_be_away) as operator:
        yield operator


def run(work: Coroutine[Any, Any, int], *, as_json: bool) -> None:
    """Carries out a command and ends with the exit status it returns; 1 after an error of ours.

    What a program reads is English in every installation.
    """
    if as_json:
        use_language(Language.ENGLISH)
    # Warnings of the stores would break up the tables; each command reports what is away.
    with _only_errors_logged():
        code = _carry_out(work, as_json=as_json)
    raise typer.Exit(code)


def _carry_out(work: Coroutine[Any, Any, int], *, as_json: bool) -> int:
    try:
        return asyncio.run(work)
    except SyncError as error:
        if as_json:
            print_json({"error": str(error)})
        else:
            complain(str(error))
        return ATTENTION
    except KeyboardInterrupt:
        return 130


@contextmanager
def _only_errors_logged() -> Iterator[None]:
    logger = logging.getLogger("dqg")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def complain(text: str) -> None:
    typer.echo(printable(_("error: {text}", text=text)), err=True)


class PrintableConsole(Console):
    """Shows nothing of a foreign text that steers the terminal; styles are not affected."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def console() -> Console:
    """A new one for each use: standard output may have been replaced since."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return PrintableConsole(width=width, highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; None is shown as nothing, and no value or title is taken for markup."""
    made = Table(title=escape(one_line(title)), title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*("" if value is None else escape(str(value)) for value in row))
    return made


#: Seconds per unit, and its text.
_UNITS = (
    (86_400, N_("{number} d")),
    (3600, N_("{number} h")),
    (60, N_("{number} min")),
    (1, N_("{number} s")),
)


def duration(seconds: float | None) -> str | None:
    """A length of time as a person says it."""
    if seconds is None:
        return None
    size, text = next((unit for unit in _UNITS if seconds >= 2 * unit[0]), _UNITS[-1])
    return _(text, number=format(seconds / size, ".0f"))


def local_time(moment: datetime | None) -> str | None:
    """An aware moment by this machine's clock, as a person reads it."""
    return None if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
