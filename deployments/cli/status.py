"""`dqg status`: where every document is, and what is in the way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
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
from deployments.cli.language import _, _n
from deployments.cli.prefect_state import read_pools
from lib.errors import SyncError
from lib.pipelines import PIPELINES, SCHEDULER_POOL
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.counts import ShopSummary
from lib.sync.planning import PoolState
from lib.sync.submit import pipeline_breaker


@dataclass(slots=True)
class Status:
    """Everything `dqg status` shows.

    Attributes:
        shop_breakers: by shop, the one that is furthest from closed.
        open_failures: failure records nobody has settled, by pipeline and shop; None: not known.
        pools: None: not known; a pool that is None is not there.
        away: what could not be asked, and what it said.
    """

    shops: list[ShopSummary]
    pipeline_breakers: dict[str, BreakerSnapshot] | None = None
    shop_breakers: dict[str, BreakerSnapshot] | None = None
    open_failures: dict[tuple[str, str], int] | None = None
    pools: dict[str, PoolState | None] | None = None
    away: dict[str, str] = field(default_factory=dict)

    def findings(self) -> list[str]:
        """What needs attention, in words; nothing where all is well."""
        found = [_("{part} is away: {why}", part=part, why=why) for part, why in self.away.items()]
        for name, snapshot in ((self.pipeline_breakers or {}) | (self.shop_breakers or {})).items():
            if snapshot.state is not BreakerState.CLOSED:
                found.append(
                    _(
                        "{name} is {state}: {reason}",
                        name=name,
                        state=snapshot.state.value,
                        reason=snapshot.reason,
                    )
                )
        for name, pool in (self.pools or {}).items():
            if pool is None:
                found.append(
                    _(
                        "there is no work pool {name}: python -m deployments.server.work_pools",
                        name=name,
                    )
                )
            elif refusal := refusal_of(pool):
                found.append(_("pool {name}: {why}", name=name, why=refusal))
        found += [
            _n(
                "{count} failure of {name} waits for a decision: dqg failures group",
                "{count} failures of {name} wait for a decision: dqg failures group",
                count,
                name=name,
            )
            for name, count in self.open_by_pipeline().items()
            if count
        ]
        return found

    def open_by_pipeline(self) -> dict[str, int]:
        """Failure records nobody has settled, of all shops together; nothing if not known."""
        counts = dict.fromkeys(PIPELINES, 0)
        for (name, _shop), count in (self.open_failures or {}).items():
            counts[name] = counts.get(name, 0) + count
        return counts if self.open_failures is not None else {}


def refusal_of(pool: PoolState) -> str | None:
    """Why a run of the pool would only wait; None where it would start soon."""
    if pool.paused:
        return _("the work pool is paused")
    return _("no worker is online") if pool.workers == 0 else None


async def read_status(operator: Operator) -> Status:
    """Asks every part; those that are away are named, and the rest is still told.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be asked.
    """
    shops = await asyncio.to_thread(operator.source.counts.shop_summaries, list(PIPELINES.values()))
    status = Status(shops)
    await _add_breakers(operator, status)
    try:
        status.open_failures = await operator.failures.open_by_shop()
    except SyncError as error:
        status.away["MongoDB"] = str(error)
    try:
        status.pools = await read_pools([SCHEDULER_POOL, *PIPELINES])
    except SyncError as error:
        status.away["Prefect"] = str(error)
    counted = {(summary.pipeline, summary.shop) for summary in shops}
    status.shops += [
        ShopSummary(name, shop)
        for name, shop in sorted(status.open_failures or {})
        if (name, shop) not in counted
    ]
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
        status.away["Redis"] = _("breakers are not known")
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
        "shops": [
            asdict(s)
            | {"pharmacy_codes": sorted(s.pharmacy_codes)}
            | {"open_failures": _open_failures(status, s)}
            for s in status.shops
        ],
        "pipeline_breakers": breakers(status.pipeline_breakers),
        "shop_breakers": breakers(status.shop_breakers),
        "open_failures": None if status.open_failures is None else status.open_by_pipeline(),
        "pools": None
        if status.pools is None
        else {name: pool and asdict(pool) for name, pool in status.pools.items()},
        "away": status.away,
        "findings": status.findings(),
    }


def as_tables(status: Status) -> Group:
    """The status for a person."""
    shops = table(
        _("Documents (succeeded and failed: today)"),
        [
            *(_("pipeline"), _("shop"), _("pending"), _("in flight"), _("unconfirmed")),
            *(_("failed"), _("succeeded"), _("open failures"), _("oldest pending"), _("account")),
            _("before cut-off"),
        ],
        [
            (
                *(s.pipeline, s.shop, s.pending, s.in_flight, s.unconfirmed),
                *(s.failed, s.succeeded, _or_unknown(_open_failures(status, s))),
                duration(s.oldest_pending_seconds),
                _state((status.shop_breakers or {}).get(s.shop)),
                s.before_cut_off or None,
            )
            for s in status.shops
        ],
    )
    pools = status.pools or {}
    pipelines = table(
        _("Pipelines"),
        [_("pipeline"), _("breaker"), _("workers online"), _("open failures")],
        [
            (
                name,
                _state((status.pipeline_breakers or {}).get(name)),
                _workers(pools.get(name)) if status.pools is not None else "?",
                _or_unknown(status.open_by_pipeline().get(name)),
            )
            for name in PIPELINES
        ],
    )
    findings = status.findings()
    text = "\n".join(findings) if findings else _("nothing needs attention")
    return Group(shops, pipelines, Text(text))


def _open_failures(status: Status, summary: ShopSummary) -> int | None:
    if status.open_failures is None:
        return None
    return status.open_failures.get((summary.pipeline, summary.shop), 0)


def _or_unknown(count: int | None) -> int | str:
    return "?" if count is None else count


def _state(snapshot: BreakerSnapshot | None) -> str:
    if snapshot is None:
        return "?"
    state = snapshot.state.value
    if not snapshot.seconds_left:
        return state
    return _("{state}, {time} left", state=state, time=duration(snapshot.seconds_left))


def _workers(pool: PoolState | None) -> str:
    if pool is None:
        return _("no such pool")
    return _("none needed") if pool.workers is None else str(pool.workers)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="show it anew until Ctrl-C")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two looks")] = 5.0,
    json: AsJson = False,
) -> None:
    """Where the documents of each shop are, and what needs attention: then the exit status is 1."""
    if watch and json:
        raise typer.BadParameter(_("--watch and --json exclude each other"))
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
                    shown = Text(_("error: {text}", text=error))
                stamp = Text(time.strftime("%H:%M:%S"), style="dim")
                live.update(Group(shown, stamp), refresh=True)
                await asyncio.sleep(every)
