"""What Prefect knows of a work pool."""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import WorkerStatus

from lib.sync.planning import PoolState


async def read_pool(name: str) -> PoolState:
    """The pool as it is now. May be repeated.

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
