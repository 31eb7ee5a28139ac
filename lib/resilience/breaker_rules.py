"""The rules of a breaker, as pure functions of its state, what happened, and the time.

             many documents fail, or a refusal          the cool-down is over
    closed -----------------------------------> open ------------------------> half open
      ^                                           ^                             |     |
      |                                           | the probes fail             |     |
      |                                           | (the cool-down doubles) ----+     |
      +----------------------- a call succeeds ---------------------------------------+

Many documents decide: a breaker opens when a number of distinct documents of distinct shops failed
within a window and none passed in between. If only one shop sends, its failures must continue for
some time instead. One failing document never opens it, however often it fails. While it is half
open, a few distinct documents are probes: the first success closes it, and it opens again only
when all of them failed. A document that failed before others passed is remembered: if it fails
again, that is its own failure.

A person can force it open: then no call passes until a person ends this. Meanwhile the breaker's
own state continues to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from lib.models import comparable

#: Failures are kept for a day, and for at most this many documents.
_REMEMBERED_SECONDS = 24 * 3600.0
_REMEMBERED = 100
#: A breaker that is no longer used, such as that of an old password, is deleted after this time.
_KEPT_SECONDS = 30 * 24 * 3600.0
_NAMED = 5
#: The number of probes grows to at most this multiple of the first number.
_MOST_PROBES = 10

Seconds = Annotated[float, Field(allow_inf_nan=False)]


class BreakerState(StrEnum):
    """What a breaker does with a call."""

    CLOSED = "closed"  # admits it
    OPEN = "open"  # refuses it
    HALF_OPEN = "half_open"  # admits a few as probes
    FORCED_OPEN = "forced_open"  # refuses it until a person ends this


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and for how long.

    Attributes:
        documents: distinct documents that must fail.
        shops: distinct shops they must belong to.
        window: seconds within which they must fail.
        one_shop_seconds: how long the failures of fewer shops must continue instead.
        cooldown, cooldown_max: seconds it stays open the first time, and at most.
        probes: distinct documents that may probe after the first cool-down; more after later ones.
        probe_seconds: how long to wait for the result of a probe.
        by_login: a refused login trips it, and one login shows whether the problem is over.
    """

    documents: int
    shops: int
    window: float
    one_shop_seconds: float
    cooldown: float
    cooldown_max: float
    probes: int
    probe_seconds: float
    by_login: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A document whose call failed in a way that may not be its own fault."""

    document: str
    shop: str
    first: Seconds = 0.0
    last: Seconds = 0.0
    #: Others passed since: the failure no longer counts for opening the breaker.
    cleared: bool = False
    #: Calls that began later passed: the next failure is the document's own.
    outlived: bool = False

    def is_of(self, document: str, shop: str) -> bool:
        return (self.document, self.shop) == (document, shop)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one breaker; times are in seconds by the clock of the store.

    Attributes:
        open_until: None while it is closed; open before this moment, half open after it.
        cooldown: length of the last cool-down since it was closed.
        openings: times it opened since it was closed.
        opened_at: when it opened, the first time since it was closed.
        reason: why it opened.
        tripped: it was opened by a refused login, not by documents.
        failures: documents that failed, the latest last.
        probes: for each running probe, when it is given up.
        closed_at: when it last closed.
        forced: a person forced it open, and why.
    """

    open_until: Seconds | None = None
    cooldown: Seconds = 0.0
    openings: int = 0
    opened_at: Seconds | None = None
    reason: str = ""
    tripped: bool = False
    failures: tuple[Failure, ...] = ()
    probes: tuple[Seconds, ...] = ()
    closed_at: Seconds | None = None
    forced: str | None = None

    def state(self, now: float) -> BreakerState:
        return self.inner_state(now) if self.forced is None else BreakerState.FORCED_OPEN

    def inner_state(self, now: float) -> BreakerState:
        """The state, ignoring a person's decision."""
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.open_until > now else BreakerState.HALF_OPEN

    @property
    def why(self) -> str:
        return self.reason if self.forced is None else self.forced

    @property
    def all_clear(self) -> bool:
        """Whether a success would change nothing."""
        return self.open_until is None and all(f.outlived for f in self.failures)

    def counted(self, window: float, now: float) -> list[Failure]:
        """Failures since the last success, and within the window."""
        return [f for f in self.failures if not f.cleared and now - f.last <= window]

    def failed_probes(self) -> list[Failure]:
        """Documents that failed since the breaker became half open."""
        return [f for f in self.failures if f.last >= (self.open_until or 0.0)]

    def probe_slots(self, limits: Limits, now: float) -> int:
        """Number of probes that may still begin while it is half open."""
        under_way = sum(until > now for until in self.probes)
        return self.all_probes(limits) - len(self.failed_probes()) - under_way

    def all_probes(self, limits: Limits) -> int:
        """Number of probes before it opens again; more each time, so that others get a turn."""
        if self.tripped:
            return 1  # after a refused login one call is enough, and more could lock the account
        return limits.probes * min(self.openings, _MOST_PROBES)

    def seconds_left(self, limits: Limits, now: float) -> float | None:
        """Seconds until a call may be admitted; None if only a person can end the pause."""
        match self.state(now):
            case BreakerState.FORCED_OPEN:
                return None
            case BreakerState.OPEN:
                return (self.open_until or now) - now
            case BreakerState.HALF_OPEN if self.probe_slots(limits, now) <= 0:
                return max(min(self.probes, default=now + limits.probe_seconds) - now, 0.001)
            case _:
                return 0.0

    def moved(self, seconds: float) -> Breaker:
        """The same state by a clock that is ahead by these seconds."""

        def move(moment: float | None) -> float | None:
            return None if moment is None else moment + seconds

        return replace(
            self,
            open_until=move(self.open_until),
            opened_at=move(self.opened_at),
            closed_at=move(self.closed_at),
            probes=tuple(until + seconds for until in self.probes),
            failures=tuple(
                replace(f, first=f.first + seconds, last=f.last + seconds) for f in self.failures
            ),
        )

    def kept_seconds(self, now: float) -> float | None:
        """Seconds after which the stored state expires; None: it does not expire."""
        if self.forced is not None:
            return None
        return max(self.open_until or now, now) - now + _KEPT_SECONDS


@dataclass(frozen=True, slots=True)
class Transition:
    """A breaker's change of state, returned to the one caller that caused it.

    Attributes:
        reason: why it opened; if it closed, why it had been open.
    """

    name: str
    old: BreakerState
    new: BreakerState
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker at one moment.

    Attributes:
        reason: why it is not closed.
        failures: documents that failed since the last success, within the window.
        failures_since_success: the same, without the limit of the window.
        failed_shops: shops of the documents that opened it or failed as probes.
        openings: times it opened since it was last closed.
        tripped: see `Breaker`.
        probe_slots: probes that may begin now, while it is half open.
        seconds_left: seconds until a call may be admitted; 0 if one may now, None if forced open.
        retry_delay: delay in seconds before documents that failed now are tried again; while it is
            closed, the time since the first failure without a success.
        open_for: seconds since it opened, also while it is half open; None while it is closed.
        closed_for: seconds since it last closed, None if it is not closed or never opened.
    """

    name: str
    state: BreakerState = BreakerState.CLOSED
    reason: str | None = None
    failures: int = 0
    failures_since_success: int = 0
    failed_shops: frozenset[str] = frozenset()
    openings: int = 0
    tripped: bool = False
    probe_slots: int = 0
    seconds_left: float | None = 0.0
    retry_delay: float = 0.0
    open_for: float | None = None
    closed_for: float | None = None


# ---------------------------------------------------------------- what happens to a breaker


def admit(
    breaker: Breaker, limits: Limits, now: float, document: str, shop: str
) -> tuple[Breaker, float | None]:
    """Admit or refuse a call; returns the breaker afterwards, and the seconds to wait if refused.

    While it is half open, a document that has failed as a probe is refused: others must decide.
    """
    left = breaker.seconds_left(limits, now)
    if left != 0.0 or breaker.inner_state(now) is not BreakerState.HALF_OPEN:
        return breaker, left
    known = next((f for f in breaker.failed_probes() if f.is_of(document, shop)), None)
    if known is not None and now - known.last < limits.cooldown:
        return breaker, limits.cooldown
    under_way = tuple(until for until in breaker.probes if until > now)
    return replace(breaker, probes=(*under_way, now + limits.probe_seconds)), 0.0


def succeed(breaker: Breaker, now: float, began: float) -> Breaker:
    """A call passed. While the breaker is open, it is ignored: it began before the opening."""
    if breaker.inner_state(now) is BreakerState.OPEN:
        return breaker
    # A call that was already running may have been answered before the other one failed: it
    # shows that the API is not down, but not that the failure is the document's own.
    failures = tuple(
        replace(f, cleared=True, outlived=f.outlived or f.last < began) for f in breaker.failures
    )
    return replace(close(breaker, now), failures=failures)


def fail(
    breaker: Breaker, limits: Limits, now: float, document: str, shop: str, reason: str
) -> Breaker:
    """A document's call failed in a way that may not be its own fault."""
    state = breaker.inner_state(now)
    if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and not breaker.probes):
        return breaker  # a call that began before it opened
    known = next((f for f in breaker.failures if f.is_of(document, shop)), None)
    first = now if known is None or known.outlived else known.first
    entry = Failure(document, shop, first, now)
    others = [f for f in breaker.failures if f is not known and now - f.last < _REMEMBERED_SECONDS]
    kept = (*others, entry)[-_REMEMBERED:]
    breaker = replace(breaker, failures=kept, probes=breaker.probes[1:])
    if state is BreakerState.HALF_OPEN:
        failed = breaker.failed_probes()
        enough = len(failed) >= breaker.all_probes(limits)
        return _open(breaker, limits, now, failed, reason) if enough else breaker
    if known is not None and known.outlived:
        return breaker
    counted = breaker.counted(limits.window, now)
    many = len(counted) >= limits.documents
    widely = len({comparable(f.shop) for f in counted}) >= limits.shops
    lasting = many and now - min(f.first for f in counted) >= limits.one_shop_seconds
    return _open(breaker, limits, now, counted, reason) if many and (widely or lasting) else breaker


def is_own(breaker: Breaker, document: str, shop: str) -> bool:
    """Whether a document's failure is its own: it failed before, and others passed since."""
    return any(f.outlived and f.is_of(document, shop) for f in breaker.failures)


def trip(breaker: Breaker, limits: Limits, now: float, reason: str) -> Breaker:
    """Open immediately; an open breaker is not changed."""
    if breaker.inner_state(now) is BreakerState.OPEN:
        return breaker
    return replace(_opened(breaker, limits, now, reason), tripped=limits.by_login)


def reset_cooldown(breaker: Breaker) -> Breaker:
    """A neutral call passed: even if documents fail, the next cool-down has its first length."""
    return replace(breaker, cooldown=0.0)


def release_probe(breaker: Breaker) -> Breaker:
    """A call ended without a result: another one may probe."""
    return replace(breaker, probes=breaker.probes[1:])


def close(breaker: Breaker, now: float) -> Breaker:
    """Close it and delete its failures; if a person forced it open, that stays."""
    closed_at = breaker.closed_at if breaker.open_until is None else now
    return Breaker(closed_at=closed_at, forced=breaker.forced)


def snapshot_of(breaker: Breaker, name: str, limits: Limits, now: float) -> BreakerSnapshot:
    """A snapshot of the breaker."""
    state, inner = breaker.state(now), breaker.inner_state(now)
    closed = inner is BreakerState.CLOSED
    unpassed = [f for f in breaker.failures if not f.cleared]
    if inner is BreakerState.OPEN:
        retry_delay = (breaker.open_until or now) - now
    elif closed:
        retry_delay = min(now - min((f.first for f in unpassed), default=now), limits.cooldown_max)
    else:
        retry_delay = _next_cooldown(breaker, limits)
    return BreakerSnapshot(
        name,
        state,
        None if state is BreakerState.CLOSED else breaker.why,
        failures=len(breaker.counted(limits.window, now)),
        failures_since_success=len(unpassed),
        failed_shops=frozenset(f.shop for f in unpassed),
        openings=breaker.openings,
        tripped=breaker.tripped,
        probe_slots=max(breaker.probe_slots(limits, now), 0)
        if inner is BreakerState.HALF_OPEN
        else 0,
        seconds_left=breaker.seconds_left(limits, now),
        retry_delay=retry_delay,
        open_for=None if breaker.opened_at is None else now - breaker.opened_at,
        closed_for=now - breaker.closed_at if closed and breaker.closed_at is not None else None,
    )


def _open(
    breaker: Breaker, limits: Limits, now: float, failed: Sequence[Failure], reason: str
) -> Breaker:
    shops = {f.shop for f in failed}
    named = ", ".join(f"{f.document} ({f.shop})" for f in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    counts = f"{_count(len(failed), 'document')} of {_count(len(shops), 'shop')} failed"
    return _opened(breaker, limits, now, f"{counts}, none succeeded: {named}{more}; last: {reason}")


def _opened(breaker: Breaker, limits: Limits, now: float, reason: str) -> Breaker:
    cooldown = _next_cooldown(breaker, limits)
    return replace(
        breaker,
        open_until=now + cooldown,
        cooldown=cooldown,
        openings=breaker.openings + 1,
        opened_at=now if breaker.opened_at is None else breaker.opened_at,
        reason=reason,
        tripped=False,
        probes=(),
    )


def _next_cooldown(breaker: Breaker, limits: Limits) -> float:
    return min(max(limits.cooldown, 2 * breaker.cooldown), limits.cooldown_max)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
