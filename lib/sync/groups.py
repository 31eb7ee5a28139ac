"""Sends several records as one unit of work; each of them ends as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lib.defects import without_inputs
from lib.errors import Paused, SyncError, Unavailable
from lib.record import Record
from lib.sync.batch import Batch
from lib.sync.finishing import finish_accepted, finish_failed
from lib.sync.submit import submit


def is_passing(error: BaseException | None) -> bool:
    """Whether a failed call is worth repeating within its run: only by the error's class."""
    return isinstance(error, Unavailable) and not isinstance(error, Paused)


async def send_group(
    batch: Batch, records: Sequence[Record], places: asyncio.Semaphore, run_id: str
) -> None:
    """Send the records that have no outcome yet, and write each outcome once it is known.

    May be repeated: it goes on with what remains.

    Args:
        places: how many records of the batch may be on their way at once.
        run_id: the Prefect run that works on them.

    Raises:
        Unavailable: of some the call failed in a passing way; `Record.error` has each one's.
        StoreUnavailable: the source database stayed away.
    """
    waiting = [record for record in records if record.outcome is None]
    results = await asyncio.gather(
        *(_send(batch, record, places, run_id) for record in waiting), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    for record in waiting:
        if record.error is not None:
            raise record.error


async def _send(batch: Batch, record: Record, places: asyncio.Semaphore, run_id: str) -> None:
    record.error = None
    try:
        async with places:
            batch.lease.ensure_held()
            if record.run_id is None:
                batch.start(record, run_id)
            with without_inputs():
                acceptance = await submit(batch, record)
    except SyncError as error:
        if is_passing(error):
            record.error = error
        else:
            await finish_failed(batch, record, error)
        return
    await finish_accepted(batch, record, acceptance)
