"""The three pipelines: one batch, or one document at a person's request.

Started by `orchestrate` with a claim token, or by a person with a local id. Whatever one document
does, the others go on; whatever this process does, the claim's lease sets its documents free.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import State

from flows.fan_out import send_all
from flows.hooks import batch_abandoned
from lib.errors import ConfigurationError
from lib.pipelines import CANCELLATION, IMPORT, SALE, Pipeline
from lib.settings import Granularity
from tasks.batches import leased_batch, nothing_to_do, verdict
from tasks.claims import claim_document, load_documents
from tasks.run_names import pipeline_run_name
from tasks.services import open_services


async def run_pipeline(
    pipeline: Pipeline,
    claim_token: str,
    local_id: str,
    pharmacy_code: str,
    force: bool,
    granularity: Granularity | None,
) -> State[Any]:
    """Load what is held under the token (or claim the one document), send it, tell the result.

    What is not given is an empty text: the run form of the UI then has a plain field for it.
    """
    local_id, pharmacy_code = local_id.strip(), pharmacy_code.strip()
    if bool(claim_token) == bool(local_id):
        raise ConfigurationError(f"give {pipeline.id_parameter} (or, internally, claim_token)")
    token = claim_token or str(flow_run.id)
    async with open_services():
        if local_id:
            await claim_document(pipeline.name, local_id, pharmacy_code or None, token, force)
        documents = await load_documents(pipeline.name, token)
        if not documents:
            return nothing_to_do(token)
        async with leased_batch(pipeline, token, documents) as batch:
            await send_all(batch, granularity)
        return await verdict(batch, single=bool(local_id))


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
        local_receipt_id: the receipt to send, e.g. PN-S01-000021, whatever its status is.
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: leave it empty; a subflow, a task run or part of one a document, or as fits.
        claim_token: leave it empty; `orchestrate` fills in whose documents are to be sent.
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
        local_invoice_id: the invoice to send, e.g. HD-S01-000101, whatever its status is.
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: leave it empty; a subflow, a task run or part of one a document, or as fits.
        claim_token: leave it empty; `orchestrate` fills in whose documents are to be sent.
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
        local_slip_id: the slip to send, e.g. PX-S01-000004, whatever its status is.
        pharmacy_code: national facility code, needed where several pharmacies use the same id.
        force: send it even if it is accepted already; otherwise that is refused.
        granularity: leave it empty; a subflow, a task run or part of one a document, or as fits.
        claim_token: leave it empty; `orchestrate` fills in whose documents are to be sent.
    """
    return await run_pipeline(
        CANCELLATION, claim_token, local_slip_id, pharmacy_code, force, granularity
    )
