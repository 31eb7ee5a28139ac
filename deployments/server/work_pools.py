"""Creates or updates the work pools. Idempotent.

    python -m deployments.server.work_pools
    python -m deployments.server.work_pools --type kubernetes --default image=HOST/dqg-sync:0.1.0

`prefect deploy` does not create pools, so run this first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from deployments.server import warm_start
from lib.pipelines import PIPELINES, SCHEDULER_POOL

TEMPLATES = Path(__file__).parent / "pools"
TYPES = tuple(sorted(path.stem for path in TEMPLATES.glob("*.json")))
DEFAULT_TYPE = "process"

DESCRIPTIONS = {
    SCHEDULER_POOL: "orchestrate, reconcile, daily-close: a backlog of documents cannot delay them",
} | {
    pipeline.name: f"sends {pipeline.header_table} to {pipeline.resource}"
    for pipeline in PIPELINES.values()
}


class PoolMismatch(Exception):
    """A pool cannot be changed as requested; the text gives the reason and what to do."""


def job_template(pool_type: str, defaults: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The job template of a type, with other defaults for some of its variables.

    Raises:
        PoolMismatch: the template has no such variable.
    """
    text = (TEMPLATES / f"{pool_type}.json").read_text(encoding="utf-8")
    template: dict[str, Any] = json.loads(text)
    variables = template["variables"]["properties"]
    if pool_type == "process":
        variables["command"]["default"] = warm_start.command()
    for name, value in (defaults or {}).items():
        if name not in variables:
            raise PoolMismatch(
                f"a {pool_type} pool has no variable {name!r}; "
                f"it has {', '.join(sorted(variables))}"
            )
        variables[name]["default"] = value
    return template


async def apply_work_pools(
    pool_type: str = DEFAULT_TYPE,
    *,
    pools: Sequence[str] = tuple(DESCRIPTIONS),
    defaults: Mapping[str, object] | None = None,
) -> None:
    """Create or update every pool with the job template under `deployments/server/pools/`.

    A paused pool stays paused, and its concurrency limit is not changed: the operator sets both.

    Raises:
        PoolMismatch: a pool exists with another type, which Prefect cannot change; no pool is
            changed. Or the template lacks a variable.
    """
    template = job_template(pool_type, defaults)
    async with get_client() as client:
        found = {name: await _type_of(client, name) for name in pools}
        wrong = [f"{n} ({t})" for n, t in found.items() if t not in (None, pool_type)]
        if wrong:
            raise PoolMismatch(
                f"not of type {pool_type}: {', '.join(wrong)}. A pool cannot change its type: "
                "drain it, delete it with `prefect work-pool delete`, and apply and deploy again"
            )
        for name, kind in found.items():
            if kind is None:
                await client.create_work_pool(
                    WorkPoolCreate(
                        name=name,
                        description=DESCRIPTIONS[name],
                        type=pool_type,
                        base_job_template=template,
                    )
                )
            else:
                await client.update_work_pool(
                    name,
                    WorkPoolUpdate(description=DESCRIPTIONS[name], base_job_template=template),
                )


async def _type_of(client: PrefectClient, name: str) -> str | None:
    try:
        return (await client.read_work_pool(name)).type
    except ObjectNotFound:
        return None


def _default(text: str) -> tuple[str, object]:
    """`NAME=VALUE`; a value that is valid JSON is parsed, anything else is a text."""
    name, is_pair, value = text.partition("=")
    if not is_pair:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m deployments.server.work_pools",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--type",
        default=DEFAULT_TYPE,
        choices=TYPES,
        help="how runs are started: as a process of the worker (default), a container or a "
        "Kubernetes job",
    )
    made.add_argument(
        "--pool",
        action="append",
        choices=DESCRIPTIONS,
        help="only this pool; can be repeated, so that pools can have different types",
    )
    made.add_argument(
        "--default",
        action="append",
        type=_default,
        default=[],
        metavar="NAME=VALUE",
        help="another default for a variable of the job template, such as image=...",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a pool cannot be changed as requested."""
    options = parser().parse_args(arguments)
    pools = tuple(options.pool or DESCRIPTIONS)
    try:
        asyncio.run(apply_work_pools(options.type, pools=pools, defaults=dict(options.default)))
    except PoolMismatch as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"{options.type} pools: {', '.join(pools)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
