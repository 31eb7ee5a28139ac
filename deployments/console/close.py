"""Khóa sổ: is everything of a day accepted, do all stores say so, and the file that proves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right
from deployments.console.web import Visitor, redirect, require
from lib.clock import pharmacy_date, utc_now
from lib.daily_close.collect import DEFAULT_SAMPLE, read_day, yesterday
from lib.daily_close.compare import DayClose
from lib.daily_close.csv_file import checksum, rows_of, to_csv
from lib.errors import StoreUnavailable, SyncError
from lib.services import Services
from lib.tracking.audit import Action, AuditEntry, AuditFilter

router = APIRouter()

OpenServices = Callable[[], AbstractAsyncContextManager[Services]]

#: Days whose comparison is kept in this process; any day can be compared again.
_KEPT = 7
_EARLIER = 20
_SHOWN = 200


@dataclass(slots=True)
class Comparison:
    """A day that is compared, or was.

    Attributes:
        result, sha256: None while it is under way, or where it failed.
        failed: the part that was away.
    """

    day: date
    by: str
    begun_at: datetime
    result: DayClose | None = None
    sha256: str | None = None
    failed: str | None = None

    @property
    def running(self) -> bool:
        return self.result is None and self.failed is None


@dataclass(slots=True)
class Comparisons:
    """The days this process has compared; one at a time, for it asks every store."""

    open_services: OpenServices
    by_day: dict[date, Comparison] = field(default_factory=dict)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, day: date, by: str) -> Comparison:
        """Compare a day, unless that is under way."""
        known = self.by_day.get(day)
        if known is not None and known.running:
            return known
        self.by_day.pop(day, None)
        made = self.by_day[day] = Comparison(day, by, utc_now())
        for old in [d for d, c in self.by_day.items() if not c.running][:-_KEPT]:
            del self.by_day[old]
        task = asyncio.create_task(self._run(made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return made

    async def _run(self, made: Comparison) -> None:
        try:
            async with self._one, self.open_services() as services:
                result = await read_day(services, made.day, DEFAULT_SAMPLE)
            made.sha256 = checksum(rows_of(result))
            made.result = result
        except SyncError as error:
            made.failed = getattr(error, "store", None) or error.error_class


@router.get("/close")
async def closes(visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]) -> Response:
    operator, _ = await visitor.console.operator()
    try:
        earlier = await operator.audit.find(AuditFilter(action=Action.CLOSED_DAY), limit=_EARLIER)
    except StoreUnavailable:
        earlier = []
    comparisons = _comparisons(visitor)
    return visitor.page(
        "closes.html",
        yesterday=yesterday(),
        today=pharmacy_date(utc_now()),
        earlier=earlier,
        compared=sorted(comparisons.by_day.values(), key=lambda c: c.begun_at, reverse=True),
    )


@router.post("/close")
async def compare(visitor: Annotated[Visitor, Depends(require(Right.CLOSE_DAY))]) -> Response:
    day = _day(visitor.value("day"))
    operator, _ = await visitor.console.operator()
    await operator.audit.note(
        AuditEntry(Action.CLOSED_DAY, visitor.user.name, detail=day.isoformat())
    )
    _comparisons(visitor).start(day, visitor.user.name)
    return redirect(f"/close/{day}")


@router.get("/close/{day}")
async def close(day: str, visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]) -> Response:
    _, shops = await visitor.console.operator()
    found = _found(visitor, day)
    result = found.result
    return visitor.page(
        "close.html",
        comparison=found,
        result=result,
        shops=shops,
        differences=[] if result is None else result.differences[:_SHOWN],
        failed=[] if result is None else [d for d in result.documents if d.state == "failed"],
    )


@router.get("/close/{day}/file")
async def close_file(
    day: str, visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]
) -> Response:
    found = _found(visitor, day)
    if found.result is None:
        raise HTTPException(404)
    return Response(
        # With a byte order mark, by which Excel knows that it is UTF-8.
        to_csv(rows_of(found.result)).encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="daily-close-{found.day}.csv"'},
    )


def _comparisons(visitor: Visitor) -> Comparisons:
    comparisons: Comparisons = visitor.request.app.state.comparisons
    return comparisons


def _found(visitor: Visitor, day: str) -> Comparison:
    found = _comparisons(visitor).by_day.get(_day(day))
    if found is None:
        raise HTTPException(404)
    return found


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - only a date
    except ValueError:
        raise HTTPException(404) from None
