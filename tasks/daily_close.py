"""The daily close: asked of all stores, and shown as an artifact."""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run

from lib.daily_close.collect import read_day
from lib.daily_close.compare import DayClose, ShopClose
from lib.daily_close.csv_file import checksum, rows_of
from tasks.markdown import plain
from tasks.services import current_services

DAILY_CLOSE = "daily-close"
_DIFFERENCES_SHOWN = 50


@task(cache_policy=NO_CACHE, task_run_name="compare-{day}")
async def compare_day(day: date, sample: int) -> DayClose:
    """Every document of the day, compared across the stores. May be repeated.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be asked.
    """
    return await read_day(current_services(), day, sample)


async def show_daily_close(close: DayClose) -> None:
    """Keep a close as an artifact: numbers, differences by name, and the checksum of the rows.

    Of the run it is called in, if any: the command line has none, and the helpers of
    `prefect.artifacts` are for runs only.
    """
    rows = [_row(shop) for shop in close.shops] or [{"pipeline": "no document has this date"}]
    run_id = flow_run.get_id()
    async with get_client() as client:
        await client.create_artifact(
            ArtifactCreate(
                key=DAILY_CLOSE,
                type="table",
                description=description_of(close),
                data=json.dumps(rows, ensure_ascii=False),
                flow_run_id=UUID(run_id) if run_id else None,
            )
        )


def description_of(close: DayClose) -> str:
    """What stands above the table. Names no person. Pure."""
    differences = close.differences
    lines = [
        f"**{close.day}: {'closed' if close.is_closed else 'not closed'}.** {close.summary()}.",
        "",
        f"SHA-256 over the rows: `{checksum(rows_of(close))}`",
    ]
    if close.notes:
        lines += ["", "Not compared:", "", *(f"- {note}" for note in close.notes)]
    if differences:
        lines += ["", "Differences:", ""]
        lines += [
            f"- {plain(f'{ref.pipeline} {ref.local_id} ({ref.shop_pharmacy_code}): {item.text}')}"
            for item in differences[:_DIFFERENCES_SHOWN]
            for ref in (item.ref,)
        ]
        if len(differences) > _DIFFERENCES_SHOWN:
            lines.append(f"- and {len(differences) - _DIFFERENCES_SHOWN} more: `./dqg close`")
    return "\n".join(lines)


def _row(shop: ShopClose) -> dict[str, Any]:
    unknown = "not known"
    return {
        "pipeline": shop.pipeline,
        "shop": plain(shop.shop),
        "documents": shop.documents,
        "sent": unknown if shop.sent is None else shop.sent,
        "accepted": shop.accepted,
        "failed": shop.failed,
        "open": shop.open,
        "accepted in the logs": unknown if shop.logged is None else shop.logged,
        "looked up at the API": f"{shop.present} of {shop.checked} found",
        "differences": shop.differences,
        "amount": f"{shop.amount:,.2f}",
        "amount accepted": f"{shop.accepted_amount:,.2f}",
    }
