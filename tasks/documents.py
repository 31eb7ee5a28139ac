"""Tasks that claim, load and send documents. A task is the unit of retry and of I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.states import Completed, Failed

from lib.errors import (
    AccountRefused,
    ClaimLost,
    Interrupted,
    Paused,
    SyncError,
)
from lib.models import Acceptance, Claim, Document, OutcomeKind
from lib.pipelines import get_pipeline
from lib.record import Record
from lib.sanitize import sanitize_exceptions
from lib.services import Services
from lib.settings import Language, SyncSettings
from lib.sync.batch import Batch
from lib.sync.submit import is_transient, send_chunk, submit
from lib.words.language import translate
from tasks.runtime import chunk_run_name, current_services

#: After these errors a document waits for its account, a breaker or another holder: not a failure.
_WAITS = (Paused, AccountRefused, ClaimLost, Interrupted)
#: Name of the state of such a run; its type is completed.
WAITING = "Waiting"


@task(cache_policy=NO_CACHE, task_run_name="claim-{pipeline}")
async def claim_documents(
    pipeline: str,
    token: str,
    limit: int,
    exclude_shops: frozenset[str] = frozenset(),
    only_shops: frozenset[str] | None = None,
    crashes: tuple[int, int] | None = None,
    least_recent_first: bool = False,
) -> Claim:
    """Claim up to `limit` pending documents, an equal share per shop. Each call claims new ones."""
    services = current_services()
    return await asyncio.to_thread(
        services.source.claims.claim,
        get_pipeline(pipeline),
        token=token,
        limit=limit,
        lease=services.settings.sync.lease,
        exclude_shops=exclude_shops,
        only_shops=only_shops,
        crashes=crashes,
        least_recent_first=least_recent_first,
    )


@task(cache_policy=NO_CACHE, task_run_name="claim-{local_id}")
async def claim_document(
    pipeline: str, local_id: str, pharmacy_code: str | None, token: str, force: bool
) -> State[Any]:
    """Claim one document by its local id, whatever its status; see `Claims.claim_one`.

    Returns a Failed state with the reason as its message if the document may not be sent. Raises
    nothing, like `submit_record`.
    """
    services = current_services()
    sync = services.settings.sync
    try:
        await asyncio.to_thread(
            services.source.claims.claim_one,
            get_pipeline(pipeline),
            local_id=local_id,
            pharmacy_code=pharmacy_code,
            token=token,
            lease=sync.lease,
            force=force,
        )
    except SyncError as error:
        return Failed(message=error.translated(sync.language), data=error)
    return Completed(message=f"claimed by {token}")


@task(cache_policy=NO_CACHE, task_run_name="load-{pipeline}")
async def load_documents(pipeline: str, token: str) -> list[Document]:
    """Headers and lines of all documents still held under a token. Idempotent.

    Renews their lease first: if the process dies after that, one of the documents may be the cause.
    """
    services = current_services()
    source, lease = services.source, services.settings.sync.lease
    with sanitize_exceptions():
        if not await asyncio.to_thread(source.claims.renew, get_pipeline(pipeline), token, lease):
            return []
        return await asyncio.to_thread(source.documents.load, get_pipeline(pipeline), token)


async def release_claim(services: Services, claim: Claim) -> None:
    """Release a claim that was never dispatched to a run. Idempotent."""
    await asyncio.to_thread(
        services.source.claims.release,
        get_pipeline(claim.pipeline),
        claim.token,
        unconfirmed=None,
        costs_attempt=False,
    )


async def may_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether to retry a failed task within this run; only the error's class decides."""
    return is_transient(await state.aresult(raise_on_failure=False))


@task(name="submit", cache_policy=NO_CACHE, retry_condition_fn=may_retry)
async def submit_record(batch: Batch, record: Record) -> State[Any]:
    """Check one record, build its request body and send it; see `lib.sync.submit.submit`.

    Returns a state and raises nothing, because Prefect logs the traceback of everything raised.
    """
    result: Acceptance | SyncError
    try:
        with sanitize_exceptions():
            result = await submit(batch, record)
    except SyncError as error:
        result = error
    return state_of(result, batch.services.settings.sync.language)


@task(
    name="send-documents",
    task_run_name=chunk_run_name,
    cache_policy=NO_CACHE,
    retry_condition_fn=may_retry,
)
async def send_documents(
    batch: Batch, records: Sequence[Record], slots: asyncio.Semaphore
) -> State[Any]:
    """Send several records, each with its own outcome. A retry continues with what remains.

    Args:
        slots: limits how many records of the batch are in progress at once.
    """
    try:
        with sanitize_exceptions():
            await send_chunk(batch, records, slots, str(task_run.id))
    except SyncError as error:
        return Failed(message=error.translated(batch.services.settings.sync.language), data=error)
    return Completed(message=f"{len(records)} documents done")


@lru_cache
def with_retries(task: Task[..., Any], settings: SyncSettings) -> Task[..., Any]:
    """A copy of a task with growing, jittered delays between its retries."""
    return task.with_options(
        retries=settings.task_retries,
        retry_delay_seconds=[
            settings.task_retry_delay * 2**n for n in range(settings.task_retries)
        ],
        retry_jitter_factor=settings.task_retry_jitter,
    )


def state_of(result: Acceptance | BaseException, language: Language) -> State[Any]:
    """The final state of a record's run, with the reason as its message.

    A refused document gives a Failed state. A document that waits gives a Completed state with the
    name `Waiting`, because its run did all it could.
    """
    if isinstance(result, Acceptance):
        text = translate(
            language, "accepted as {national_id}", national_id=result.national_id or "?"
        )
        return Completed(message=text, data=result)
    text = result.translated(language) if isinstance(result, SyncError) else type(result).__name__
    if isinstance(result, _WAITS):
        text = translate(language, "will be sent again: {why}", why=text)
        return Completed(name=WAITING, message=text, data=result)
    return Failed(message=text, data=result)


async def result_of(state: State[Any]) -> Acceptance | BaseException:
    """The result of a record, read from the final state of its run."""
    if state.is_completed() or state.is_failed():
        result = await state.aresult(raise_on_failure=False)
        if isinstance(result, Acceptance | BaseException):
            return result
    return Interrupted("the run was cancelled or crashed")


def empty_batch(token: str) -> State[None]:
    """The final state of a run whose claim no longer holds any document."""
    return Completed(message=f"nothing to do: claim {token} has no documents")


def final_state(batch: Batch, *, single: bool) -> State[None]:
    """The final state of a batch run.

    A refused document is a normal result of a batch, so the state is Completed. A person who sent
    a single document wants to see that it was not accepted, so that run is Failed.
    """
    counts = batch.counts()
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    if single:
        (record,) = batch
        outcome = record.outcome
        message = (outcome.message if outcome else None) or text
        if outcome is None or not record.saved or outcome.kind is OutcomeKind.FAILED:
            return Failed(message=message)
        if outcome.kind is OutcomeKind.ACCEPTED:
            return Completed(message=message)
        waits = outcome.error_class in _error_classes(_WAITS)
        return Completed(name=WAITING, message=message) if waits else Failed(message=message)
    if counts["open"]:
        return Failed(
            message=f"{text}: the open documents are left to the next claim or to reconcile"
        )
    return Completed(message=text)


def _error_classes(kinds: Sequence[type[SyncError]]) -> set[str]:
    """The classes under which failures of these kinds, and of narrower ones, are stored."""
    narrower = [kind for wide in kinds for kind in wide.__subclasses__()]
    return {kind.error_class for kind in kinds} | (_error_classes(narrower) if narrower else set())
