"""Sends records: the order in which breakers, look-up, API and log are asked, and why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lib.errors import Paused, Rejected, SyncError, Unavailable
from lib.models import Acceptance, Account, Attempt, Payload
from lib.platforms.platform import Action, CallContext, Lookup
from lib.record import Record
from lib.resilience.breaker_rules import BreakerState
from lib.sanitize import sanitize_exceptions
from lib.sync.batch import Batch, finish_all
from lib.sync.health import breaker_names, report_failure
from lib.sync.outcomes import record_outcome

logger = logging.getLogger("dqg.submission")


class RecordContext:
    """What the calls about one record need of its batch; a `lib.platforms.platform.CallContext`."""

    def __init__(self, batch: Batch, record: Record, names: Sequence[str]) -> None:
        self._batch = batch
        self._record = record
        self._names = names

    async def permit(self, action: Action) -> None:
        """See `CallContext.permit`.

        Raises:
            Throttled: the rate limit allows no call for longer than one may wait.
            ClaimLost: the claim is over, or too little of the lease is left.
            StoreUnavailable: before a send, the claim cannot be checked.
        """
        await self._batch.services.rate_limiter.acquire(self._names)
        if action is Action.SUBMIT:
            await self._batch.mark_sending(self._record)
        self._batch.lease.ensure_held()

    def note(self, attempt: Attempt) -> None:
        """See `CallContext.note`."""
        self._record.attempts.append(attempt)
        self._batch.services.metrics.called(self._record.ref.pipeline, attempt)


async def ensure_sendable(batch: Batch, record: Record) -> None:
    """Returns only where a run for the record could send it now.

    Raises:
        ClaimLost: the claim's lease is over, or too little of it is left.
        Paused: a breaker of the record is open.
    """
    batch.lease.ensure_held()
    snapshots = await batch.services.breakers.snapshot(breaker_names(batch.services, record.ref))
    for snapshot in snapshots.values():
        if snapshot.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            raise Paused(f"{snapshot.name}: {snapshot.reason}", retry_after=snapshot.seconds_left)


async def send_chunk(
    batch: Batch, records: Sequence[Record], places: asyncio.Semaphore, run_id: str
) -> None:
    """Send the records that have no outcome yet, and record each outcome once it is known.

    Idempotent: it continues with what remains.

    Args:
        places: how many records of the batch may be under way at once.
        run_id: the Prefect run that works on them.

    Raises:
        Unavailable: of some the call failed in a passing way; `Record.error` has each one's.
        StoreUnavailable: the source database stayed away.
    """
    waiting = [record for record in records if record.outcome is None]
    await finish_all(_send(batch, record, places, run_id) for record in waiting)
    for record in waiting:
        if record.error is not None:
            raise record.error


def is_passing(error: object) -> bool:
    """Whether a failed call is worth a retry within its run: only by the error's class."""
    return isinstance(error, Unavailable) and not isinstance(error, Paused)


async def _send(batch: Batch, record: Record, places: asyncio.Semaphore, run_id: str) -> None:
    record.error = None
    result: Acceptance | SyncError
    try:
        async with places:
            batch.lease.ensure_held()
            if record.run_id is None:
                batch.start(record, run_id)
            with sanitize_exceptions():
                result = await submit(batch, record)
    except SyncError as error:
        if is_passing(error):
            record.error = error
            return
        result = error
    await record_outcome(batch, record, result)


async def submit(batch: Batch, record: Record) -> Acceptance:
    """Bring one record into the national database.

    Idempotent: a record whose last call had no clear end is looked up before it is sent.

    Raises:
        SyncError: the reason why not; `lib.sync.outcomes` says what it means.
    """
    if record.acceptance is not None:
        return record.acceptance
    services, ref = batch.services, record.ref
    if record.payload is None:
        record.payload = services.platform.build(record.document)
    names = breaker_names(services, ref)
    batch.lease.ensure_held()
    permit = await services.breakers.admit(names, ref.local_id, ref.shop_pharmacy_code)
    record.calls += 1
    if record.calls > 1:
        services.metrics.retried(ref.pipeline)
    try:
        account = services.accounts.account_for(ref.shop_pharmacy_code, ref.pharmacy_code)
        context = RecordContext(batch, record, names)
        acceptance = await _look_up_or_send(batch, record, record.payload, account, context)
    except Exception as error:
        judged = await report_failure(services, permit, record, error)
        if judged is error:
            raise
        raise judged from error
    except BaseException:
        await services.breakers.release_probe(names)
        raise
    # Known before anything else is waited for: what interrupts the rest must not undo it.
    record.acceptance = acceptance
    services.metrics.breakers_changed(*await services.breakers.succeeded(permit))
    await services.tracking.accepted(record, acceptance)
    return acceptance


async def _look_up_or_send(
    batch: Batch, record: Record, payload: Payload, account: Account, context: CallContext
) -> Acceptance:
    platform = batch.services.platform
    if record.unconfirmed and batch.services.settings.api.lookup:
        found = await platform.look_up(payload, account, context)
        if isinstance(found, Acceptance):
            logger.info(
                "%s was accepted earlier",
                record.ref.local_id,
                extra={"action": "found_accepted", "local_id": record.ref.local_id},
            )
            return found
        if found is Lookup.ABSENT:
            record.unconfirmed = False
    earlier, record.unconfirmed = record.unconfirmed, True
    try:
        acceptance = await platform.submit(payload, account, context, unconfirmed=earlier)
    except SyncError as error:
        rejected = isinstance(error, Rejected)
        record.unconfirmed = not rejected and (earlier or error.maybe_stored)
        raise
    # Any other error, or an interruption, leaves it open whether the document was stored.
    record.unconfirmed = False
    return acceptance
