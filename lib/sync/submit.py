"""Sends records: the order of breakers, look-up, API call and log, with the reasons."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from lib.errors import (
    ChangedAfterAcceptance,
    Paused,
    PossibleDuplicateUnknown,
    Rejected,
    SyncError,
    Unavailable,
    Unsettled,
    WrongEndpoint,
)
from lib.models import Acceptance, Account, Attempt, Payload
from lib.platforms.platform import Action, CallContext, Lookup
from lib.record import Record
from lib.resilience.breaker_rules import BreakerState
from lib.sanitize import sanitize_exceptions
from lib.sync.batch import Batch, finish_all, sending
from lib.sync.outcomes import breaker_names, record_outcome, report_failure
from lib.words.language import Phrase

logger = logging.getLogger("dqg.submission")


class RecordContext:
    """What calls about one record need from its batch; a `lib.platforms.platform.CallContext`."""

    def __init__(self, batch: Batch, record: Record, names: Sequence[str]) -> None:
        self._batch = batch
        self._record = record
        self._names = names

    async def permit(self, action: Action) -> None:
        """See `CallContext.permit`.

        Raises:
            Throttled: the rate limit requires a longer wait than is allowed.
            ClaimLost: the claim is over, or too little of the lease is left.
            StoreUnavailable: before a send, the claim cannot be checked.
        """
        await self._batch.services.rate_limiter.acquire(self._names)
        if action is not Action.LOOK_UP:
            await self._batch.mark_sending(self._record)
        self.ensure_held()

    def ensure_held(self) -> None:
        """See `CallContext.ensure_held`.

        Raises:
            ClaimLost: the claim is over, or too little of the lease is left.
        """
        self._batch.lease.ensure_held()

    def note(self, attempt: Attempt) -> None:
        """See `CallContext.note`."""
        self._record.attempts.append(attempt)
        self._batch.services.metrics.called(self._record.ref.pipeline, attempt)


async def ensure_sendable(batch: Batch, record: Record) -> None:
    """Returns only if a run for the record could send it now.

    Raises:
        ClaimLost: the claim's lease is over, or too little of it is left.
        Paused: a breaker of the record is open.
    """
    batch.lease.ensure_held()
    snapshots = await batch.services.breakers.snapshot(breaker_names(batch.services, record.ref))
    for snapshot in snapshots.values():
        if snapshot.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            raise Paused(
                Phrase("sending is paused: {why}", why=snapshot.reason or ""),
                retry_after=snapshot.seconds_left,
            )


async def send_chunk(
    batch: Batch, records: Sequence[Record], slots: asyncio.Semaphore, run_id: str
) -> None:
    """Send the records that have no outcome yet, and record each outcome once it is known.

    Idempotent: it continues with what remains.

    Args:
        slots: how many records of the batch may be in progress at once.
        run_id: the Prefect run that works on them.

    Raises:
        Unavailable: some calls failed with a transient error; `Record.error` has each error.
        StoreUnavailable: the source database stayed unavailable.
    """
    waiting = [record for record in records if record.outcome is None]
    await finish_all(_send(batch, record, slots, run_id) for record in waiting)
    for record in waiting:
        if record.error is not None:
            raise record.error


def is_transient(error: object) -> bool:
    """Whether a failed call is worth a retry within its run: depends only on the error's class."""
    return isinstance(error, Unavailable) and not isinstance(error, Paused)


async def _send(batch: Batch, record: Record, slots: asyncio.Semaphore, run_id: str) -> None:
    sending.set(record)
    record.error = None
    result: Acceptance | SyncError
    try:
        async with slots:
            batch.lease.ensure_held()
            if record.run_id is None:
                batch.start(record, run_id)
            with sanitize_exceptions():
                result = await submit(batch, record)
    except SyncError as error:
        if is_transient(error):
            record.error = error
            return
        result = error
    await record_outcome(batch, record, result)


async def submit(batch: Batch, record: Record) -> Acceptance:
    """Send one record to the national database.

    Idempotent: a record whose last call had no clear result is looked up before it is sent.

    Raises:
        SyncError: why it was not accepted; `lib.sync.outcomes` decides the effect.
    """
    if record.acceptance is not None:
        return record.acceptance
    services, ref = batch.services, record.ref
    if record.payload is None:
        record.payload = services.platform.build(record.document)
    known = record.accepted_earlier(may_update=services.settings.api.update)
    if known is not None:
        record.acceptance = known
        await services.tracking.accepted(record, known)
        return known
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
        reported = await report_failure(services, permit, record, error)
        if reported is error:
            raise
        raise reported from error
    except BaseException:
        await services.breakers.release_probe(names)
        raise
    # Set before any other await: an interruption of the rest must not lose it.
    record.acceptance = acceptance
    services.metrics.breakers_changed(*await services.breakers.succeeded(permit))
    await services.tracking.accepted(record, acceptance)
    return acceptance


async def _look_up_or_send(
    batch: Batch, record: Record, payload: Payload, account: Account, context: CallContext
) -> Acceptance:
    """Look up what is or may be stored; update what is stored with other content."""
    platform, api = batch.services.platform, batch.services.settings.api
    known, maybe_sent = record.earlier, record.unconfirmed
    found: Acceptance | Lookup = Lookup.UNSUPPORTED
    if (known is not None or maybe_sent) and api.lookup:
        found = await platform.look_up(payload, account, context)
    if isinstance(found, Acceptance) and record.is_confirmed_by(found, maybe_sent=True):
        logger.info(
            "%s was accepted earlier",
            record.ref.local_id,
            extra={"action": "found_accepted", "local_id": record.ref.local_id},
        )
        return _with_national_id(found, record)
    if maybe_sent and record.unsettled:
        # Not found proves nothing yet: the earlier call could still arrive beside a new one.
        raise Unsettled(
            Phrase("an earlier call for it may still be in progress"),
            retry_after=record.unsettled,
        )
    if isinstance(found, Acceptance):
        return await _update(batch, record, payload, account, context)
    if found is Lookup.ABSENT:
        known = None
        record.mark_confirmed()
    elif known is not None:
        if known.payload_digest == record.digest and record.sent_digest in (None, record.digest):
            return Acceptance(known.national_id, Phrase("accepted earlier with the same content"))
        if known.payload_digest is None and not api.update:
            raise record.not_comparable()
        return await _update(batch, record, payload, account, context)
    elif record.unconfirmed and record.sent_digest not in (None, record.digest):
        raise record.not_comparable()
    earlier = record.unconfirmed
    acceptance = await _call(
        batch, record, platform.submit(payload, account, context, unconfirmed=earlier)
    )
    if acceptance.duplicate and not record.is_confirmed_by(acceptance, maybe_sent=earlier):
        return await _update(batch, record, payload, account, context)
    record.mark_confirmed()
    return _with_national_id(acceptance, record)


async def _update(
    batch: Batch, record: Record, payload: Payload, account: Account, context: CallContext
) -> Acceptance:
    """Replace what was accepted earlier, if that is allowed.

    Raises:
        ChangedAfterAcceptance: it is not allowed, or the API accepts no updates.
    """
    if not batch.services.settings.api.update:
        raise record.changed()
    try:
        acceptance = await _call(
            batch, record, batch.services.platform.update(payload, account, context)
        )
    except WrongEndpoint as error:
        raise ChangedAfterAcceptance(
            Phrase(
                "accepted earlier with other content, and the API does not accept updates: {why}",
                why=error.message,
            ),
            http_status=error.http_status,
            answer=error.answer,
        ) from None
    record.mark_confirmed()
    return _with_national_id(acceptance, record)


async def _call(batch: Batch, record: Record, call: Awaitable[Acceptance]) -> Acceptance:
    """A call that may store the content: until its result is clear, the record is unconfirmed."""
    before = record.unconfirmed, record.sent_digest
    record.mark_sent()
    try:
        acceptance = await call
    except SyncError as error:
        if isinstance(error, Rejected):
            record.mark_confirmed()
        elif not error.maybe_stored or isinstance(error, PossibleDuplicateUnknown):
            # What the API may have was there before this call: it does not prove this content.
            record.unconfirmed, record.sent_digest = before
            record.unsettled = 0.0
        else:
            record.unsettled = batch.services.settings.api.settle_seconds
        raise
    # After any other error or an interruption the document may or may not be stored.
    record.unconfirmed, record.sent_digest = before
    return acceptance


def _with_national_id(acceptance: Acceptance, record: Record) -> Acceptance:
    national_id = acceptance.national_id or record.document.national_id
    return replace(acceptance, national_id=national_id)
