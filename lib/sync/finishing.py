"""Decides and writes what becomes of a record when its run ends, in whatever way."""

from __future__ import annotations

from lib.errors import OutcomeUnknown, Unavailable
from lib.models import Acceptance
from lib.record import Record
from lib.resilience.breaker_rules import BreakerState
from lib.sync import outcomes
from lib.sync.batch import Batch
from lib.sync.submit import pipeline_breaker


async def finish_accepted(batch: Batch, record: Record, acceptance: Acceptance) -> None:
    """Write an acceptance. May be repeated.

    Raises:
        StoreUnavailable: see `OutcomeWriter.write`.
    """
    await batch.services.outcomes.write(record, outcomes.accepted(record.document, acceptance))


async def finish_failed(batch: Batch, record: Record, error: BaseException) -> None:
    """Write what an error means for the record. May be repeated.

    An acceptance that was already known is written instead.

    Raises:
        StoreUnavailable: see `OutcomeWriter.write`.
    """
    if record.acceptance is not None:
        await finish_accepted(batch, record, record.acceptance)
        return
    outcome = outcomes.failed(
        record.document,
        error,
        batch.services.settings.sync,
        unconfirmed=record.unconfirmed,
        outage=await _is_outage(batch, error),
    )
    await batch.services.outcomes.write(record, outcome)


async def finish_interrupted(batch: Batch, record: Record) -> None:
    """Release a record whose run was cancelled or crashed. May be repeated.

    An acceptance that was already known is written instead of being thrown away.

    Raises:
        StoreUnavailable: see `OutcomeWriter.write`.
    """
    if record.acceptance is not None:
        await finish_accepted(batch, record, record.acceptance)
        return
    outcome = outcomes.interrupted(record.document, unconfirmed=record.unconfirmed)
    await batch.services.outcomes.write(record, outcome)


async def _is_outage(batch: Batch, error: BaseException) -> bool:
    if not isinstance(error, Unavailable | OutcomeUnknown):
        return False
    name = pipeline_breaker(batch.pipeline.name)
    snapshots = await batch.services.breakers.snapshot([name])
    return snapshots[name].state is not BreakerState.CLOSED
