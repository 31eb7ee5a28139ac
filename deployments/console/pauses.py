"""Tạm dừng: which pipelines and shops are paused, and pausing or resuming them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right
from deployments.console.web import Visitor, redirect, require
from lib.errors import StoreUnavailable
from lib.operations.operator import Operator
from lib.operations.pause import pause, pipeline_entry, resume, shop_breakers, shop_entry
from lib.operations.status import Status, read_status
from lib.pipelines import PIPELINES
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.tables import PLATFORM
from lib.tracking.audit import Action
from lib.tracking.task_logs import TaskLogReader

router = APIRouter()


@router.get("/pauses")
async def pauses(visitor: Annotated[Visitor, Depends(require(Right.PAUSES))]) -> Response:
    return await _page(visitor)


@router.post("/pauses/pause")
async def stop(visitor: Annotated[Visitor, Depends(require(Right.PAUSE))]) -> Response:
    return await _change(visitor, Action.PAUSED)


@router.post("/pauses/resume")
async def go_on(visitor: Annotated[Visitor, Depends(require(Right.PAUSE))]) -> Response:
    return await _change(visitor, Action.RESUMED)


async def _page(visitor: Visitor, problem: str | None = None) -> Response:
    operator, shops = await visitor.console.operator()
    status = await read_status(operator, visitor.console.read_pools, foreign=False)
    closed = BreakerState.CLOSED
    stopped = {
        code: snapshot
        for code, snapshot in (status.shop_breakers or {}).items()
        if snapshot.state is not closed
    }
    return visitor.page(
        "pauses.html",
        status=200 if problem is None else 422,
        pipelines=status.pipeline_breakers,
        platforms=_platforms(status),
        last_accepted=await _last_accepted(operator),
        stopped=stopped,
        shops=shops,
        own=[code for code in sorted(shops) if shop_breakers(operator, code)],
        pools=status.pools or {},
        away=sorted(status.away),
        problem=problem,
    )


def _platforms(status: Status) -> dict[str, list[BreakerSnapshot]]:
    """The breakers of each platform's pipelines; empty if they are not known."""
    found: dict[str, list[BreakerSnapshot]] = {}
    for snapshot in (status.pipeline_breakers or {}).values():
        found.setdefault(PLATFORM, []).append(snapshot)
    return found


async def _last_accepted(operator: Operator) -> datetime | None:
    """When any document was last accepted; None if MongoDB is unavailable."""
    logs = TaskLogReader(operator.tracking.database)
    try:
        found = [await logs.last_accepted(name) for name in PIPELINES]
    except StoreUnavailable:
        return None
    return max((moment for moment in found if moment is not None), default=None)


async def _change(visitor: Visitor, action: Action) -> Response:
    by, why = visitor.user.name, visitor.value("why")
    if not why:
        return await _page(visitor, problem="why")
    operator, _ = await visitor.console.operator()
    pipeline, shop = visitor.value("pipeline"), visitor.value("shop")
    if pipeline:
        if pipeline not in PIPELINES:
            raise HTTPException(404)
        names = [pipeline_breaker(pipeline)]
        entry = pipeline_entry(action, pipeline, by, why)
    else:
        names = shop_breakers(operator, shop)
        entry = shop_entry(action, shop, by, why)
    if not names:
        return await _page(visitor, problem="no_account")
    if action is Action.PAUSED:
        done = await pause(operator, names, entry=entry)
    else:
        done = await resume(operator, names, entry=entry)
    if done is None:
        raise StoreUnavailable("Redis", "unavailable; nothing was changed")
    return redirect("/pauses")
