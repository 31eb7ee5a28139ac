"""Finds pending documents, claims them in batches and hands each batch to its work pool.

Scheduled every minute, one run at a time. It moves claim tokens, never documents.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from lib.models import Claim, PipelineSummary
from lib.settings import SyncSettings
from lib.sync.planning import ClaimPlan, claim_bounds, is_worth_another_round, suspects_together
from lib.sync.probes import probe_accounts
from tasks.alerts import emit_alert_events
from tasks.artifacts import show_summary
from tasks.claims import claim_documents, plan_pipeline, read_backlog
from tasks.dispatch import Round, dispatch
from tasks.runtime import open_services, scheduler_run_name


@flow(name="orchestrate", flow_run_name=scheduler_run_name)
async def orchestrate() -> State[Any]:
    """Claim what may be claimed and dispatch it; leave a summary of every pipeline.

    While full batches are left it goes on as places become free, until the next scheduled run is
    near.
    """
    async with open_services() as services:
        await services.tracking.prepare()
        sync = services.settings.sync
        deadline = time.monotonic() + sync.orchestrate_seconds
        backlog = await read_backlog()
        rounds = [await dispatch_round(backlog)]
        await probe_accounts(services, rounds[-1].paused_accounts)
        backlog = await read_backlog()
        while _is_more_to_do(backlog, sync) and time.monotonic() < deadline:
            await asyncio.gather(
                asyncio.sleep(sync.orchestrate_poll),
                probe_accounts(services, rounds[-1].paused_accounts),
            )
            rounds.append(await dispatch_round(backlog))
            backlog = await read_backlog()
        total = Round.sum(rounds)
        await show_summary(backlog, total)
        # Where it fails, the run shows it, and what was dispatched stays so.
        await emit_alert_events(backlog, total.paused_accounts, return_state=True)  # type: ignore[misc]
    if total.errors:
        return Failed(message="; ".join(f"{p}: {error}" for p, error in total.errors.items()))
    return Completed(message=f"{total.documents} documents dispatched in {total.batches} batches")


async def dispatch_round(backlog: list[PipelineSummary]) -> Round:
    """One look at every pipeline, concurrently; an error in one stops no other."""
    results = await asyncio.gather(*map(dispatch_pipeline, backlog), return_exceptions=True)
    return Round.of([summary.pipeline for summary in backlog], results)


async def dispatch_pipeline(summary: PipelineSummary) -> tuple[ClaimPlan, list[Claim]]:
    """Claims and dispatches one pipeline's batches, one after another."""
    plan = await plan_pipeline(summary)
    claims = []
    for crashes in plan.suspects:
        limit, bounds = suspects_together(crashes), claim_bounds(crashes)
        claims.append(await _claim(summary, plan, limit, exclude=plan.paused_shops, crashes=bounds))
    for limit in plan.limits:
        claim = await _claim(summary, plan, limit, exclude=plan.paused_shops | plan.avoided_shops)
        if plan.avoided_shops and not claim.documents:
            claim = await _claim(summary, plan, limit, exclude=plan.paused_shops)
        claims.append(claim)
    if plan.probe_shops:
        limit = len(plan.probe_shops)
        claims.append(await _claim(summary, plan, limit, only=plan.probe_shops))
    return plan, [claim for claim in claims if claim.documents]


async def _claim(
    summary: PipelineSummary,
    plan: ClaimPlan,
    limit: int,
    *,
    exclude: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
    crashes: tuple[int, int] = (0, 0),
) -> Claim:
    token = str(uuid4())
    claim = await claim_documents(summary.pipeline, token, limit, exclude, only, crashes)
    if claim.documents:
        await dispatch(claim, plan.granularity)
    return claim


def _is_more_to_do(backlog: list[PipelineSummary], sync: SyncSettings) -> bool:
    return any(is_worth_another_round(summary, sync) for summary in backlog)
