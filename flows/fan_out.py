"""Sends the records of a batch side by side; none of them can stop another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from flows.records import run_as_flow, run_as_group, run_as_task
from lib.errors import ClaimLost, Paused, SyncError
from lib.record import Record
from lib.settings import Granularity
from lib.sync.admission import ensure_sendable
from lib.sync.batch import Batch
from lib.sync.finishing import finish_failed, finish_interrupted
from lib.sync.planning import resolve_granularity

logger = logging.getLogger("dqg.batch")


async def send_all(batch: Batch, wanted: Granularity | None) -> None:
    """Send every record, a bounded number at once, oldest first.

    Waits for all of them even when this run is cancelled: a subflow that outlives its parent
    cannot report its own end.
    """
    sync = batch.services.settings.sync
    granularity = resolve_granularity(wanted or sync.granularity, len(batch), sync)
    by_flow = granularity is Granularity.FLOW
    places = asyncio.Semaphore(sync.flow_concurrency if by_flow else sync.concurrency)
    if granularity is Granularity.GROUP:
        groups = list(_groups(batch, sync.documents_per_task))
        results = await asyncio.gather(
            *(_send_group(batch, group, places) for group in groups), return_exceptions=True
        )
    else:
        groups = [[record] for record in batch]
        run = run_as_flow if by_flow else run_as_task
        results = await asyncio.gather(
            *(_send_one(batch, record, run, places) for record in batch), return_exceptions=True
        )
    for group, result in zip(groups, results, strict=True):
        if isinstance(result, SyncError):
            ids = ", ".join(record.ref.local_id for record in group)
            logger.error("%s: %s", ids, result, extra={"action": "record_error"})
        elif isinstance(result, BaseException):
            raise result


async def _send_one(
    batch: Batch,
    record: Record,
    run: Callable[[Batch, Record], Awaitable[None]],
    places: asyncio.Semaphore,
) -> None:
    async with places:
        try:
            await ensure_sendable(batch, record)
        except (ClaimLost, Paused) as reason:
            # No run for a record that would only find the door shut.
            await finish_failed(batch, record, reason)
            return
        await _to_the_end(batch, [record], run(batch, record))


async def _send_group(batch: Batch, group: Sequence[Record], places: asyncio.Semaphore) -> None:
    await _to_the_end(batch, group, run_as_group(batch, group, places))


async def _to_the_end(batch: Batch, records: Sequence[Record], run: Awaitable[None]) -> None:
    """Waits for a run, and gives back those of its records that it could not finish."""
    try:
        await run
    except Exception as error:
        logger.error(  # noqa: TRY400 - a traceback may quote the document
            "the run of %s broke: %s",
            records[0].ref.local_id,
            type(error).__name__,
            extra={"action": "run_broke"},
        )
    for record in records:
        if record.outcome is None:
            # Prefect could not take the run's end, so nothing has settled it.
            await finish_interrupted(batch, record)


def _groups(batch: Batch, size: int) -> Iterator[list[Record]]:
    records = list(batch)
    for start in range(0, len(records), size):
        yield records[start : start + size]
