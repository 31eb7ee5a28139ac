"""What a failed call says: about the pipeline, about the account, or about its document alone.

Reported to the breakers, which judge by many documents (`lib.resilience.breaker_rules`):

    error                   counted for        alone, it is
    no answer, 5xx, 404     the pipeline       the document's, and costs an attempt
    403, 401 after a login  the account        the document's, and costs an attempt
    the same once more, while others passed    a refusal of the document
    refused login           opens the account at once; costs nothing
    an error of ours        nothing            costs nothing, counted apart
"""

from __future__ import annotations

from lib.errors import (
    AccountRefused,
    Forbidden,
    OutcomeUnknown,
    Paused,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.models import DocumentRef
from lib.record import Record
from lib.resilience.breaker import Permit, pipeline_breaker
from lib.resilience.breaker_rules import BreakerState
from lib.services import Services

#: The API asks the caller to slow down.
_TOO_MANY = 429


def breaker_names(services: Services, ref: DocumentRef) -> tuple[str, str]:
    """Names of the breakers a document has to pass: its account's and its pipeline's."""
    account = services.accounts.breaker_name(ref.shop_pharmacy_code, ref.pharmacy_code)
    return account, pipeline_breaker(ref.pipeline)


async def report_failure(
    services: Services, permit: Permit, record: Record, error: Exception
) -> Exception:
    """Tell the breakers about a failed call; returns the error that it is for the document."""
    breakers, changed = services.breakers, services.metrics.breakers_changed
    account, pipeline = permit.names
    document, shop = record.ref.local_id, record.ref.shop_pharmacy_code
    if isinstance(error, Paused) or not isinstance(error, SyncError):
        await breakers.release_probe(permit.names)
    elif isinstance(error, Rejected):
        # The API works and knows the account: it refuses this document only.
        changed(*await breakers.succeeded(permit))
    elif isinstance(error, Forbidden):
        judgement = await breakers.failed(account, document, shop, error.message)
        changed(judgement.transition)
        await breakers.release_probe((pipeline,))
        record.failure = error
        if judgement.own:
            return error.as_rejection()
    elif isinstance(error, AccountRefused):
        changed(await breakers.trip(account, error.message))
        await breakers.release_probe((pipeline,))
    elif isinstance(error, Unavailable | OutcomeUnknown | WrongEndpoint):
        if isinstance(error, Unavailable) and error.retry_after and error.http_status == _TOO_MANY:
            await services.rate_limiter.block_for(account, error.retry_after)
        judgement = await breakers.failed(pipeline, document, shop, error.message)
        changed(judgement.transition)
        await breakers.release_probe((account,))
        record.failure = error
        record.own_failure = record.own_failure or judgement.own
    else:
        await breakers.release_probe(permit.names)
    return error


async def outage_seconds(services: Services, record: Record) -> float | None:
    """How long what the record failed at is out, by the judgement of many; None where it is not.

    A document that failed while others passed pays with an attempt, whatever the breaker is now.
    """
    if record.failure is None or record.own_failure:
        return None
    account, pipeline = breaker_names(services, record.ref)
    name = account if isinstance(record.failure, Forbidden) else pipeline
    snapshot = (await services.breakers.snapshot([name]))[name]
    return None if snapshot.state is BreakerState.CLOSED else snapshot.back_in
