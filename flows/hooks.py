"""State hooks: the fast path on which outcomes reach the source database and the logs.

None of them is needed for correctness. Prefect logs an error in a hook and goes on, and runs none
at all where a process was killed: then the lease runs out and `reconcile` repairs what is left.
The parameters must be named `flow, flow_run, state`: a worker calls hooks by keyword.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from lib.pipelines import get_pipeline
from lib.sanitize import sanitize_exceptions
from lib.sync.batch import find_record
from lib.sync.outcomes import record_outcome
from tasks.reconcile import abandon_claim
from tasks.records import result_of
from tasks.runtime import open_services


async def record_ended(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A record's subflow reached its final state: record the document's outcome."""
    batch, record = find_record(flow_run.parameters["record_id"])
    with sanitize_exceptions():
        await record_outcome(batch, record, await result_of(record, state))


async def batch_abandoned(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A batch run crashed or was cancelled: give back what it still holds.

    Runs in a separate process that knows nothing of the batch, so it opens its own services.
    """
    token = flow_run.parameters.get("claim_token") or str(flow_run.id)
    async with open_services() as services:
        await abandon_claim(services, get_pipeline(flow.name).name, token, str(flow_run.id))
