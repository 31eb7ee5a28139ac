"""Sends the records of a batch side by side; none of them can stop another."""

from __future__ import annotations

import asyncio
import logging

from flows.records import granularity_for, run_as_flow, run_as_task
from lib.batch import Batch
from lib.breaker import BreakerState
from lib.errors import ClaimLost, Paused, SyncError
from lib.finishing import finish_failed, finish_interrupted
from lib.records import Record
from lib.settings import Granularity
from lib.submission import breaker_names

logger = logging.getLogger("dqg.batch")


async def send_all(batch: Batch, granularity: Granularity | None) -> None:
    """Send every record, a bounded number at once, oldest first.

    Waits for all of them even when this run is cancelled: a subflow that outlives its parent
    cannot report its own end.
    """
    chosen = granularity_for(batch, granularity)
    run = run_as_flow if chosen is Granularity.FLOW else run_as_task
    sync = batch.services.settings.sync
    places = asyncio.Semaphore(
        sync.flow_concurrency if chosen is Granularity.FLOW else sync.concurrency
    )

    async def send(record: Record) -> None:
        async with places:
            try:
                batch.lease.ensure_held()
                await _refuse_paused(batch, record)
            except (ClaimLost, Paused) as reason:
                # No run for a record that would only find the door shut.
                await finish_failed(batch, record, reason)
                return
            try:
                await run(batch, record)
            except Exception as error:
                logger.error(  # noqa: TRY400 - a traceback may quote the document
                    "the run of %s broke: %s",
                    record.ref.local_id,
                    type(error).__name__,
                    extra={"action": "run_broke"},
                )
            if record.outcome is None:
                # Prefect could not take the run's end, so no hook has run.
                await finish_interrupted(batch, record)

    results = await asyncio.gather(*map(send, batch), return_exceptions=True)
    for record, result in zip(batch, results, strict=True):
        if isinstance(result, SyncError):
            logger.error("%s: %s", record.ref.local_id, result, extra={"action": "record_error"})
        elif isinstance(result, BaseException):
            raise result


async def _refuse_paused(batch: Batch, record: Record) -> None:
    names = breaker_names(batch, record)
    for snapshot in (await batch.services.breakers.snapshot(names)).values():
        if snapshot.state in (BreakerState.OPEN, BreakerState.HELD):
            raise Paused(f"{snapshot.name}: {snapshot.reason}", retry_after=snapshot.seconds_left)
