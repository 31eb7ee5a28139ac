"""Reads runs from Prefect: name, state, times, place in the UI."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort

from deployments.cli.prefect_state import SECONDS, prefect_errors, run_url
from lib.operations.events import Run

#: The server returns at most this number of runs at once.
_PAGE = 200


async def read_runs(
    ids: Iterable[str | None], names: Collection[str] = (), *, seconds: float = SECONDS
) -> dict[str, Run]:
    """The runs of these ids, and the newest flow runs of these names, by id.

    Those that Prefect does not know (any more) are left out.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    wanted = sorted({run_id for run_id in ids if run_id and _is_id(run_id)})
    found: dict[str, Run] = {}
    async with prefect_errors(seconds), get_client() as client:
        if names:
            by_name = FlowRunFilter(name=FlowRunFilterName(any_=list(names)))
            for run in await client.read_flow_runs(
                flow_run_filter=by_name, sort=FlowRunSort.START_TIME_DESC, limit=_PAGE
            ):
                found[str(run.id)] = as_run(run)
        for page in _pages([run_id for run_id in wanted if run_id not in found]):
            by_id = FlowRunFilter(id=FlowRunFilterId(any_=page))
            for run in await client.read_flow_runs(flow_run_filter=by_id, limit=_PAGE):
                found[str(run.id)] = as_run(run)
        for page in _pages([run_id for run_id in wanted if run_id not in found]):
            of_tasks = TaskRunFilter(id=TaskRunFilterId(any_=page))
            for task_run in await client.read_task_runs(task_run_filter=of_tasks, limit=_PAGE):
                found[str(task_run.id)] = as_run(task_run)
    return found


def as_run(run: FlowRun | TaskRun) -> Run:
    """Prefect's run as ours."""
    return Run(
        id=str(run.id),
        is_task=isinstance(run, TaskRun),
        name=run.name,
        state=run.state_name or "",
        message=(run.state.message if run.state else None) or None,
        created=run.created,
        start=run.start_time,
        end=run.end_time,
        parameters=dict(run.parameters) if isinstance(run, FlowRun) else {},
        url=run_url(str(run.id), is_task=isinstance(run, TaskRun)),
    )


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _pages(ids: list[str]) -> Iterable[list[UUID]]:
    for start in range(0, len(ids), _PAGE):
        yield [UUID(run_id) for run_id in ids[start : start + _PAGE]]
