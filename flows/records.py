"""A document as a run: the subflow an operator sees in the UI, and its cheaper siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from prefect import Flow, Task, flow, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, State

from flows.hooks import record_ended
from lib.defects import without_inputs
from lib.pipelines import Pipeline
from lib.record import Record
from lib.settings import SyncSettings
from lib.sync.batch import Batch, current_batch
from lib.sync.groups import send_group
from lib.sync.submit import submit
from tasks.records import (
    build_payload,
    is_transient,
    settle,
    settle_group,
    submit_record,
    with_retries,
)


async def sync_document(
    pipeline: str,
    record_id: int,
    local_id: str,
    pharmacy_code: str,
    shop_pharmacy_code: str,
    claim_token: str,
) -> State[Any]:
    """Send one document to the national database.

    Args:
        pipeline: import, sale or cancellation.
        record_id: primary key of the document's header row.
        local_id: the pharmacy's own code of the document.
        pharmacy_code: national facility code.
        shop_pharmacy_code: selects the account.
        claim_token: the claim it is sent under.
    """
    batch = current_batch()
    batch.start(batch[record_id], str(flow_run.id))
    await build_payload(record_id)
    acceptance = await submit_record(batch.services.settings.sync)(record_id)
    return Completed(message=f"accepted as {acceptance.national_id}")


@lru_cache
def record_flow(pipeline: Pipeline) -> Flow[..., Any]:
    """The subflow of a pipeline's documents, with the hooks that write their outcomes."""
    return flow(
        sync_document,
        name=pipeline.noun,
        flow_run_name=f"{pipeline.noun} {{local_id}}",
        validate_parameters=False,
        on_completion=[record_ended],
        on_failure=[record_ended],
        on_crashed=[record_ended],
        on_cancellation=[record_ended],
    )


@lru_cache
def record_task(pipeline: Pipeline, settings: SyncSettings) -> Task[..., Any]:
    """The same work as one task run, with the same retries."""
    return with_retries(
        task(
            name=pipeline.noun,
            task_run_name=f"{pipeline.noun} {{local_id}}",
            cache_policy=NO_CACHE,
            retry_condition_fn=is_transient,
        )(_build_and_submit),
        settings,
    )


async def _build_and_submit(record_id: int, local_id: str) -> State[Any]:
    batch = current_batch()
    batch.start(batch[record_id], str(task_run.id))
    with without_inputs():
        acceptance = await submit(batch, batch[record_id])
    return Completed(message=f"accepted as {acceptance.national_id}")


async def run_as_flow(batch: Batch, record: Record) -> None:
    """One subflow for the record: seven calls to the Prefect API, everything visible."""
    ref = record.ref
    with tags(ref.pipeline, ref.shop_pharmacy_code):
        await record_flow(batch.pipeline)(
            pipeline=ref.pipeline,
            record_id=ref.record_id,
            local_id=ref.local_id,
            pharmacy_code=ref.pharmacy_code,
            shop_pharmacy_code=ref.shop_pharmacy_code,
            claim_token=batch.token,
            return_state=True,
        )


async def run_as_task(batch: Batch, record: Record) -> None:
    """One task run for the record: no call to the Prefect API, only events."""
    ref = record.ref
    send = record_task(batch.pipeline, batch.services.settings.sync)
    state = await send(record_id=ref.record_id, local_id=ref.local_id, return_state=True)
    await settle(record, state)


async def run_as_group(batch: Batch, records: Sequence[Record], places: asyncio.Semaphore) -> None:
    """One task run for several records, retried for what remains of them."""
    first, last = records[0].ref.local_id, records[-1].ref.local_id
    label = f"{batch.pipeline.noun} {first} to {last} ({len(records)})"

    @task(
        name=f"{batch.pipeline.noun} group",
        # Prefect fills in names in braces.
        task_run_name=label.replace("{", "{{").replace("}", "}}"),
        cache_policy=NO_CACHE,
        retry_condition_fn=is_transient,
    )
    async def send_together() -> State[Any]:
        with without_inputs():
            await send_group(batch, records, places, str(task_run.id))
        return Completed(message=label)

    state = await with_retries(send_together, batch.services.settings.sync)(return_state=True)
    await settle_group(records, state)
