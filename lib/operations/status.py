"""The states of all documents, and what blocks them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from lib.accounts import AccountDirectory
from lib.errors import SyncError
from lib.models import comparable
from lib.operations.operator import Operator
from lib.pipelines import PIPELINES, SCHEDULER_POOL, PoolState
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.counts import ShopSummary
from lib.source.deadlines import DeadlineCount, bounds_of
from lib.source.inspection import ForeignStatus

#: Reads the work pools with these names; None for a pool that does not exist.
ReadPools = Callable[[list[str]], Awaitable[dict[str, PoolState | None]]]


@dataclass(slots=True)
class Status:
    """The states of the documents of each shop, and what blocks them.

    Attributes:
        shop_breakers: by shop, the breaker with the most severe state.
        open_failures: failure records without a decision, by pipeline and shop; None: not known.
        pools: None: not known; a pool that is None does not exist.
        deadlines: documents that are late, or soon will be.
        foreign: documents with a status of other software; this service does not change them.
        away: stores that could not be read, with the text of the error.
    """

    shops: list[ShopSummary]
    pipeline_breakers: dict[str, BreakerSnapshot] | None = None
    shop_breakers: dict[str, BreakerSnapshot] | None = None
    open_failures: dict[tuple[str, str], int] | None = None
    pools: dict[str, PoolState | None] | None = None
    deadlines: list[DeadlineCount] = field(default_factory=list)
    foreign: list[ForeignStatus] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)

    def open_by_pipeline(self) -> dict[str, int]:
        """Failure records without a decision, of all shops together; empty if not known."""
        counts = dict.fromkeys(PIPELINES, 0)
        for (name, _shop), count in (self.open_failures or {}).items():
            counts[name] = counts.get(name, 0) + count
        return counts if self.open_failures is not None else {}

    def open_of(self, summary: ShopSummary) -> int | None:
        """Failure records without a decision of one pipeline and shop; None: not known."""
        if self.open_failures is None:
            return None
        return self.open_failures.get((summary.pipeline, summary.shop), 0)


class _CanonicalCodes:
    """One written form of each shop code: that of AccountShop, else the first one found."""

    def __init__(self, accounts: AccountDirectory) -> None:
        self._accounts = accounts
        self._first: dict[str, str] = {}

    def __call__(self, shop: str) -> str:
        return self._first.setdefault(comparable(shop), self._accounts.canonical_code(shop))


async def read_status(
    operator: Operator, read_pools: ReadPools | None = None, *, foreign: bool = True
) -> Status:
    """Reads all stores; unavailable ones are listed in `away`, and the others are still read.

    Args:
        foreign: look for foreign statuses too, which reads the statuses of all documents.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be read.
    """
    pipelines, counts = list(PIPELINES.values()), operator.source.counts
    canonical = _CanonicalCodes(operator.accounts)
    shops = [
        replace(summary, shop=canonical(summary.shop))
        for summary in await asyncio.to_thread(counts.shop_summaries, pipelines)
    ]
    status = Status(shops)
    if foreign:
        status.foreign = await asyncio.to_thread(counts.foreign_statuses, pipelines)
    alerts, now = operator.settings.alerts, await asyncio.to_thread(operator.source.now)
    bounds = [(pipeline, bounds_of(pipeline.name, alerts, now)) for pipeline in pipelines]
    status.deadlines = [
        replace(count, shop=canonical(count.shop))
        for count in await asyncio.to_thread(counts.deadlines, bounds)
    ]
    await _add_breakers(operator, status)
    try:
        found = await operator.failures.open_by_shop()
        status.open_failures = defaultdict(int)
        for (name, shop), count in found.items():
            status.open_failures[name, canonical(shop)] += count
    except SyncError as error:
        status.away["MongoDB"] = str(error)
    if read_pools is not None:
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
        status.away["Redis"] = "states of breakers are not known"
        return
    status.pipeline_breakers = {name: snapshots[breaker] for name, breaker in own.items()}
    status.shop_breakers = {
        shop: max((snapshots[name] for name in names), key=_severity)
        for shop, names in sorted(by_shop.items())
    }


def _severity(snapshot: BreakerSnapshot) -> int:
    order = (
        BreakerState.CLOSED,
        BreakerState.HALF_OPEN,
        BreakerState.OPEN,
        BreakerState.FORCED_OPEN,
    )
    return order.index(snapshot.state)
