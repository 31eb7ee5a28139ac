"""Terminal output: tables that fit its width, colours by state, times and durations."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from deployments.cli.language import N_, _
from lib.pipelines import PHARMACY_ZONE
from lib.sanitize import one_line, printable

_WIDTH_OF_A_FILE = 200
#: A column of sentences is not made narrower than this.
_NARROWEST_TEXT = 16


class Tone(StrEnum):
    """What a state means for the reader; the value is a style of Rich."""

    GOOD = "green"
    WAITING = "yellow"
    BAD = "red"
    DIM = "dim"


def toned(text: object, tone: Tone | None) -> Text:
    """A cell or line in the colour of its tone; NO_COLOR disables colours."""
    return Text("" if text is None else str(text), style=tone.value if tone else "")


class PrintableConsole(Console):
    """Removes control characters from texts, which could control the terminal; keeps styles."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def console() -> Console:
    """A new console for each use, because standard output may have been replaced.

    Its width is that of the terminal, else COLUMNS, else enough for a whole table.
    """
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return PrintableConsole(width=None if known else _WIDTH_OF_A_FILE, highlight=False)


# -- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        rank: 0 is always shown; of the other columns, the highest rank is left out first.
        folds: a sentence may continue on the next line; a code or a number may not.
        right: numbers are aligned to the right.
    """

    head: str
    rank: int = 0
    folds: bool = False
    right: bool = False


def code(head: str, rank: int = 0) -> Column:
    """A column of codes, names, states or times, which are never broken."""
    return Column(head, rank)


def number(head: str, rank: int = 0) -> Column:
    return Column(head, rank, right=True)


def text(head: str, rank: int = 0) -> Column:
    """A column of sentences."""
    return Column(head, rank, folds=True)


@dataclass(frozen=True)
class FittedTable:
    """A table that leaves out columns, the least important first, until it fits the width.

    If not even the columns of rank 0 fit, each row is shown as a list of its values.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        shown = list(range(len(self.columns)))
        for heads_fold in (False, True):
            if self._width(shown, heads_fold=heads_fold) <= width:
                break
        else:
            heads_fold = True
        left_out: list[int] = []
        while self._width(shown, heads_fold=heads_fold) > width:
            rank, last = max((self.columns[n].rank, n) for n in shown)
            if not rank:
                yield from self._blocks(width)
                return
            shown.remove(last)
            left_out.insert(0, last)
        yield self._table(shown, heads_fold=heads_fold)
        if left_out:
            names = ", ".join(self.columns[n].head for n in sorted(left_out))
            yield toned(_("columns left out to fit the width: {columns}", columns=names), Tone.DIM)

    def _cell_width(self, n: int) -> int:
        cells = (cell_len(line) for row in self.rows for line in row[n].plain.split("\n"))
        widest = max(cells, default=0)
        return min(widest, _NARROWEST_TEXT) if self.columns[n].folds else widest

    def _column_width(self, n: int, *, heads_fold: bool) -> int:
        head = self.columns[n].head
        parts = head.split() if heads_fold or self.columns[n].folds else [head]
        return max([self._cell_width(n), *map(cell_len, parts)])

    def _width(self, shown: Sequence[int], *, heads_fold: bool) -> int:
        # A line between columns and at both ends, and a blank on each side of a value.
        widths = (self._column_width(n, heads_fold=heads_fold) for n in shown)
        return sum(widths) + 3 * len(shown) + 1

    def _table(self, shown: Sequence[int], *, heads_fold: bool) -> Table:
        made = Table(title=Text(one_line(self.title)), title_justify="left")
        for n in shown:
            column = self.columns[n]
            least = self._column_width(n, heads_fold=heads_fold)
            head = "\n".join(textwrap.wrap(column.head, least)) if heads_fold else column.head
            made.add_column(
                Text(head),
                no_wrap=not column.folds,
                overflow="fold",
                min_width=least,
                justify="right" if column.right else "left",
            )
        for row in self.rows:
            made.add_row(*(row[n] for n in shown))
        return made

    def _blocks(self, width: int) -> Iterator[Text]:
        yield Text(one_line(self.title), style="italic")
        for row in self.rows:
            yield Text("")
            for column, cell in zip(self.columns, row, strict=True):
                if not cell.plain:
                    continue
                head = f"{column.head}: " if column.head else ""
                if column.folds or cell_len(head) + cell_len(cell.plain) <= width:
                    yield Text(head).append_text(cell)
                else:
                    yield from (Text(head), cell)


def table(
    title: str, columns: Sequence[str | Column], rows: Iterable[Sequence[object]]
) -> FittedTable:
    """A table; None is shown as an empty cell, and markup in values and titles is not applied.

    Args:
        columns: a string is the heading of a column of sentences.
    """
    return FittedTable(
        title,
        [text(column) if isinstance(column, str) else column for column in columns],
        [[cell if isinstance(cell, Text) else toned(cell, None) for cell in row] for row in rows],
    )


# -- times -----------------------------------------------------------------------------------------

#: Seconds per unit, and its text.
_UNITS = (
    (86_400, N_("{number} d")),
    (3600, N_("{number} h")),
    (60, N_("{number} min")),
    (1, N_("{number} s")),
)


def duration(seconds: float | None) -> str | None:
    """A duration as text, in its largest suitable unit."""
    if seconds is None:
        return None
    size, unit = next((unit for unit in _UNITS if seconds >= 2 * unit[0]), _UNITS[-1])
    return _(unit, number=format(seconds / size, ".0f"))


_zone: tzinfo = PHARMACY_ZONE


def use_zone(name: str) -> None:
    """Sets the time zone of the times that this process shows. Idempotent."""
    global _zone  # noqa: PLW0603 - like the language, one per process
    _zone = ZoneInfo(name)


def local_time(moment: datetime | None) -> str | None:
    """A timezone-aware moment as text, in the configured time zone."""
    return None if moment is None else f"{moment.astimezone(_zone):%Y-%m-%d %H:%M:%S}"


def zone_offset(moment: datetime) -> str:
    """The UTC offset that `local_time` uses at a moment, `+0700` for example."""
    return f"{moment.astimezone(_zone):%z}"
