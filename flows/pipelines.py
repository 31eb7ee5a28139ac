"""The three pipelines: one batch, or one document at a person's request.

Started by `orchestrate` with a claim token, or by a person with a local id. Each document of
a batch becomes a subflow, or each chunk of documents a task run. One bad document does not stop the
others; if this process dies, its documents become free when the lease of the claim runs out.

The hooks are the fast path on which outcomes reach the source database and the log. They are not
needed for correctness: Prefect logs an error in a hook and continues, and runs no hook if the
process was killed; then the lease runs out and `reconcile` repairs what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Any

from prefect import Flow, flow, tags
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run
from prefect.states import Failed

from lib.errors import ClaimLost, ConfigurationError, Interrupted, Paused
from lib.pipelines import CANCELLATION, IMPORT, SALE, Pipeline, get_pipeline
from lib.record import Record
from lib.sanitize import sanitize_exceptions
from lib.settings import Granularity
from lib.sync.batch import Batch, find_record, finish_all, open_batch
from lib.sync.outcomes import record_outcome
from lib.sync.submit import ensure_sendable
from tasks.artifacts import show_progress, show_result
from tasks.documents import (
    claim_document,
    empty_batch,
    final_state,
    load_documents,
    result_of,
    send_documents,
    state_of,
    submit_record,
    with_retries,
)
from tasks.reconcile import abandon_claim
from tasks.runtime import open_services, pipeline_run_name

logger = logging.getLogger("dqg.batch")


async def run_pipeline(
    pipeline: Pipeline,
    claim_token: str,
    local_id: str,
    pharmacy_code: str,
    force: bool,
    granularity: Granularity | None,
) -> State[Any]:
    """Load what is held under the token (or claim the one document), send it, show the result.

    A parameter that is not given is an empty text: the UI then shows a plain field for it.
    """
    local_id, pharmacy_code = local_id.strip(), pharmacy_code.strip()
    if bool(claim_token) == bool(local_id):
        raise ConfigurationError(f"give {pipeline.id_parameter} (or, internally, claim_token)")
    token = claim_token or str(flow_run.id)
    async with open_services() as services:
        if local_id:
            claimed: State[Any] = await claim_document(  # type: ignore[misc]
                pipeline.name, local_id, pharmacy_code or None, token, force, return_state=True
            )
            if claimed.is_failed():
                return Failed(message=claimed.message)
        documents = await load_documents(pipeline.name, token)
        if not documents:
            return empty_batch(token)
        async with (
            open_batch(
                services, pipeline, token, documents, run_id=str(flow_run.id), forced=force
            ) as batch,
            show_progress(batch),
        ):
            await send_all(batch, granularity)
        await show_result(batch)
        return final_state(batch, single=bool(local_id))


async def send_all(batch: Batch, wanted: Granularity | None) -> None:
    """Send every record, a limited number at once, the oldest first. No record can stop another.

    Waits for all of them even when this run is cancelled: a subflow that outlives its parent
    cannot report its own end.

    Raises:
        StoreUnavailable: an outcome could not be saved.
    """
    sync, records = batch.services.settings.sync, list(batch)
    if sync.granularity_for(len(batch), wanted) is Granularity.FLOW:
        slots = asyncio.Semaphore(sync.flow_concurrency)
        await finish_all(send_one(batch, record, slots) for record in records)
    else:
        slots, size = asyncio.Semaphore(sync.concurrency), sync.documents_per_task
        chunks = [records[start : start + size] for start in range(0, len(records), size)]
        await finish_all(send_together(batch, chunk, slots) for chunk in chunks)


async def send_one(batch: Batch, record: Record, slots: asyncio.Semaphore) -> None:
    """Send a record as a subflow, if it may be sent now."""
    async with slots:
        try:
            await ensure_sendable(batch, record)
        except (ClaimLost, Paused) as reason:
            await record_outcome(batch, record, reason)
        else:
            await _await_run(batch, [record], run_subflow(batch, record))


async def send_together(batch: Batch, records: Sequence[Record], slots: asyncio.Semaphore) -> None:
    """Send a chunk of records as one task run: no call to the Prefect API, only events."""
    send = with_retries(send_documents, batch.services.settings.sync)
    await _await_run(batch, records, send(batch, records, slots, return_state=True))


async def _await_run(batch: Batch, records: Sequence[Record], run: Awaitable[Any]) -> None:
    """Wait for a run, and release those of its records that it could not finish."""
    try:
        await run
    except Exception as error:
        logger.error(  # noqa: TRY400 - a traceback may quote the document
            "the run of %s failed: %s",
            records[0].ref.local_id,
            type(error).__name__,
            extra={"action": "run_broke"},
        )
    await finish_all(
        record_outcome(batch, record, record.error or Interrupted("its run ended early"))
        for record in records
        if record.outcome is None
    )


async def run_subflow(batch: Batch, record: Record) -> None:
    """One subflow for the record: seven calls to the Prefect API, everything visible."""
    ref = record.ref
    with tags(ref.pipeline, ref.shop_pharmacy_code):
        # Prefect's overloads do not match a flow whose result has the type Any.
        await record_flow(batch.pipeline)(  # type: ignore[misc]
            pipeline=ref.pipeline,
            record_id=ref.record_id,
            local_id=ref.local_id,
            pharmacy_code=ref.pharmacy_code,
            shop_pharmacy_code=ref.shop_pharmacy_code,
            claim_token=batch.token,
            return_state=True,
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

    The document is in the current batch, where `record_id` finds it. The other parameters are for
    people: the UI shows them, and they name the run.

    Args:
        pipeline: import, sale or cancellation.
        record_id: primary key of the document's header row.
        local_id: the pharmacy's own code of the document.
        pharmacy_code: national facility code.
        shop_pharmacy_code: selects the account.
        claim_token: the claim it is sent under.
    """
    batch, record = find_record(record_id)
    batch.start(record, str(flow_run.id))
    sync = batch.services.settings.sync
    submit = with_retries(submit_record, sync)
    return state_of(await result_of(await submit(batch, record, return_state=True)), sync.language)


async def record_ended(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A record's subflow reached its final state: record the document's outcome.

    Prefect fixes the names of the parameters.
    """
    batch, record = find_record(flow_run.parameters["record_id"])
    with sanitize_exceptions():
        await record_outcome(batch, record, await result_of(state))


@lru_cache
def record_flow(pipeline: Pipeline) -> Flow[..., Any]:
    """The subflow of a pipeline's documents, with the hook that records their outcomes."""
    return flow(
        name=pipeline.noun,
        flow_run_name=f"{pipeline.noun} {{local_id}}",
        validate_parameters=False,
        on_completion=[record_ended],
        on_failure=[record_ended],
        on_crashed=[record_ended],
        on_cancellation=[record_ended],
    )(sync_document)


async def batch_abandoned(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A batch run crashed or was cancelled: release what it still holds.

    Runs in a separate process that does not have the batch, so it opens its own services. Like
    every hook it is only the fast path. Prefect fixes the parameters' names.
    """
    token = flow_run.parameters.get("claim_token") or str(flow_run.id)
    async with open_services() as services:
        await abandon_claim(
            services,
            get_pipeline(flow.name).name,
            token,
            str(flow_run.id),
            vanished=state.is_crashed(),
        )


@flow(
    name=IMPORT.name,
    flow_run_name=pipeline_run_name,
    on_crashed=[batch_abandoned],
    on_cancellation=[batch_abandoned],
)
async def import_receipts(
    local_receipt_id: str = "",
    pharmacy_code: str = "",
    force: bool = False,
    granularity: Granularity | None = None,
    claim_token: str = "",
) -> State[Any]:
    """Send purchase receipts (`phieu_nhap`) to the national database.

    Args:
        local_receipt_id: the receipt to send, e.g. PN-S01-000021, with any status.
        pharmacy_code: national facility code, needed if several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (one run per document), `task` (one run per chunk), `auto` or empty.
        claim_token: leave it empty; only `orchestrate` uses it.
    """
    return await run_pipeline(
        IMPORT, claim_token, local_receipt_id, pharmacy_code, force, granularity
    )


@flow(
    name=SALE.name,
    flow_run_name=pipeline_run_name,
    on_crashed=[batch_abandoned],
    on_cancellation=[batch_abandoned],
)
async def sale(
    local_invoice_id: str = "",
    pharmacy_code: str = "",
    force: bool = False,
    granularity: Granularity | None = None,
    claim_token: str = "",
) -> State[Any]:
    """Send sale invoices (`hoa_don`) to the national database.

    Args:
        local_invoice_id: the invoice to send, e.g. HD-S01-000101, with any status.
        pharmacy_code: national facility code, needed if several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (one run per document), `task` (one run per chunk), `auto` or empty.
        claim_token: leave it empty; only `orchestrate` uses it.
    """
    return await run_pipeline(
        SALE, claim_token, local_invoice_id, pharmacy_code, force, granularity
    )


@flow(
    name=CANCELLATION.name,
    flow_run_name=pipeline_run_name,
    on_crashed=[batch_abandoned],
    on_cancellation=[batch_abandoned],
)
async def cancellation(
    local_slip_id: str = "",
    pharmacy_code: str = "",
    force: bool = False,
    granularity: Granularity | None = None,
    claim_token: str = "",
) -> State[Any]:
    """Send goods issue slips (`phieu_xuat`) to the national database.

    Args:
        local_slip_id: the slip to send, e.g. PX-S01-000004, with any status.
        pharmacy_code: national facility code, needed if several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (one run per document), `task` (one run per chunk), `auto` or empty.
        claim_token: leave it empty; only `orchestrate` uses it.
    """
    return await run_pipeline(
        CANCELLATION, claim_token, local_slip_id, pharmacy_code, force, granularity
    )
