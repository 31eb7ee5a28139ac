"""Khóa sổ: checks that days are accepted and all stores agree, and makes the proof files.

A comparison queries every store, so only one runs at a time; the latest are kept in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right
from deployments.console.web import Visitor, redirect, require
from lib.daily_close.collect import DEFAULT_SAMPLE, read_close
from lib.daily_close.files import (
    MEDIA_TYPES,
    WRITERS,
    Format,
    audit_detail,
    checksums,
    file_name,
    read_audit_detail,
    verify,
)
from lib.daily_close.proof import BadCloseFile, Signer, Verification
from lib.daily_close.result import BadScope, DailyClose, Scope, State, make_scope, yesterday
from lib.errors import StoreUnavailable, SyncError
from lib.operations.operator import Operator
from lib.pipelines import pharmacy_date
from lib.services import Services
from lib.tracking.audit import Action, AuditEntry, AuditFilter

router = APIRouter()

OpenServices = Callable[[], AbstractAsyncContextManager[Services]]

#: Comparisons that this process keeps; any days can be compared again.
_KEPT = 5
_EARLIER = 20
#: Number of entries of the audit log that are searched for the checksum of a file.
_SEARCHED = 1000
_SHOWN = 200


@dataclass(slots=True)
class Comparison:
    """A comparison of some days, running or finished.

    Attributes:
        result: None while it is running, or if it failed.
        sums: the checksum of each file.
        failed: the store that was unavailable, or the class of the error.
    """

    scope: Scope
    by: str
    begun_at: datetime
    result: DailyClose | None = None
    sums: Mapping[Format, str] = field(default_factory=dict)
    failed: str | None = None

    @property
    def running(self) -> bool:
        return self.result is None and self.failed is None

    @property
    def path(self) -> str:
        return f"/close/{self.scope.days}"

    @property
    def query(self) -> str:
        return "" if self.scope.shop is None else f"?shop={quote(self.scope.shop)}"


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier close, read from the audit log."""

    entry: AuditEntry
    scope: str
    closed: bool
    sums: str

    @classmethod
    def of(cls, entry: AuditEntry) -> Earlier:
        return cls(entry, *read_audit_detail(entry.detail))


@dataclass(slots=True)
class Comparisons:
    """The comparisons of this process; they run one at a time, as each queries every store."""

    open_services: OpenServices
    by_scope: dict[Scope, Comparison] = field(default_factory=dict)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, scope: Scope, by: str, operator: Operator) -> Comparison:
        """Start a comparison of these days, unless one is running."""
        known = self.by_scope.get(scope)
        if known is not None and known.running:
            return known
        self.by_scope.pop(scope, None)
        made = self.by_scope[scope] = Comparison(scope, by, datetime.now(UTC))
        for old in [s for s, c in self.by_scope.items() if not c.running][:-_KEPT]:
            del self.by_scope[old]
        task = asyncio.create_task(self._run(made, operator))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return made

    async def _run(self, made: Comparison, operator: Operator) -> None:
        try:
            async with self._one, self.open_services() as services:
                result = await read_close(services, made.scope, DEFAULT_SAMPLE)
                made.sums = await asyncio.to_thread(checksums, result)
            detail = audit_detail(result, made.sums)
            entry = AuditEntry(Action.CLOSED_DAY, made.by, detail=detail)
            await operator.audit.try_note(entry)
            made.result = result
        except SyncError as error:
            made.failed = getattr(error, "store", None) or error.error_class
        finally:
            if made.running:
                made.failed = "error"


@router.get("/close")
async def closes(visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]) -> Response:
    return await _list_page(visitor)


@router.post("/close")
async def compare(visitor: Annotated[Visitor, Depends(require(Right.CLOSE_DAY))]) -> Response:
    operator, shops = await visitor.console.operator()
    try:
        first, last = _day(visitor.value("from")), _day(visitor.value("to"))
        scope = make_scope(first, last, visitor.value("shop"))
    except (ValueError, BadScope):
        return await _list_page(visitor, problem="days")
    if scope.shop is not None and scope.shop not in list(shops):
        return await _list_page(visitor, problem="shop")
    comparison = _comparisons(visitor).start(scope, visitor.user.name, operator)
    return redirect(comparison.path + comparison.query)


@router.post("/close/verify")
async def verify_file(
    visitor: Annotated[Visitor, Depends(require(Right.CLOSE, upload=True))],
) -> Response:
    if not visitor.file:
        return await _list_page(visitor, problem="file")
    operator, _ = await visitor.console.operator()
    key = Signer(operator.settings.close.signing_key).public_key
    try:
        found = await asyncio.to_thread(verify, visitor.file)
    except BadCloseFile:
        return await _list_page(visitor, problem="no_close")
    known = [e for e in await _earlier(operator, _SEARCHED) if found.found in e.sums]
    return await _list_page(visitor, found=found, ours=_is_ours(found, key), known=known[:1])


@router.get("/close/{days}")
async def close(days: str, visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]) -> Response:
    _, shops = await visitor.console.operator()
    found = _found(visitor, days)
    result = found.result
    return visitor.page(
        "close.html",
        comparison=found,
        result=result,
        shops=shops,
        differences=[] if result is None else result.differences[:_SHOWN],
        failed=0 if result is None else result.count(State.FAILED),
        formats=list(Format),
    )


@router.get("/close/{days}/{kind}")
async def close_file(
    days: str, kind: str, visitor: Annotated[Visitor, Depends(require(Right.CLOSE))]
) -> Response:
    found = _found(visitor, days)
    if found.result is None or kind not in list(Format):
        raise HTTPException(404)
    operator, _ = await visitor.console.operator()
    signer, chosen = Signer(operator.settings.close.signing_key), Format(kind)
    try:
        file = await asyncio.to_thread(WRITERS[chosen], found.result, signer)
    except BadCloseFile:
        raise HTTPException(413) from None
    name = file_name(found.scope, chosen)
    return Response(
        file.content,
        media_type=MEDIA_TYPES[chosen],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _list_page(visitor: Visitor, problem: str | None = None, **checked: Any) -> Response:
    """The forms and the latest closes.

    Args:
        checked: the result of verifying an uploaded file.
    """
    operator, shops = await visitor.console.operator()
    try:
        earlier = await _earlier(operator, _EARLIER)
    except StoreUnavailable:
        earlier = []
    by_scope = _comparisons(visitor).by_scope
    values = {"found": None, "ours": None, "known": [], **checked}
    return visitor.page(
        "closes.html",
        status=200 if problem is None else 422,
        yesterday=yesterday(),
        today=pharmacy_date(datetime.now(UTC)),
        shops=shops,
        earlier=earlier,
        compared=sorted(by_scope.values(), key=lambda c: c.begun_at, reverse=True),
        problem=problem,
        **values,
    )


async def _earlier(operator: Operator, limit: int) -> list[Earlier]:
    entries = await operator.audit.find(AuditFilter(action=Action.CLOSED_DAY), limit=limit)
    return [Earlier.of(entry) for entry in entries]


def _is_ours(found: Verification, key: str | None) -> bool | None:
    """Whether this installation signed the file; None if it has no signing key."""
    return None if key is None else found.is_signed_by(key)


def _comparisons(visitor: Visitor) -> Comparisons:
    comparisons: Comparisons = visitor.request.app.state.comparisons
    return comparisons


def _found(visitor: Visitor, days: str) -> Comparison:
    first, _, last = days.partition("..")
    try:
        scope = make_scope(_day(first), _day(last), visitor.value("shop"))
    except (ValueError, BadScope):
        raise HTTPException(404) from None
    found = _comparisons(visitor).by_scope.get(scope)
    if found is None:
        raise HTTPException(404)
    return found


def _day(text: str) -> date | None:
    """The date, None if empty. Raises ValueError if it is not a date."""
    return date.fromisoformat(text) if text else None
