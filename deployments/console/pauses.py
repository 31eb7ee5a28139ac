"""Tạm dừng: which pipelines and shops go on, and holding or resuming them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right
from deployments.console.web import Visitor, redirect, require
from lib.errors import StoreUnavailable
from lib.operations.pause import pause, pipeline_entry, resume, shop_breakers, shop_entry
from lib.operations.status import read_status
from lib.pipelines import PIPELINES
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerState
from lib.tracking.audit import Action

router = APIRouter()


@router.get("/pauses")
async def pauses(visitor: Annotated[Visitor, Depends(require(Right.PAUSES))]) -> Response:
    return await _page(visitor)


@router.post("/pauses/pause")
async def stop(visitor: Annotated[Visitor, Depends(require(Right.PAUSE))]) -> Response:
    if not visitor.value("why"):
        return await _page(visitor, problem="why")
    return await _change(visitor, Action.PAUSED)


@router.post("/pauses/resume")
async def go_on(visitor: Annotated[Visitor, Depends(require(Right.PAUSE))]) -> Response:
    return await _change(visitor, Action.RESUMED)


async def _page(visitor: Visitor, problem: str | None = None) -> Response:
    operator, shops = await visitor.console.operator()
    status = await read_status(operator, visitor.console.read_pools)
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
        stopped=stopped,
        shops=shops,
        own=[code for code in sorted(shops) if shop_breakers(operator, code)],
        pools=status.pools or {},
        away=sorted(status.away),
        problem=problem,
    )


async def _change(visitor: Visitor, action: Action) -> Response:
    operator, _ = await visitor.console.operator()
    by, why = visitor.user.name, visitor.value("why")
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
        done = await pause(operator, names, by=by, why=why, entry=entry)
    else:
        done = await resume(operator, names, entry=entry)
    if done is None:
        raise StoreUnavailable("Redis", "away, nothing was changed")
    return redirect("/pauses")
