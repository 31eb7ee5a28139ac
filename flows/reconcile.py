"""The guarantee behind the fast path: finds what crashed runs left behind, and repairs it.

Scheduled every five minutes. Idempotent: it is no error if something is repaired already.
"""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from lib.sync.reconcile import Repairs
from tasks.artifacts import show_overview, show_repairs
from tasks.reconcile import repair_claims, repair_logs, repair_runs
from tasks.runtime import open_services, scheduler_run_name


@flow(name="reconcile", flow_run_name=scheduler_run_name)
async def reconcile() -> State[None]:
    """Repair abandoned claims, acceptances not saved, logs left open and runs with a wrong state.

    What was repaired is in the artifact `reconcile`. It also keeps `failure-groups` and
    `api-availability` up to date.
    """
    repairs = Repairs()
    async with open_services():
        repairs.add(await repair_claims())
        repairs.add(await repair_runs(str(flow_run.id)))
        repairs.add(await repair_logs())
        await show_overview()
    found = await show_repairs(repairs)
    return Completed(message=f"{found} repairs" if found else "nothing to repair")
