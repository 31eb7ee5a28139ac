"""What the end of an attempt means for its document: decided here, and written from here."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from lib.errors import (
    AccountRefused,
    AttemptsExhausted,
    ClaimLost,
    ConfigurationError,
    Interrupted,
    OutcomeUnknown,
    Paused,
    Rejected,
    StoreUnavailable,
    SyncError,
    Throttled,
    Unavailable,
)
from lib.models import Acceptance, Document, Outcome, OutcomeKind
from lib.record import Record
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerState
from lib.settings import SyncSettings
from lib.sync.batch import Batch

#: Of these the document is not at fault: the attempt is given back.
_FREE = (AccountRefused, ConfigurationError, Paused, StoreUnavailable)
_LONGEST_MESSAGE = 1000


async def record_outcome(batch: Batch, record: Record, result: Acceptance | BaseException) -> None:
    """Decide what the end of a record's attempt means, and write it. Idempotent.

    An acceptance that is known already is written whatever came after it.

    Args:
        result: what `submit` returned or raised; `Interrupted` where the run did not get that far.

    Raises:
        StoreUnavailable: see `OutcomeWriter.write`.
    """
    writer, document = batch.services.outcomes, record.document
    result = record.acceptance or result
    if isinstance(result, Acceptance):
        await writer.write(record, accepted(document, result))
    elif isinstance(result, ClaimLost) and batch.lease.lost:
        # Writing would change nothing, and would wait for a source database that is away.
        writer.give_up(record, interrupted(document, unconfirmed=record.unconfirmed))
    elif isinstance(result, ClaimLost | Interrupted | asyncio.CancelledError):
        await writer.write(record, interrupted(document, unconfirmed=record.unconfirmed))
    else:
        outcome = failed(
            document,
            result,
            batch.services.settings.sync,
            unconfirmed=record.unconfirmed,
            outage=await _is_outage(batch, result),
        )
        await writer.write(record, outcome)


async def _is_outage(batch: Batch, error: BaseException) -> bool:
    if not isinstance(error, Unavailable | OutcomeUnknown):
        return False
    name = pipeline_breaker(batch.pipeline.name)
    snapshots = await batch.services.breakers.snapshot([name])
    return snapshots[name].state is not BreakerState.CLOSED


def backoff(attempts: int, settings: SyncSettings) -> timedelta:
    """Wait before a document is claimed again, tripling with each claim it has cost so far.

    With the defaults the eight attempts of a document spread over about sixteen hours.
    """
    steps = min(max(attempts - 1, 0), 20)
    return timedelta(seconds=min(settings.attempt_delay * 3**steps, settings.attempt_delay_max))


def accepted(document: Document, acceptance: Acceptance) -> Outcome:
    """The API has the document."""
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.ACCEPTED,
        national_id=acceptance.national_id,
        message=_cut(acceptance.message),
        http_status=acceptance.http_status,
        answer=acceptance.answer,
    )


def interrupted(document: Document, *, unconfirmed: bool) -> Outcome:
    """The run ended before the document was done: it goes back without cost."""
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.RELEASED,
        message="interrupted; will be sent again",
        unconfirmed=unconfirmed,
        costs_attempt=False,
        error_class=Interrupted.error_class,
    )


def failed(
    document: Document,
    error: BaseException,
    settings: SyncSettings,
    *,
    unconfirmed: bool,
    outage: bool,
) -> Outcome:
    """What an error means for the document.

    Args:
        unconfirmed: the API may have stored the document.
        outage: a breaker is not closed, so that a passing failure is not the document's fault
            and must not use up its attempts.
    """
    if isinstance(error, Rejected):
        return _final(document, error, unconfirmed=False)
    free = isinstance(error, _FREE) or (outage and isinstance(error, Unavailable | OutcomeUnknown))
    if not free and document.attempts >= settings.max_attempts:
        spent = AttemptsExhausted(
            f"given up after {document.attempts} attempts, the last: {_text(error)}",
            http_status=getattr(error, "http_status", None),
            answer=getattr(error, "answer", None),
        )
        return _final(document, spent, unconfirmed=unconfirmed)
    if isinstance(error, Paused) and not isinstance(error, Throttled):
        # Nothing is claimed while a breaker is open; it may close before its pause is over.
        retry_in = timedelta(0)
    elif free:
        retry_in = timedelta(seconds=getattr(error, "retry_after", None) or 0)
    else:
        retry_in = backoff(document.attempts, settings)
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.RELEASED,
        message=_cut(f"will be sent again: {_text(error)}"),
        retry_in=retry_in,
        unconfirmed=unconfirmed,
        costs_attempt=not free,
        error_class=_class_of(error),
        http_status=getattr(error, "http_status", None),
        answer=getattr(error, "answer", None),
    )


def _final(document: Document, error: SyncError, *, unconfirmed: bool) -> Outcome:
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.FAILED,
        message=_cut(error.message),
        unconfirmed=unconfirmed,
        error_class=error.error_class,
        http_status=error.http_status,
        answer=error.answer,
        field_errors=error.field_errors if isinstance(error, Rejected) else (),
    )


def _class_of(error: BaseException) -> str:
    return error.error_class if isinstance(error, SyncError) else "unexpected"


def _text(error: BaseException) -> str:
    # The text of a foreign exception may hold anything, a buyer's name included.
    return error.message if isinstance(error, SyncError) else type(error).__name__


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
