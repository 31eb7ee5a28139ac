"""The guarantee behind the fast path: finds what crashed runs left behind, and repairs it.

Scheduled every five minutes. Idempotent: what is repaired already is not an error.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, State

from lib.sync.reconcile import Repairs
from tasks.overview import show_overview
from tasks.repair import repair_claims, repair_logs, repair_runs
from tasks.run_names import scheduler_run_name
from tasks.services import open_services


@flow(name="reconcile", flow_run_name=scheduler_run_name)
async def reconcile() -> State[None]:
    """Repair claims nobody works on, acceptances not saved, logs left open and runs that lie.

    What was repaired is in the artifact `reconcile`. It also keeps `failure-groups` and
    `api-availability` up to date.
    """
    repairs = Repairs()
    async with open_services():
        repairs.add(await repair_logs())
        repairs.add(await repair_claims())
        repairs.add(await repair_runs(str(flow_run.id)))
        await show_overview()
    rows = [row for row in repairs.rows() if row["found"]]
    await acreate_table_artifact(
        table=rows or [{"what": "everything agrees", "found": 0}],
        key="reconcile",
        description="What was found and repaired",
    )
    found = sum(int(row["found"]) for row in rows)
    return Completed(message=f"{found} repairs" if found else "everything agrees")
