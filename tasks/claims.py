"""Tasks on the source database: what there is to do, claiming it, loading it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import WorkerStatus

from lib.models import Claim, Document, PipelineSummary
from lib.pipelines import PIPELINES, PoolState, get_pipeline
from lib.sanitize import sanitize_exceptions
from lib.services import Services
from lib.sync.planning import ClaimPlan, plan_claims
from tasks.runtime import current_services


async def count_due() -> dict[str, int]:
    """How many documents of each pipeline are due, up to a batch's size. Idempotent."""
    services = current_services()
    return await asyncio.to_thread(
        services.source.counts.due, list(PIPELINES.values()), services.settings.sync.batch_size
    )


async def read_backlog(pipelines: Iterable[str] = PIPELINES) -> list[PipelineSummary]:
    """Counts of these pipelines' pending documents. Idempotent."""
    counts = current_services().source.counts
    return await asyncio.to_thread(counts.backlog, [get_pipeline(name) for name in pipelines])


async def read_summary() -> list[PipelineSummary]:
    """Counts of every pipeline, of finished documents those of a day. Idempotent."""
    services = current_services()
    summary = await asyncio.to_thread(
        services.source.counts.summary, list(PIPELINES.values()), finished_within=timedelta(days=1)
    )
    services.metrics.backlog_read(summary)
    return summary


async def plan_pipeline(summary: PipelineSummary) -> ClaimPlan:
    """What may be claimed for a pipeline now. Idempotent."""
    pipeline = get_pipeline(summary.pipeline)
    pool = await read_pool(pipeline.work_pool)
    return await plan_claims(current_services(), pipeline, summary, pool)


@task(cache_policy=NO_CACHE, task_run_name="claim-{pipeline}")
async def claim_documents(
    pipeline: str,
    token: str,
    limit: int,
    exclude_shops: frozenset[str] = frozenset(),
    only_shops: frozenset[str] | None = None,
    crashes: tuple[int, int] | None = None,
    longest_untried: bool = False,
) -> Claim:
    """Claim up to `limit` pending documents, an equal share per shop. Each call claims others."""
    services = current_services()
    return await asyncio.to_thread(
        services.source.claims.claim,
        get_pipeline(pipeline),
        token=token,
        limit=limit,
        lease=services.settings.sync.lease,
        exclude_shops=exclude_shops,
        only_shops=only_shops,
        crashes=crashes,
        longest_untried=longest_untried,
    )


@task(cache_policy=NO_CACHE, task_run_name="claim-{local_id}")
async def claim_document(
    pipeline: str, local_id: str, pharmacy_code: str | None, token: str, force: bool
) -> Claim:
    """Claim one document by its local id, whatever its status.

    Raises:
        DocumentNotFound, AmbiguousDocument, DocumentBusy, AlreadySent, BeforeCutOff.
    """
    services = current_services()
    return await asyncio.to_thread(
        services.source.claims.claim_one,
        get_pipeline(pipeline),
        local_id=local_id,
        pharmacy_code=pharmacy_code,
        token=token,
        lease=services.settings.sync.lease,
        force=force,
    )


@task(cache_policy=NO_CACHE, task_run_name="load-{pipeline}")
async def load_documents(pipeline: str, token: str) -> list[Document]:
    """Headers and lines of all documents still held under a token. Idempotent."""
    source = current_services().source
    with sanitize_exceptions():
        return await asyncio.to_thread(source.documents.load, get_pipeline(pipeline), token)


async def release_claim(services: Services, claim: Claim) -> None:
    """Give back a claim that was never handed to a run. Idempotent."""
    await asyncio.to_thread(
        services.source.claims.release,
        get_pipeline(claim.pipeline),
        claim.token,
        unconfirmed=None,
        costs_attempt=False,
    )


async def read_pool(name: str) -> PoolState:
    """The pool as it is now. Idempotent.

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
