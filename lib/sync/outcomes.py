"""The effect of the end of an attempt: on its document, and on the breakers.

A failed call is reported to the breakers. They decide by many documents, see
`lib.resilience.breaker_rules`:

    error                           counted for    effect on the document
    no answer, 5xx, 404             the pipeline   costs an attempt
    403, 401 after a login          the account    costs an attempt
    one of these, while other documents failed and none passed since: costs no attempt
    403 again, after others passed  the account    the document is refused
    refused login                   opens the account's breaker at once; costs no attempt
    an error in our code            nothing        costs no attempt, counted separately
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from lib.errors import (
    AccountRefused,
    AttemptsExhausted,
    ChangedAfterAcceptance,
    ClaimLost,
    Conflict,
    CrashesWorker,
    Forbidden,
    Interrupted,
    OutcomeUnknown,
    Paused,
    Rejected,
    SyncError,
    Throttled,
    Unavailable,
    UnexpectedError,
    WrongEndpoint,
)
from lib.models import Acceptance, Document, DocumentRef, Outcome, OutcomeKind
from lib.pipelines import PIPELINES
from lib.record import Record
from lib.resilience.breaker import Permit, pipeline_breaker
from lib.resilience.breaker_rules import BreakerState
from lib.sanitize import shorten
from lib.services import Services
from lib.settings import Language, SyncSettings
from lib.sync.batch import Batch
from lib.words.language import translate, translated

#: Only these cost an attempt, and only if not many documents fail in the same way. Everything else
#: is not the document's fault: an account, a setting, a store, or an error in our code.
_COSTLY = (Unavailable, OutcomeUnknown, WrongEndpoint, Forbidden)
_LONGEST_MESSAGE = 1000
#: After this many crashes alone in its batch, a document is marked as failed.
CRASHES_ALONE = 3
#: HTTP: the API asks the caller to slow down.
_TOO_MANY = 429


async def record_outcome(batch: Batch, record: Record, result: Acceptance | BaseException) -> None:
    """Decide the outcome of a record's attempt, and write it. Idempotent.

    An acceptance that is known already is written, whatever happened after it.

    Args:
        result: what `submit` returned or raised; `Interrupted` if the run ended before that.

    Raises:
        StoreUnavailable: see `OutcomeWriter.write`.
    """
    writer, document = batch.services.outcomes, record.document
    sync = batch.services.settings.sync
    result = record.acceptance or result
    if isinstance(result, Acceptance):
        await writer.write(record, _with_content(record, accepted(document, result, sync.language)))
    elif isinstance(result, ClaimLost) and batch.lease.lost:
        # Writing would change nothing, and might wait for an unavailable source database.
        writer.give_up(record, interrupted(document, sync.language, unconfirmed=record.unconfirmed))
    elif isinstance(result, ClaimLost | Interrupted | asyncio.CancelledError):
        outcome = interrupted(document, sync.language, unconfirmed=record.unconfirmed)
        await writer.write(record, _with_content(record, outcome))
    else:
        if isinstance(result, Paused) and record.failure is not None:
            # The call failed first, and only its retry was held back.
            result = record.failure
        outcome = failed(
            document,
            result,
            sync,
            unconfirmed=record.unconfirmed and not _is_clear(record, result),
            outage=await outage_seconds(batch.services, record),
        )
        await writer.write(record, _with_content(record, outcome))


def _is_clear(record: Record, error: BaseException) -> bool:
    """What the API has is known: the accepted content; nothing was sent since."""
    return isinstance(error, ChangedAfterAcceptance) and record.sent_digest is None


def _with_content(record: Record, outcome: Outcome) -> Outcome:
    """The outcome with the digest of what was accepted or may be stored, and the row's version.

    A document that may be stored is not claimed until its last call is over at the API too.
    """
    digest = record.digest if outcome.kind is OutcomeKind.ACCEPTED else record.sent_digest
    updated_at = record.document.header.get("updated_at")
    unsettled = timedelta(seconds=record.unsettled if outcome.unconfirmed else 0)
    return replace(
        outcome,
        unsettled=unsettled,
        retry_in=max(outcome.retry_in, unsettled),
        payload_digest=digest
        if outcome.kind is OutcomeKind.ACCEPTED or outcome.unconfirmed
        else None,
        row_updated_at=updated_at if isinstance(updated_at, datetime) else None,
    )


def backoff(attempts: int, settings: SyncSettings) -> timedelta:
    """Delay before a document is claimed again; it triples with each attempt.

    With the defaults the eight attempts of a document are spread over about sixteen hours.
    """
    steps = min(max(attempts - 1, 0), 20)
    return timedelta(seconds=min(settings.attempt_delay * 3**steps, settings.attempt_delay_max))


def accepted(document: Document, acceptance: Acceptance, language: Language) -> Outcome:
    """The API has the document."""
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.ACCEPTED,
        national_id=acceptance.national_id,
        message=shorten(translated(acceptance.message, language), _LONGEST_MESSAGE),
        http_status=acceptance.http_status,
        answer=acceptance.answer,
    )


def interrupted(document: Document, language: Language, *, unconfirmed: bool) -> Outcome:
    """The run ended before the document was done: it is released at no cost."""
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.RELEASED,
        message=translate(language, "interrupted; will be sent again"),
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
    outage: float | None,
) -> Outcome:
    """The outcome of a document after an error.

    Args:
        unconfirmed: the API may have stored the document.
        outage: seconds to wait while many documents fail in the same way; then the failure costs
            no attempt, and the document comes after the others. None: no outage.
    """
    if isinstance(error, Rejected):
        # A refusal by the API is clear; one of ours shows nothing about earlier calls.
        ours = isinstance(error, Conflict | ChangedAfterAcceptance)
        return _final(document, error, settings.language, unconfirmed=unconfirmed and ours)
    costly = isinstance(error, _COSTLY) and not isinstance(error, Paused)
    free = not costly or outage is not None
    if not free and document.attempts >= settings.max_attempts:
        spent = AttemptsExhausted(
            translate(
                settings.language,
                "failed after {number} attempts; last error: {why}",
                number=document.attempts,
                why=_text(error, settings.language),
            ),
            http_status=getattr(error, "http_status", None),
            answer=getattr(error, "answer", None),
        )
        return _final(document, spent, settings.language, unconfirmed=unconfirmed)
    asked = timedelta(seconds=getattr(error, "retry_after", None) or 0)
    if isinstance(error, Paused) and not isinstance(error, Throttled):
        # Nothing is claimed while a breaker is open; it may close before its cool-down is over.
        retry_in = timedelta(0)
    elif costly and outage is not None:
        # To the back of the queue: other documents are the next probes.
        retry_in = max(timedelta(seconds=outage + settings.attempt_delay), asked)
    elif costly or is_ours(error):
        retry_in = max(backoff(document.attempts, settings), asked)
    else:
        retry_in = asked
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.RELEASED,
        message=shorten(
            translate(
                settings.language,
                "will be sent again: {why}",
                why=_text(error, settings.language),
            ),
            _LONGEST_MESSAGE,
        ),
        retry_in=retry_in,
        unconfirmed=unconfirmed,
        costs_attempt=not free,
        error_class=_class_of(error),
        http_status=getattr(error, "http_status", None),
        answer=getattr(error, "answer", None),
    )


def set_aside(document: Document, language: Language) -> Outcome:
    """The document repeatedly crashed processes that held only this document."""
    error = CrashesWorker(
        translate(
            language,
            "marked as failed: {number} processes that had only this document ended without an "
            "outcome",
            number=CRASHES_ALONE,
        )
    )
    return _final(document, error, language, unconfirmed=True)


def _final(
    document: Document, error: SyncError, language: Language, *, unconfirmed: bool
) -> Outcome:
    return Outcome(
        ref=document.ref,
        claim_token=document.claim_token,
        kind=OutcomeKind.FAILED,
        message=shorten(error.translated(language), _LONGEST_MESSAGE),
        unconfirmed=unconfirmed,
        error_class=error.error_class,
        http_status=error.http_status,
        answer=error.answer,
        field_errors=error.field_errors if isinstance(error, Rejected) else (),
    )


def is_ours(error: BaseException) -> bool:
    """Whether an error comes from our own code: it is counted as class `unexpected`."""
    return not isinstance(error, SyncError) or isinstance(error, UnexpectedError)


def _class_of(error: BaseException) -> str:
    return error.error_class if isinstance(error, SyncError) else "unexpected"


def _text(error: BaseException, language: Language) -> str:
    # The text of a foreign exception may contain anything, including a buyer's name.
    return error.translated(language) if isinstance(error, SyncError) else type(error).__name__


# -- for the breakers ------------------------------------------------------------------------------


def breaker_names(services: Services, ref: DocumentRef) -> tuple[str, str]:
    """Names of the breakers a document has to pass: its account's and its pipeline's."""
    account = services.accounts.breaker_name(ref.shop_pharmacy_code, ref.pharmacy_code)
    return account, pipeline_breaker(ref.pipeline)


async def report_failure(
    services: Services, permit: Permit, record: Record, error: Exception
) -> Exception:
    """Report a failed call to the breakers; returns the error to use for the document."""
    breakers, changed = services.breakers, services.metrics.breakers_changed
    language = services.settings.sync.language
    account, pipeline = permit.names
    document, shop = record.ref.local_id, record.ref.shop_pharmacy_code
    if isinstance(error, Paused) or not isinstance(error, SyncError):
        await breakers.release_probe(permit.names)
    elif isinstance(error, Rejected):
        # The API works and knows the account: it refuses this document only.
        changed(*await breakers.succeeded(permit))
    elif isinstance(error, Forbidden):
        counted = await breakers.failed(account, document, shop, error.translated(language))
        changed(counted.transition)
        await breakers.release_probe((pipeline,))
        record.failure = error
        if counted.own and not error.of_token:
            return error.as_rejection()
        record.own_failure = record.own_failure or counted.own
    elif isinstance(error, AccountRefused):
        changed(await breakers.trip(account, error.translated(language)))
        await breakers.release_probe((pipeline,))
    elif isinstance(error, Unavailable | OutcomeUnknown | WrongEndpoint):
        if isinstance(error, Unavailable) and error.retry_after and error.http_status == _TOO_MANY:
            await services.rate_limiter.block_for(account, error.retry_after)
        counted = await breakers.failed(pipeline, document, shop, error.translated(language))
        changed(counted.transition)
        await breakers.release_probe((account,))
        record.failure = error
        record.own_failure = record.own_failure or counted.own
    else:
        await breakers.release_probe(permit.names)
    return error


async def outage_seconds(services: Services, record: Record) -> float | None:
    """Seconds to wait for the account or pipeline the record failed at; None without an outage.

    If a document failed while others passed, the failure costs an attempt in any breaker state. A
    pipeline with few documents opens no breaker, so it is also an outage if another document, in
    any pipeline, failed and nothing has passed since.
    """
    if record.failure is None or record.own_failure:
        return None
    account, pipeline = breaker_names(services, record.ref)
    if isinstance(record.failure, Forbidden):
        own, names = account, [account]
    else:
        own, names = pipeline, [pipeline_breaker(name) for name in PIPELINES]
    snapshots = await services.breakers.snapshot(names)
    is_open = any(s.state is not BreakerState.CLOSED for s in snapshots.values())
    unpassed = sum(s.failures_since_success for s in snapshots.values())
    return snapshots[own].retry_delay if is_open or unpassed > 1 else None
