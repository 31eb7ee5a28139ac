"""Tasks on the records of a batch: the unit of retry and of I/O."""

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

from lib.errors import Interrupted
from lib.models import Acceptance, OutcomeKind
from lib.record import Record
from lib.sanitize import sanitize_exceptions
from lib.settings import SyncSettings
from lib.sync.batch import Batch
from lib.sync.submit import is_passing, send_chunk, submit
from tasks.runtime import chunk_run_name


@task(name="build-payload", cache_policy=NO_CACHE)
async def build_payload(batch: Batch, record: Record) -> None:
    """Validate a record and build its request body. Never retried: the row would be the same.

    Raises:
        InvalidDocument: naming every field at fault.
    """
    with sanitize_exceptions():
        record.payload = batch.services.platform.build(record.document)


async def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth a retry within this run: only by the error's class."""
    return is_passing(await state.aresult(raise_on_failure=False))


@task(name="submit", cache_policy=NO_CACHE, retry_condition_fn=is_transient)
async def submit_record(batch: Batch, record: Record) -> Acceptance:
    """Send one record.

    Raises:
        SyncError: see `lib.sync.submit.submit`.
    """
    with sanitize_exceptions():
        return await submit(batch, record)


@task(
    name="send-documents",
    task_run_name=chunk_run_name,
    cache_policy=NO_CACHE,
    retry_condition_fn=is_transient,
)
async def send_documents(
    batch: Batch, records: Sequence[Record], places: asyncio.Semaphore
) -> State[Any]:
    """Send several records, each with its own outcome. A retry continues with what remains.

    Args:
        places: how many records of the batch may be under way at once.
    """
    with sanitize_exceptions():
        await send_chunk(batch, records, places, str(task_run.id))
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


async def result_of(record: Record, state: State[Any]) -> Acceptance | BaseException:
    """What the final state of a record's run says of the record."""
    if state.is_completed() and record.acceptance is not None:
        return record.acceptance
    if state.is_failed():
        error = await state.aresult(raise_on_failure=False)
        if isinstance(error, BaseException):
            return error
    return Interrupted("the run was cancelled or crashed")


def empty_batch(token: str) -> State[None]:
    """The end of a run whose claim holds no document any more."""
    return Completed(message=f"nothing to do: no document is held under claim {token}")


def final_state(batch: Batch, *, single: bool) -> State[None]:
    """How the run of a batch ends.

    A refused document is a normal result of a batch, so the batch is completed; a person who sent
    one document wants to see that it was not accepted, so that run fails.
    """
    counts = batch.counts()
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    if single:
        (record,) = batch
        message = (record.outcome.message if record.outcome else None) or text
        accepted = counts[OutcomeKind.ACCEPTED.value] == 1
        return Completed(message=message) if accepted else Failed(message=message)
    if counts["open"]:
        return Failed(message=f"{text}: what is open is left to the next claim or to reconcile")
    return Completed(message=text)
