"""Reads runs from Prefect: name, state, times, address in the UI."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from deployments.cli.prefect_api import SECONDS, open_prefect, run_url
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
    async with open_prefect(seconds) as prefect:

        async def read(kind: str, chosen: dict[str, Any]) -> None:
            query = {f"{kind}s": chosen, "sort": "EXPECTED_START_TIME_DESC", "limit": _PAGE}
            for values in await prefect.post(f"/{kind}s/filter", query):
                made = as_run(values, is_task=kind == "task_run")
                found[made.id] = made

        if names:
            await read("flow_run", {"name": {"any_": list(names)}})
        for kind in ("flow_run", "task_run"):
            for page in _pages([run_id for run_id in wanted if run_id not in found]):
                await read(kind, {"id": {"any_": page}})
    return found


def as_run(values: dict[str, Any], *, is_task: bool) -> Run:
    """Converts a run of Prefect's API to a `Run`."""
    return Run(
        id=values["id"],
        is_task=is_task,
        name=values["name"],
        state=values["state_name"] or "",
        message=((values["state"] or {}).get("message")) or None,
        created=_moment(values["created"]),
        start=_moment(values["start_time"]),
        end=_moment(values["end_time"]),
        parameters=dict(values.get("parameters") or {}),
        url=run_url(values["id"], is_task=is_task),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _pages(ids: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(ids), _PAGE):
        yield ids[start : start + _PAGE]
