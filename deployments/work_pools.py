"""Creates the work pools, or brings them up to date. May be repeated.

`python -m deployments.work_pools`: `prefect deploy` makes no pools, so this comes first.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from lib.pipelines import PIPELINES, SCHEDULER_POOL

TEMPLATES = Path(__file__).parent / "pools"

DESCRIPTIONS = {
    SCHEDULER_POOL: "orchestrate, reconcile, daily-close: no backlog of documents can hold them up",
} | {
    pipeline.name: f"sends {pipeline.header_table} to {pipeline.resource}"
    for pipeline in PIPELINES.values()
}


async def apply_work_pools(pool_type: str = "process") -> None:
    """Make every pool exist with the job template of its type under `deployments/pools/`.

    A pool that is paused stays paused, and its concurrency limit is left alone: those are the
    operator's.
    """
    template = json.loads((TEMPLATES / f"{pool_type}.json").read_text(encoding="utf-8"))
    async with get_client() as client:
        for name, description in DESCRIPTIONS.items():
            await _apply(client, name, description, pool_type, template)


async def _apply(
    client: PrefectClient,
    name: str,
    description: str,
    pool_type: str,
    template: dict[str, object],
) -> None:
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name, description=description, type=pool_type, base_job_template=template
            )
        )
    else:
        await client.update_work_pool(
            name, WorkPoolUpdate(description=description, base_job_template=template)
        )


if __name__ == "__main__":
    asyncio.run(apply_work_pools())
