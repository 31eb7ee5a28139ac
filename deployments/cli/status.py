"""`dqg status`: where every document is, and what is in the way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from deployments.cli.context import (
    ATTENTION,
    AsJson,
    Operator,
    console,
    duration,
    open_operator,
    print_json,
    run,
    table,
)
from deployments.cli.prefect_state import read_pools
from lib.breaker import BreakerSnapshot, BreakerState
from lib.errors import SyncError
from lib.failures import FailureFilter
from lib.pipelines import PIPELINES, SCHEDULER_POOL
from lib.planning import PoolState
from lib.source.store import ShopSummary
from lib.submission import pipeline_breaker

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Status:
    """Everything `dqg status` shows.

    Attributes:
        shop_breakers: by shop, the one that is furthest from closed.
        open_failures: failure records nobody has settled, by pipeline; None: not known.
        pools: None: not known; a pool that is None is not there.
        away: what could not be asked, and what it said.
    """

    shops: list[ShopSummary]
    pipeline_breakers: dict[str, BreakerSnapshot] | None = None
    shop_breakers: dict[str, BreakerSnapshot] | None = None
    open_failures: dict[str, int] | None = None
    pools: dict[str, PoolState | None] | None = None
    away: dict[str, str] = field(default_factory=dict)

    def findings(self) -> list[str]:
        """What needs attention, in words; nothing where all is well."""
        found = [f"{part} is away: {why}" for part, why in self.away.items()]
        for name, snapshot in ((self.pipeline_breakers or {}) | (self.shop_breakers or {})).items():
            if snapshot.state is not BreakerState.CLOSED:
                found.append(f"{name} is {snapshot.state.value}: {snapshot.reason}")
        for name, pool in (self.pools or {}).items():
            if pool is None:
                found.append(f"there is no work pool {name}: python -m deployments.work_pools")
            elif pool.refusal:
                found.append(f"pool {name}: {pool.refusal}")
        found += [
            f"{count} failures of {name} wait for a decision: dqg failures group"
            for name, count in (self.open_failures or {}).items()
            if count
        ]
        return found


async def read_status(operator: Operator) -> Status:
    """Asks every part; those that are away are named, and the rest is still told.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be asked.
    """
    shops = await asyncio.to_thread(
        operator.source.shop_summaries, list(PIPELINES.values()), finished_within=_DAY
    )
    status = Status(shops)
    await _add_breakers(operator, status)
    try:
        status.open_failures = {
            name: await operator.failures.count(FailureFilter(pipeline=name)) for name in PIPELINES
        }
    except SyncError as error:
        status.away["MongoDB"] = str(error)
    try:
        status.pools = await read_pools([SCHEDULER_POOL, *PIPELINES])
    except SyncError as error:
        status.away["Prefect"] = str(error)
    return status


async def _add_breakers(operator: Operator, status: Status) -> None:
    own = {name: pipeline_breaker(name) for name in PIPELINES}
    by_shop: dict[str, set[str]] = {
        shop: {f"account:{key}" for key in keys} for shop, keys in operator.accounts.keys().items()
    }
    for summary in status.shops:
        by_shop.setdefault(summary.shop, set()).update(
            operator.accounts.breaker_name(summary.shop, code) for code in summary.pharmacy_codes
        )
    names = [*own.values(), *(name for names in by_shop.values() for name in names)]
    snapshots = await operator.breakers.snapshot(names)
    if operator.redis_away():
        status.away["Redis"] = "breakers are not known"
        return
    status.pipeline_breakers = {name: snapshots[breaker] for name, breaker in own.items()}
    status.shop_breakers = {
        shop: max((snapshots[name] for name in names), key=_severity)
        for shop, names in sorted(by_shop.items())
    }


def _severity(snapshot: BreakerSnapshot) -> int:
    order = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN, BreakerState.HELD)
    return order.index(snapshot.state)


def as_json(status: Status) -> dict[str, Any]:
    """The status as values."""

    def breakers(found: dict[str, BreakerSnapshot] | None) -> dict[str, Any] | None:
        return None if found is None else {name: asdict(item) for name, item in found.items()}

    return {
        "shops": [asdict(s) | {"pharmacy_codes": sorted(s.pharmacy_codes)} for s in status.shops],
        "pipeline_breakers": breakers(status.pipeline_breakers),
        "shop_breakers": breakers(status.shop_breakers),
        "open_failures": status.open_failures,
        "pools": None
        if status.pools is None
        else {name: pool and asdict(pool) for name, pool in status.pools.items()},
        "away": status.away,
        "findings": status.findings(),
    }


def as_tables(status: Status) -> Group:
    """The status for a person."""
    shops = table(
        "Documents (succeeded and failed: last 24 h)",
        [
            *("pipeline", "shop", "pending", "in flight", "unconfirmed"),
            *("failed", "succeeded", "oldest pending", "account"),
        ],
        [
            (
                *(s.pipeline, s.shop, s.pending, s.in_flight, s.unconfirmed),
                *(s.failed, s.succeeded, duration(s.oldest_pending_seconds)),
                _state((status.shop_breakers or {}).get(s.shop)),
            )
            for s in status.shops
        ],
    )
    pools = status.pools or {}
    pipelines = table(
        "Pipelines",
        ["pipeline", "breaker", "workers online", "open failures"],
        [
            (
                name,
                _state((status.pipeline_breakers or {}).get(name)),
                _workers(pools.get(name)) if status.pools is not None else "?",
                "?" if status.open_failures is None else status.open_failures.get(name, 0),
            )
            for name in PIPELINES
        ],
    )
    findings = status.findings()
    text = "\n".join(findings) if findings else "nothing needs attention"
    return Group(shops, pipelines, Text(text))


def _state(snapshot: BreakerSnapshot | None) -> str:
    if snapshot is None:
        return "?"
    left = f", {duration(snapshot.seconds_left)} left" if snapshot.seconds_left else ""
    return f"{snapshot.state.value}{left}"


def _workers(pool: PoolState | None) -> str:
    if pool is None:
        return "no such pool"
    return "none needed" if pool.workers is None else str(pool.workers)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="show it anew until Ctrl-C")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two looks")] = 5.0,
    json: AsJson = False,
) -> None:
    """Where the documents of each shop are, and what needs attention: then the exit status is 1."""
    if watch and json:
        raise typer.BadParameter("--watch and --json exclude each other")
    run(_watch(every) if watch else _show(json), as_json=json)


async def _show(json: bool) -> int:
    async with open_operator() as operator:
        found = await read_status(operator)
    if json:
        print_json(as_json(found))
    else:
        console().print(as_tables(found))
    return ATTENTION if found.findings() else 0


async def _watch(every: float) -> int:
    async with open_operator() as operator:
        with Live(console=console(), auto_refresh=False, screen=False) as live:
            while True:
                shown: Any
                try:
                    shown = as_tables(await read_status(operator))
                except SyncError as error:
                    shown = Text(f"error: {error}")
                stamp = Text(time.strftime("%H:%M:%S"), style="dim")
                live.update(Group(shown, stamp), refresh=True)
                await asyncio.sleep(every)
