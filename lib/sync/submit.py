"""Sends one record: the order in which breakers, look-up, API and log are asked, and why."""

from __future__ import annotations

import logging

from lib.errors import (
    AccountRefused,
    OutcomeUnknown,
    Paused,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.models import Acceptance, Account, Attempt, Payload
from lib.platforms.platform import Gate, Lookup
from lib.record import Record
from lib.resilience.breaker import Permit
from lib.sync.batch import Batch

logger = logging.getLogger("dqg.submission")

#: From this status on the server may have stored the document before it failed.
_SERVER_FAILED = 500


def pipeline_breaker(pipeline: str) -> str:
    return f"pipeline:{pipeline}"


def breaker_names(batch: Batch, record: Record) -> tuple[str, str]:
    """Names of the breakers a record has to pass: its account's and its pipeline's."""
    ref = record.ref
    account = batch.services.accounts.breaker_name(ref.shop_pharmacy_code, ref.pharmacy_code)
    return account, pipeline_breaker(batch.pipeline.name)


async def submit(batch: Batch, record: Record) -> Acceptance:
    """Bring one record into the national database.

    May be repeated: a record whose last call had no clear end is looked up before it is sent.

    Raises:
        SyncError: whatever stood in the way; `lib.sync.outcomes` says what it means.
    """
    services = batch.services
    payload = services.platform.build(record.document) if record.payload is None else record.payload
    record.payload = payload
    names = breaker_names(batch, record)
    batch.lease.ensure_held()
    permit = await services.breakers.admit(names)
    record.calls += 1
    if record.calls > 1:
        services.metrics.retried(record.ref.pipeline)

    async def gate() -> None:
        await services.pacer.acquire(names)
        batch.lease.ensure_held()

    try:
        account = services.accounts.account_for(
            record.ref.shop_pharmacy_code, record.ref.pharmacy_code
        )
        acceptance = await _look_up_or_send(batch, record, payload, account, gate)
    except Exception as error:
        await _report_failure(batch, permit, error)
        raise
    except BaseException:
        await services.breakers.release_probe(names)
        raise
    # Known before anything else is waited for: what interrupts the rest must not undo it.
    record.acceptance = acceptance
    services.metrics.breakers_changed(*await services.breakers.succeeded(permit))
    await services.tracking.accepted(record, acceptance)
    return acceptance


async def _look_up_or_send(
    batch: Batch, record: Record, payload: Payload, account: Account, gate: Gate
) -> Acceptance:
    platform = batch.services.platform

    def observe(attempt: Attempt) -> None:
        record.attempts.append(attempt)
        batch.services.metrics.called(record.ref.pipeline, attempt)

    if record.unconfirmed and batch.services.settings.api.lookup:
        found = await platform.look_up(payload, account, observe, gate)
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
        acceptance = await platform.submit(payload, account, observe, gate)
    except OutcomeUnknown:
        raise
    except Unavailable as error:
        record.unconfirmed = earlier or (error.http_status or 0) >= _SERVER_FAILED
        raise
    except Rejected:
        record.unconfirmed = False
        raise
    except SyncError:
        record.unconfirmed = earlier
        raise
    # Any other error, or an interruption, leaves it open whether the document was stored.
    record.unconfirmed = False
    return acceptance


async def _report_failure(batch: Batch, permit: Permit, error: Exception) -> None:
    """Tells the breakers what an error says about the account and the pipeline."""
    services = batch.services
    account_name, pipeline_name = permit.names
    settings, changed = services.settings.breaker, services.metrics.breakers_changed
    if isinstance(error, Rejected):
        # The API works and knows the account: it only dislikes this document.
        changed(*await services.breakers.succeeded(permit))
    elif isinstance(error, AccountRefused):
        pauses = (settings.account_pause, settings.account_pause_max)
        changed(await services.breakers.trip(account_name, error.message, *pauses))
        await services.breakers.release_probe((pipeline_name,))
    elif isinstance(error, WrongEndpoint):
        pauses = (settings.account_pause, settings.account_pause_max)
        changed(await services.breakers.trip(pipeline_name, error.message, *pauses))
        await services.breakers.release_probe((account_name,))
    elif isinstance(error, Unavailable | OutcomeUnknown) and not isinstance(error, Paused):
        if isinstance(error, Unavailable) and error.retry_after:
            await services.pacer.hold((account_name,), error.retry_after)
        changed(await services.breakers.failed(pipeline_name, error.message))
        await services.breakers.release_probe((account_name,))
    else:
        await services.breakers.release_probe(permit.names)
