"""How many documents a pipeline may claim now, in which batches, and from which shops."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from lib.alerts.conditions import ShopPharmacyState
from lib.models import PipelineSummary
from lib.pipelines import Pipeline, PoolState
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.services import Services
from lib.settings import BreakerSettings, Granularity, SyncSettings
from lib.sync.outcomes import CRASHES_ALONE
from lib.sync.probes import Reach, is_due, probe_platform

#: Documents claimed together after one, two and more holders vanished with them: a document that
#: crashes its process is claimed in ever smaller batches, until it is alone.
_TOGETHER = (50, 8, 1)
#: The number of documents that ended in this time shows how fast they arrive.
_LAST_MINUTE = timedelta(minutes=1)
#: Crashes after which a document is alone in its batch.
ALONE_AFTER = len(_TOGETHER)
#: Crashes after which a document is set aside: in the last of them it was alone.
SET_ASIDE_AT = ALONE_AFTER + CRASHES_ALONE


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What `orchestrate` may claim for one pipeline in this round.

    Attributes:
        limits: sizes of the batches to claim, one batch run per size.
        suspects: one batch per entry, of documents with this number of vanished holders.
        granularity: how the documents of these batches become runs.
        paused_shops: shops whose account's breaker is not closed: left out of the batches.
        avoided_shops: shops whose documents have failed: other shops' documents are claimed first.
        probe_shops: paused shops whose documents show whether their account is still refused.
        note: why less than usual is claimed; empty if there is no such reason.
        accounts: the breaker states of the paused shops' accounts.
        probing: claim first what was not tried for the longest time, not what is oldest.
    """

    limits: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()
    granularity: Granularity = Granularity.FLOW
    paused_shops: frozenset[str] = frozenset()
    avoided_shops: frozenset[str] = frozenset()
    probe_shops: frozenset[str] = frozenset()
    note: str = ""
    accounts: tuple[ShopPharmacyState, ...] = ()
    probing: bool = False


async def plan_claims(services: Services, pipeline: Pipeline, pool: PoolState) -> ClaimPlan:
    """Read breakers and backlog, and probe the API if it may be down; claims nothing itself.

    The backlog is counted only if something may be claimed: with many documents that takes long,
    and a plan is made every few seconds while any are due.

    Raises:
        StoreUnavailable: the source database is unavailable.
    """
    shops = await asyncio.to_thread(services.source.counts.pending_shops, pipeline)
    names = {
        shop.code: services.accounts.breaker_name(shop.code, shop.pharmacy_code) for shop in shops
    }
    own = pipeline_breaker(pipeline.name)
    snapshots = await services.breakers.snapshot([own, *names.values()])
    if _may_be_down(snapshots[own]):
        await _ask_platform(services, pipeline, own)
        snapshots |= await services.breakers.snapshot([own])
    paused = sum(snapshots[name].state is not BreakerState.CLOSED for name in names.values())
    services.metrics.breakers_read(pipeline.name, snapshots[own].state.value, paused)
    breakers = {shop: snapshots[name] for shop, name in names.items()}
    sync, counts = services.settings.sync, services.source.counts
    summary = PipelineSummary(
        pipeline.name, batches=await asyncio.to_thread(counts.batches, pipeline)
    )
    if _may_claim(summary, pool, snapshots[own], breakers, sync):
        (summary,) = await asyncio.to_thread(
            counts.summary, [pipeline], finished_within=_LAST_MINUTE
        )
    plan = plan_from(
        summary,
        pool,
        breaker=snapshots[own],
        shops=breakers,
        sync=sync,
        settings=services.settings.breaker,
    )
    states = (ShopPharmacyState((s.code, s.pharmacy_code), snapshots[names[s.code]]) for s in shops)
    return replace(plan, accounts=tuple(s for s in states if s.place[0] in plan.paused_shops))


async def _ask_platform(services: Services, pipeline: Pipeline, breaker: str) -> None:
    """Probe the API by neutral calls first, so that no document is needed for it."""
    match await probe_platform(services, pipeline):
        case Reach.DOWN:
            why = "look-ups of accepted documents fail as well"
            services.metrics.breakers_changed(await services.breakers.trip(breaker, why))
        case Reach.UP:
            await services.breakers.reset_cooldown(breaker)


def plan_from(
    summary: PipelineSummary,
    pool: PoolState,
    *,
    breaker: BreakerSnapshot,
    shops: dict[str, BreakerSnapshot],
    sync: SyncSettings,
    settings: BreakerSettings,
) -> ClaimPlan:
    """The plan for the given states. Pure.

    Args:
        summary: its finished documents are those of the last minute.
    """
    paused = frozenset(s for s, b in shops.items() if b.state is not BreakerState.CLOSED)
    probes = frozenset(s for s, b in shops.items() if _is_probed(b))
    reasons = [f"{shop} ({shops[shop].reason})" for shop in sorted(paused)]
    note = f"paused: {', '.join(reasons)}" if reasons else ""
    # Few documents may be ready because they arrive steadily, not because few arrive.
    granularity, largest = _batch_kind(summary.ready + summary.succeeded + summary.failed, sync)
    free = _free_batches(summary, pool, sync)
    refusal = pool.refusal or _refusal_of(breaker)
    if refusal is not None:
        return ClaimPlan((), (), granularity, paused, note=_joined(refusal, note))
    if breaker.state is BreakerState.HALF_OPEN:
        slots = _probe_slots(breaker, summary)
        limits: tuple[int, ...] = (slots,) if free > 0 and slots > 0 else ()
        note = _joined(f"probing after: {breaker.reason}", note)
        return ClaimPlan(
            limits, (), granularity, paused, breaker.failed_shops, note=note, probing=True
        )
    if breaker.closed_for is not None and breaker.closed_for < settings.ramp:
        # The API has just recovered: our own backlog may have caused the outage.
        largest = max(1, int(largest * breaker.closed_for / settings.ramp))
        free = min(free, 1)
        note = _joined("resuming slowly", note)
    suspects = _suspect_batches(summary, free)
    limits = batch_sizes(summary.ready - sum(summary.suspects), free - len(suspects), largest)
    if free <= 0:
        probes = frozenset()
    return ClaimPlan(limits, suspects, granularity, paused, probe_shops=probes, note=note)


def batch_sizes(ready: int, free: int, largest: int) -> tuple[int, ...]:
    """Splits the ready documents evenly over as few batches as needed, at most `free`."""
    count = min(free, math.ceil(max(ready, 0) / largest))
    if count <= 0:
        return ()
    share, rest = divmod(min(ready, count * largest), count)
    return tuple(share + (n < rest) for n in range(count))


def suspects_together(crashes: int) -> int:
    """How many documents with this many vanished holders may be claimed together."""
    return _TOGETHER[min(crashes, ALONE_AFTER) - 1]


def claim_bounds(crashes: int) -> tuple[int, int]:
    """Range of crashes to claim in one batch; documents to be set aside are not in it."""
    return crashes, crashes if crashes < ALONE_AFTER else SET_ASIDE_AT - 1


def _suspect_batches(summary: PipelineSummary, free: int) -> tuple[int, ...]:
    """Batches of documents that may have crashed their process, by their number of crashes.

    While other documents wait, these get at most half of the free batches, but at least one.
    """
    if summary.ready > sum(summary.suspects):
        free = math.ceil(free / 2)
    wanted = [
        crashes
        for crashes, ready in enumerate(summary.suspects, start=1)
        for _ in range(math.ceil(ready / suspects_together(crashes)))
    ]
    return tuple(wanted[: max(free, 0)])


@dataclass(slots=True)
class BatchDelay:
    """Collects documents that arrive slowly, so that they do not become one batch run each.

    The first due documents are claimed at once, the next ones after some time.

    Attributes:
        seconds: minimum time between two batches of a pipeline that are not full.
        batch_size: with this many due documents the pipeline is claimed at once.
    """

    seconds: float
    batch_size: int
    _claimed_at: dict[str, float] = field(default_factory=dict)

    def due(self, due: Mapping[str, int], now: float) -> set[str]:
        """The pipelines to claim for now, given the number of due documents of each.

        Args:
            now: seconds on a monotonic clock.
        """
        ripe = {
            pipeline
            for pipeline, documents in due.items()
            if documents >= self.batch_size
            or (documents and now - self._claimed_at.get(pipeline, -math.inf) >= self.seconds)
        }
        self._claimed_at |= dict.fromkeys(ripe, now)
        return ripe


def _may_claim(
    summary: PipelineSummary,
    pool: PoolState,
    breaker: BreakerSnapshot,
    shops: Mapping[str, BreakerSnapshot],
    sync: SyncSettings,
) -> bool:
    """Whether anything may be claimed at all, however much is pending in these shops."""
    if pool.refusal or _refusal_of(breaker) or _free_batches(summary, pool, sync) <= 0:
        return False
    if breaker.state is BreakerState.HALF_OPEN and not _probe_slots(breaker, summary):
        return False
    return any(b.state is BreakerState.CLOSED or _is_probed(b) for b in shops.values())


def _probe_slots(breaker: BreakerSnapshot, summary: PipelineSummary) -> int:
    """Free slots for probes; 0 while a batch runs: it will probe, or the breaker refuses it."""
    return 0 if summary.batches else breaker.probe_slots


def _is_probed(account: BreakerSnapshot) -> bool:
    """Whether documents probe the account.

    A refused login is probed by a login (`lib.sync.probes`), which needs no batch.
    """
    return is_due(account) and not account.tripped


def _batch_kind(documents: int, sync: SyncSettings) -> tuple[Granularity, int]:
    granularity = sync.granularity_for(documents)
    if granularity is Granularity.FLOW:
        return granularity, sync.batch_size
    return granularity, sync.task_batch_size


def _free_batches(summary: PipelineSummary, pool: PoolState, sync: SyncSettings) -> int:
    bounds = [sync.batches_in_flight]
    if pool.concurrency_limit is not None:
        bounds.append(pool.concurrency_limit)
    return max(min(bounds) - summary.batches, 0)


def _may_be_down(breaker: BreakerSnapshot) -> bool:
    """Whether the API may be down: a few documents failed, too few to decide, or probes are due."""
    return is_due(breaker) or (breaker.state is BreakerState.CLOSED and breaker.failures > 0)


def _refusal_of(breaker: BreakerSnapshot) -> str | None:
    if breaker.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
        return f"{breaker.state.value}: {breaker.reason}"
    return None


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
