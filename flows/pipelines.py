"""The three pipelines: one batch, or one document at a person's request.

Started by `orchestrate` with a claim token, or by a person with a local id. One bad document stops
no other; if this process dies, its documents come free when the lease of the claim runs out.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow, flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run

from flows.records import send_all
from lib.errors import ConfigurationError
from lib.pipelines import CANCELLATION, IMPORT, SALE, Pipeline, get_pipeline
from lib.settings import Granularity
from lib.sync.batch import open_batch
from tasks.artifacts import show_progress, show_result
from tasks.claims import claim_document, load_documents
from tasks.reconcile import abandon_claim
from tasks.records import empty_batch, final_state
from tasks.runtime import open_services, pipeline_run_name


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
            await claim_document(pipeline.name, local_id, pharmacy_code or None, token, force)
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


async def batch_abandoned(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A batch run crashed or was cancelled: give back what it still holds.

    Runs in a separate process that knows nothing of the batch, so it opens its own services. As
    every hook it is only the fast path, see `flows.records`. Prefect fixes the parameters' names.
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
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (a run per document), `task` (a run per chunk) or `auto`; may be empty.
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
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (a run per document), `task` (a run per chunk) or `auto`; may be empty.
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
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: `flow` (a run per document), `task` (a run per chunk) or `auto`; may be empty.
        claim_token: leave it empty; only `orchestrate` uses it.
    """
    return await run_pipeline(
        CANCELLATION, claim_token, local_slip_id, pharmacy_code, force, granularity
    )
