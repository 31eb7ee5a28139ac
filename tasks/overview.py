"""Artifacts that `reconcile` keeps up to date for operators: what failed, and how the API does.

They only show. Whatever goes wrong here is a warning, and never fails a run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from lib.clock import utc_now
from lib.errors import StoreUnavailable
from lib.tracking.availability import HOURS, as_markdown, by_hour, first_hour
from lib.tracking.failure_groups import failure_groups
from lib.tracking.failures import FailureFilter, FailureGroup, FailureLog
from lib.tracking.task_logs import TaskLogReader
from tasks.markdown import link, plain
from tasks.services import current_services

logger = logging.getLogger("dqg.overview")

FAILURE_GROUPS = "failure-groups"
API_AVAILABILITY = "api-availability"
#: Newest failures that are looked at, and groups of them that are shown.
_FAILURES_READ = 5000
_GROUPS_SHOWN = 50
_SHOPS_SHOWN = 5


@task(cache_policy=NO_CACHE)
async def show_overview() -> None:
    """Write both artifacts anew. May be repeated; never raises."""
    for show in (show_failure_groups, show_api_availability):
        await as_far_as_possible(show)


async def show_failure_groups() -> None:
    """The open failures, those alike on one line, the largest group first.

    Raises:
        StoreUnavailable.
    """
    services = current_services()
    log, wanted = FailureLog(services.tracking.database), FailureFilter()
    total = await log.count(wanted)
    groups = await failure_groups(log, services.source, wanted, limit=_FAILURES_READ)
    shown = groups[:_GROUPS_SHOWN]
    runs = await _flow_runs([group.failures[0].get("record_run_id") for group in shown])
    await acreate_table_artifact(
        table=[_row(group, runs) for group in shown] or [{"reason": "no open failure"}],
        key=FAILURE_GROUPS,
        description=_groups_description(total, len(groups)),
    )


async def show_api_availability() -> None:
    """How the API answered our own calls, hour by hour.

    Raises:
        StoreUnavailable.
    """
    now = utc_now()
    logs = TaskLogReader(current_services().tracking.database)
    counts = await logs.calls_by_hour(first_hour(now))
    await acreate_markdown_artifact(
        markdown=as_markdown(by_hour(counts, now), f"National API, last {HOURS} hours"),
        key=API_AVAILABILITY,
        description=f"Errors and latency of our own calls in the last {HOURS} hours",
    )


async def as_far_as_possible(show: Callable[[], Awaitable[None]]) -> None:
    """Make an artifact, or warn and leave it as it was."""
    try:
        await show()
    except StoreUnavailable as error:
        logger.warning(
            "%s left as it was: %s is away",
            show.__name__,
            error.store,
            extra={"action": "overview_skipped"},
        )
    except Exception as error:
        # An overview is no reason for a red run: repairs were made before it.
        logger.warning(
            "%s left as it was: %s",
            show.__name__,
            type(error).__name__,
            extra={"action": "overview_failed"},
        )


def _row(group: FailureGroup, runs: set[str]) -> dict[str, Any]:
    reason, example = group.reason, group.failures[0]
    shops = sorted({ref.shop_pharmacy_code for ref in group.refs})
    more = f" and {len(shops) - _SHOPS_SHOWN} more" if len(shops) > _SHOPS_SHOWN else ""
    # The most wanted first: the page shows some five columns before it has to be scrolled.
    return {
        "documents": len(group.refs),
        "reason": plain(reason.text),
        "example": _example(example["local_id"], example.get("record_run_id"), runs),
        "group": reason.key,
        "drug code": plain(reason.drug_code),
        "field": plain(reason.field),
        "shops": plain(", ".join(shops[:_SHOPS_SHOWN])) + more,
        "pipelines": ", ".join(sorted({ref.pipeline for ref in group.refs})),
        "newest": f"{example['created_at']:%Y-%m-%d %H:%M} UTC",
        "class": reason.error_class,
    }


def _example(text: str, run_id: str | None, flow_runs: set[str]) -> str:
    if run_id is None:
        return plain(text)
    return link(text, f"/runs/{'flow-run' if run_id in flow_runs else 'task-run'}/{run_id}")


async def _flow_runs(run_ids: Sequence[str | None]) -> set[str]:
    """Which of these are flow runs; a large batch's documents are task runs instead."""
    ids = [UUID(run_id) for run_id in run_ids if run_id]
    if not ids:
        return set()
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids))
        )
    return {str(run.id) for run in found}


def _groups_description(total: int, groups: int) -> str:
    if not total:
        return "No document waits for a decision."
    parts = [f"{total} failures wait for a decision, in {groups} groups of those alike."]
    if total > _FAILURES_READ:
        parts.append(f"Only the newest {_FAILURES_READ} are counted here.")
    if groups > _GROUPS_SHOWN:
        parts.append(f"The largest {_GROUPS_SHOWN} groups are shown.")
    parts.append(
        "The example leads to its run. Correct the cause, then `./dqg requeue --group` and the "
        "group's name."
    )
    return " ".join(parts)
