"""Counts the due documents, and plans what may be claimed now."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect import get_client
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import WorkerStatus

from lib.models import PipelineSummary
from lib.pipelines import PIPELINES, PoolState, get_pipeline
from lib.sync.planning import ClaimPlan, plan_claims
from tasks.runtime import current_services


async def count_due() -> dict[str, int]:
    """How many documents of each pipeline are due, up to a batch's size. Idempotent."""
    services = current_services()
    return await asyncio.to_thread(
        services.source.counts.due, list(PIPELINES.values()), services.settings.sync.batch_size
    )


async def read_summary() -> list[PipelineSummary]:
    """Counts of every pipeline; finished documents of the last day only. Idempotent."""
    services = current_services()
    summary = await asyncio.to_thread(
        services.source.counts.summary, list(PIPELINES.values()), finished_within=timedelta(days=1)
    )
    services.metrics.backlog_read(summary)
    return summary


async def plan_pipeline(name: str) -> ClaimPlan:
    """What may be claimed for a pipeline now. Idempotent."""
    pipeline = get_pipeline(name)
    pool = await read_pool(pipeline.work_pool)
    return await plan_claims(current_services(), pipeline, pool)


async def read_pool(name: str) -> PoolState:
    """The current state of the pool. Idempotent.

    Raises:
        ObjectNotFound: there is no such pool.
    """
    async with get_client() as client:
        pool = await client.read_work_pool(name)
        if pool.is_push_pool or pool.is_managed_pool:
            workers = None
        else:
            online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
            workers = len(await client.read_workers_for_work_pool(name, worker_filter=online))
    return PoolState(
        paused=pool.is_paused, workers=workers, concurrency_limit=pool.concurrency_limit
    )
