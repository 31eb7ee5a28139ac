"""Checks of the Prefect server, and of its work pools, workers and deployments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import prefect
import yaml
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from deployments.cli.doctor.clocks import note_clock
from deployments.cli.doctor.findings import DoctorContext, Finding, fault, not_checked, ok
from deployments.cli.language import _
from deployments.cli.prefect_api import prefect_errors, read_pools
from lib.pipelines import PIPELINES, SCHEDULER_POOL

#: The file that describes the deployments.
_FILE = Path(__file__).parents[3] / "prefect.yaml"
#: A block type that every server has.
_BLOCK_TYPE = "Secret"
_REFUSED = (401, 403)


async def check_server(context: DoctorContext) -> Sequence[Finding]:
    """The server answers, accepts our login, and has the same version as this machine."""
    async with prefect_errors(), get_client() as client:
        try:
            version = await client.api_version()
            before = time.time()
            answer = await client.request("GET", "/health")
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _REFUSED:
                raise
            return [
                fault(
                    _(
                        "the server refuses access: HTTP {status}",
                        status=error.response.status_code,
                    ),
                    _("set PREFECT_API_AUTH_STRING to the value that the server uses"),
                )
            ]
    if "date" in answer.headers:
        # The header is rounded down to whole seconds: half a second corrects it on average.
        shown = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5
        note_clock(context, "Prefect server", shown, before)
    if version.split(".")[:2] != prefect.__version__.split(".")[:2]:
        return [
            fault(
                _(
                    "the server has version {theirs}, this machine has {ours}",
                    theirs=version,
                    ours=prefect.__version__,
                ),
                _("install the same version on server and workers"),
            )
        ]
    return [ok(_("version {version}", version=version))]


async def check_database(_context: DoctorContext) -> Sequence[Finding]:
    """The server keeps its data in PostgreSQL.

    Its API does not report the database. A LIKE pattern with a backslash distinguishes them: in
    PostgreSQL it escapes the next letter, in SQLite it is an ordinary character.
    """
    async with prefect_errors(), get_client() as client:
        plain = await _block_types(client, _BLOCK_TYPE)
        escaped = await _block_types(client, f"{_BLOCK_TYPE[0]}\\{_BLOCK_TYPE[1:]}")
    if not plain:
        return [not_checked(_("cannot be determined: the server has no block types"))]
    if escaped:
        return [ok("PostgreSQL")]
    return [
        fault(
            _("the database is SQLite, which fails with 'database is locked' under load"),
            _("set PREFECT_SERVER_DATABASE_CONNECTION_URL to a PostgreSQL database"),
        )
    ]


async def _block_types(client: PrefectClient, pattern: str) -> list[dict[str, Any]]:
    answer = await client.request(
        "POST", "/block_types/filter", json={"block_types": {"name": {"like_": pattern}}}
    )
    found: list[dict[str, Any]] = answer.json()
    return found


async def check_pools(context: DoctorContext) -> Sequence[Finding]:
    """Every work pool exists, and none is paused."""
    context.pools = await read_pools([SCHEDULER_POOL, *PIPELINES])
    found: list[Finding] = []
    for name, pool in context.pools.items():
        if pool is None:
            found.append(
                fault(
                    _("there is no work pool {pool}", pool=name),
                    "python -m deployments.server.work_pools",
                )
            )
        elif pool.paused:
            found.append(
                fault(
                    _("work pool {pool} is paused: nothing is claimed for it", pool=name),
                    f"prefect work-pool resume {name}",
                )
            )
    return found or [ok(", ".join(context.pools))]


async def check_workers(context: DoctorContext) -> Sequence[Finding]:
    """Every work pool has a worker online."""
    pools = {name: pool for name, pool in context.pools.items() if pool is not None}
    if not pools:
        return [not_checked(_("there are no work pools"))]
    return [
        fault(
            _("no worker of pool {pool} is online", pool=name),
            f"prefect worker start --pool {name} --no-create-pool-if-not-found",
        )
        for name, pool in pools.items()
        if pool.workers == 0
    ] or [ok(", ".join(f"{name}: {pool.workers}" for name, pool in pools.items() if pool.workers))]


async def check_deployments(_context: DoctorContext) -> Sequence[Finding]:
    """Every deployment exists on its pool, and the scheduled ones are not paused."""
    found: list[Finding] = []
    planned = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["deployments"]
    async with prefect_errors(), get_client() as client:
        for plan in planned:
            # Flow and deployment have the same name.
            name, pool = f"{plan['name']}/{plan['name']}", plan["work_pool"]["name"]
            again = f"prefect --no-prompt deploy -n {plan['name']}"
            try:
                deployment = await client.read_deployment_by_name(name)
            except ObjectNotFound:
                found.append(fault(_("there is no deployment {name}", name=name), again))
                continue
            if deployment.work_pool_name != pool:
                found.append(
                    fault(
                        _(
                            "{name} runs on pool {wrong} instead of {right}",
                            name=name,
                            wrong=deployment.work_pool_name,
                            right=pool,
                        ),
                        again,
                    )
                )
            scheduled = any(schedule.active for schedule in deployment.schedules)
            if plan.get("schedules") and (deployment.paused or not scheduled):
                found.append(fault(_("the schedule of {name} is paused", name=name), again))
    return found or [ok(", ".join(plan["name"] for plan in planned))]
