"""Finds pending documents, claims them in batches and hands each batch to its work pool.

Scheduled every minute; a run polls every two seconds until the next one is due, and ends while that
one starts, so that polling never stops. Claims are protected in the database: two runs that poll at
the same time claim different documents. The flow passes on claim tokens, never documents.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from lib.models import Claim
from lib.pipelines import PIPELINES
from lib.settings import SyncSettings
from lib.sync.planning import BatchDelay, ClaimPlan, claim_bounds, suspects_together
from lib.sync.probes import probe_accounts
from tasks.alerts import emit_alert_events
from tasks.artifacts import show_summary
from tasks.dispatch import Round, dispatch
from tasks.documents import claim_documents
from tasks.planning import count_due, plan_pipeline, read_summary
from tasks.runtime import open_services, scheduler_run_name


@flow(name="orchestrate", flow_run_name=scheduler_run_name)
async def orchestrate() -> State[Any]:
    """Claim and dispatch all documents that become due until the next scheduled run is due.

    Leaves a summary of every pipeline. A poll that finds nothing leaves no record.
    """
    async with open_services() as services:
        await services.tracking.prepare()
        rounds = []
        async for pipelines in due_pipelines(services.settings.sync):
            rounds.append(await dispatch_round(pipelines))
            await probe_accounts(services, rounds[-1].paused_accounts)
        summary, total = await read_summary(), Round.sum(rounds)
        await show_summary(summary, total)
        # If this fails, the run shows it, and what was dispatched stays dispatched.
        await emit_alert_events(summary, total.paused_accounts, return_state=True)  # type: ignore[misc]
    if total.errors:
        return Failed(message="; ".join(f"{p}: {error}" for p, error in total.errors.items()))
    return Completed(message=f"{total.documents} documents dispatched in {total.batches} batches")


async def due_pipelines(sync: SyncSettings) -> AsyncIterator[Iterable[str]]:
    """All pipelines, then those with due documents, until the next scheduled run is due."""
    yield PIPELINES
    batch_delay = BatchDelay(sync.orchestrate_gather, sync.batch_size)
    is_last = not sync.orchestrate_seconds
    while not is_last:
        left = _seconds_left(sync.orchestrate_seconds)
        is_last = left <= sync.orchestrate_poll
        await asyncio.sleep(min(left, sync.orchestrate_poll))
        if pipelines := batch_delay.due(await count_due(), time.monotonic()):
            yield pipelines


def _seconds_left(period: float) -> float:
    now = datetime.now(UTC)
    elapsed = now - (flow_run.scheduled_start_time or now)
    return max(0.0, period - elapsed.total_seconds())


async def dispatch_round(pipelines: Iterable[str]) -> Round:
    """Dispatch these pipelines once, concurrently; an error in one does not stop the others."""
    names = list(pipelines)
    results = await asyncio.gather(*map(dispatch_pipeline, names), return_exceptions=True)
    return Round.of(names, results)


async def dispatch_pipeline(pipeline: str) -> tuple[ClaimPlan, list[Claim]]:
    """Claims and dispatches one pipeline's batches, one after another."""
    plan = await plan_pipeline(pipeline)
    claims = []
    for crashes in plan.suspects:
        limit, bounds = suspects_together(crashes), claim_bounds(crashes)
        claims.append(
            await _claim(pipeline, plan, limit, exclude=plan.paused_shops, crashes=bounds)
        )
    for limit in plan.limits:
        claim = await _claim(pipeline, plan, limit, exclude=plan.paused_shops | plan.avoided_shops)
        if plan.avoided_shops and not claim.documents:
            claim = await _claim(pipeline, plan, limit, exclude=plan.paused_shops)
        claims.append(claim)
    if plan.probe_shops:
        limit = len(plan.probe_shops)
        claims.append(await _claim(pipeline, plan, limit, only=plan.probe_shops))
    return plan, [claim for claim in claims if claim.documents]


async def _claim(
    pipeline: str,
    plan: ClaimPlan,
    limit: int,
    *,
    exclude: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
    crashes: tuple[int, int] = (0, 0),
) -> Claim:
    token = str(uuid4())
    claim = await claim_documents(
        pipeline, token, limit, exclude, only, crashes, least_recent_first=plan.probing
    )
    if claim.documents:
        await dispatch(claim, plan.granularity)
    return claim
