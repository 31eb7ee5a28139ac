"""Whether a record's turn to be sent may begin at all."""

from __future__ import annotations

from lib.errors import Paused
from lib.record import Record
from lib.resilience.breaker_rules import BreakerState
from lib.sync.batch import Batch
from lib.sync.submit import breaker_names


async def ensure_sendable(batch: Batch, record: Record) -> None:
    """Returns only where a run for the record would not find the door shut.

    Raises:
        ClaimLost: the claim's lease is over, or too little of it is left.
        Paused: a breaker of the record is open, or held by a person.
    """
    batch.lease.ensure_held()
    snapshots = await batch.services.breakers.snapshot(breaker_names(batch, record))
    for snapshot in snapshots.values():
        if snapshot.state in (BreakerState.OPEN, BreakerState.HELD):
            raise Paused(f"{snapshot.name}: {snapshot.reason}", retry_after=snapshot.seconds_left)
