"""`dqg status`: the state of all documents, and what needs attention."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, open_operator, print_json, run
from deployments.cli.language import N_, _, _n, current_language
from deployments.cli.output import Tone, code, console, duration, number, table, text, toned
from deployments.cli.prefect_api import read_pools
from lib.errors import SyncError
from lib.operations.status import Status, read_status
from lib.pipelines import PIPELINES, PoolState
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.inspection import ForeignStatus
from lib.words.states import breaker

#: Text of `lib.operations.status` when Redis is unavailable; marked here for translation.
_REDIS_AWAY = N_("states of breakers are not known")


def findings_of(status: Status) -> list[str]:
    """What needs attention, as sentences; empty if nothing does."""
    found = [
        _("{part} is unavailable: {why}", part=part, why=_(why))
        for part, why in status.away.items()
    ]
    for name, snapshot in ((status.pipeline_breakers or {}) | (status.shop_breakers or {})).items():
        if snapshot.state is not BreakerState.CLOSED:
            found.append(
                _(
                    "{name}: {state} ({reason})",
                    name=name,
                    state=_state(snapshot),
                    reason=snapshot.reason,
                )
            )
    for name, pool in (status.pools or {}).items():
        if pool is None:
            found.append(
                _(
                    "there is no work pool {name}: python -m deployments.server.work_pools",
                    name=name,
                )
            )
        elif refusal := refusal_of(pool):
            found.append(_("pool {name}: {why}", name=name, why=refusal))
    for name in PIPELINES:
        late = sum(item.late for item in status.deadlines if item.pipeline == name)
        soon = sum(item.soon for item in status.deadlines if item.pipeline == name)
        if late or soon:
            found.append(
                _(
                    "{name}: {late} documents are late, {soon} will be late soon",
                    name=name,
                    late=late,
                    soon=soon,
                )
            )
    found += [
        _n(
            "{count} failure of {name} waits for a decision: dqg failures group",
            "{count} failures of {name} wait for a decision: dqg failures group",
            count,
            name=name,
        )
        for name, count in status.open_by_pipeline().items()
        if count
    ]
    return found


def foreign_text(item: ForeignStatus) -> str:
    """How many documents have a status of other software."""
    return _n(
        "{count} document of {pipeline} has the status {status} and is not processed",
        "{count} documents of {pipeline} have the status {status} and are not processed",
        item.count,
        pipeline=item.pipeline,
        status="NULL" if item.status is None else repr(item.status),
    )


def foreign_todo(item: ForeignStatus) -> str:
    """How to have such documents sent."""
    return _("to send them: {statement}", statement=item.statement)


def refusal_of(pool: PoolState) -> str | None:
    """Why a run of the pool would not start; None if it would start soon."""
    if pool.paused:
        return _("the work pool is paused")
    return _("no worker is online") if pool.workers == 0 else None


def as_json(status: Status) -> dict[str, Any]:
    """The status as values for JSON."""

    def breakers(found: dict[str, BreakerSnapshot] | None) -> dict[str, Any] | None:
        return None if found is None else {name: asdict(item) for name, item in found.items()}

    return {
        "shops": [
            asdict(s)
            | {"pharmacy_codes": sorted(s.pharmacy_codes)}
            | {"open_failures": status.open_of(s)}
            for s in status.shops
        ],
        "pipeline_breakers": breakers(status.pipeline_breakers),
        "shop_breakers": breakers(status.shop_breakers),
        "open_failures": None if status.open_failures is None else status.open_by_pipeline(),
        "pools": None
        if status.pools is None
        else {name: pool and asdict(pool) for name, pool in status.pools.items()},
        "deadlines": [asdict(item) for item in status.deadlines],
        "foreign_statuses": [asdict(item) for item in status.foreign],
        "away": status.away,
        "findings": findings_of(status),
    }


def as_tables(status: Status) -> Group:
    """The status as tables for a person."""
    shops = table(
        _("Documents (succeeded and failed: today)"),
        [
            *(code(_("pipeline")), code(_("shop")), number(_("pending"))),
            *(number(_("in flight"), 3), number(_("unconfirmed"), 4), number(_("failed"), 1)),
            *(number(_("succeeded"), 2), number(_("open failures"), 1)),
            *(code(_("oldest pending"), 2), text(_("account"), 1), number(_("before cut-off"), 5)),
        ],
        [
            (
                *(s.pipeline, s.shop, s.pending, s.in_flight, s.unconfirmed),
                *(_bad(s.failed), s.succeeded, _bad(_or_unknown(status.open_of(s)))),
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
        [
            *(code(_("pipeline")), text(_("breaker")), text(_("workers online"))),
            number(_("open failures")),
        ],
        [
            (
                name,
                _state((status.pipeline_breakers or {}).get(name)),
                _workers(pools.get(name)) if status.pools is not None else "?",
                _bad(_or_unknown(status.open_by_pipeline().get(name))),
            )
            for name in PIPELINES
        ],
    )
    findings = findings_of(status)
    foreign = [f"{foreign_text(item)}; {foreign_todo(item)}" for item in status.foreign]
    verdict = (
        toned("\n".join(findings), Tone.BAD)
        if findings
        else toned(_("nothing needs attention"), Tone.GOOD)
    )
    return Group(shops, pipelines, verdict, *map(Text, foreign))


def _or_unknown(count: int | None) -> int | str:
    return "?" if count is None else count


def _bad(count: int | str) -> Text:
    return toned(count, Tone.BAD if count else None)


_TONES = {BreakerState.CLOSED: Tone.GOOD, BreakerState.HALF_OPEN: Tone.WAITING}


def _state(snapshot: BreakerSnapshot | None) -> Text:
    if snapshot is None:
        return toned("?", Tone.WAITING)
    shown = breaker(snapshot, current_language(), datetime.now(UTC))
    return toned(shown, _TONES.get(snapshot.state, Tone.BAD))


def _workers(pool: PoolState | None) -> str:
    if pool is None:
        return _("no such pool")
    return _("none needed") if pool.workers is None else str(pool.workers)


def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="refresh the display until Ctrl-C")
    ] = False,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two refreshes")] = 5.0,
    json: AsJson = False,
) -> None:
    """State of each shop's documents, and what needs attention. Exit status 1 if anything does."""
    if watch and json:
        raise typer.BadParameter(_("--watch and --json cannot be combined"))
    run(_watch(every) if watch else _show(json), as_json=json)


async def _show(json: bool) -> int:
    async with open_operator() as operator:
        found = await read_status(operator, read_pools)
    if json:
        print_json(as_json(found))
    else:
        console().print(as_tables(found))
    return ATTENTION if findings_of(found) else 0


async def _watch(every: float) -> int:
    async with open_operator() as operator:
        with Live(console=console(), auto_refresh=False, screen=False) as live:
            while True:
                shown: Any
                try:
                    shown = as_tables(await read_status(operator, read_pools))
                except SyncError as error:
                    shown = Text(_("error: {text}", text=error))
                stamp = Text(time.strftime("%H:%M:%S"), style="dim")
                live.update(Group(shown, stamp), refresh=True)
                await asyncio.sleep(every)
