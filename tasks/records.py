"""Tasks on one record, and what happens when it ends: the unit of retry and of I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from lib.defects import without_inputs
from lib.models import Acceptance
from lib.record import Record
from lib.settings import SyncSettings
from lib.sync.batch import current_batch
from lib.sync.finishing import finish_accepted, finish_failed, finish_interrupted
from lib.sync.groups import is_passing
from lib.sync.submit import submit


@task(name="build-payload", cache_policy=NO_CACHE)
async def build_payload(record_id: int) -> None:
    """Validate a record and build its request body. Never retried: the row would be the same.

    Raises:
        InvalidDocument: naming every field at fault.
    """
    batch = current_batch()
    record = batch[record_id]
    with without_inputs():
        record.payload = batch.services.platform.build(record.document)


async def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed call is worth repeating within this run: only by the error's class."""
    return is_passing(await state.aresult(raise_on_failure=False))


@task(name="submit", cache_policy=NO_CACHE, retry_condition_fn=is_transient)
async def _submit_record(record_id: int) -> Acceptance:
    batch = current_batch()
    with without_inputs():
        return await submit(batch, batch[record_id])


@lru_cache
def submit_record(settings: SyncSettings) -> Task[[int], Any]:
    """The task that sends a record, with the retries the settings ask for.

    Raises (the task, when called):
        SyncError: after the retries of transient errors are used up.
    """
    return with_retries(_submit_record, settings)


def with_retries(task: Task[..., Any], settings: SyncSettings) -> Task[..., Any]:
    """A copy of a task with growing, jittered delays between its retries."""
    return task.with_options(
        retries=settings.task_retries,
        retry_delay_seconds=[
            settings.task_retry_delay * 2**n for n in range(settings.task_retries)
        ],
        retry_jitter_factor=settings.task_retry_jitter,
    )


async def settle(record: Record, state: State[Any]) -> None:
    """Write what a record's final state means; the same for subflows and for task runs.

    May be repeated. Raises StoreUnavailable where the source database stayed away.
    """
    batch = current_batch()
    with without_inputs():
        if state.is_completed() and record.acceptance is not None:
            await finish_accepted(batch, record, record.acceptance)
        elif state.is_crashed() or state.is_cancelling() or state.is_cancelled():
            await finish_interrupted(batch, record)
        else:
            error = record.error or await state.aresult(raise_on_failure=False)
            await finish_failed(batch, record, error)


async def settle_group(records: Sequence[Record], state: State[Any]) -> None:
    """The same for the records of a group whose last call failed; the rest are not its error's."""
    left = [record for record in records if record.outcome is None and record.error is not None]
    results = await asyncio.gather(
        *(settle(record, state) for record in left), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
