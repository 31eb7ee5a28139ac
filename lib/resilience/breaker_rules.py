"""The rules of a breaker, and breakers kept in this process.

           failures in a row, or a refusal            the pause is over
    closed -----------------------------------> open ------------------> half open
      ^                                           ^                       |      |
      |                                           | the probe fails       |      |
      |                                           | (pause doubles) ------+      |
      +--------------------- the probe succeeds ---------------------------------+

A breaker can also be held by hand: then nothing passes until it is given free again, and the
state underneath goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """What a breaker does with a call."""

    CLOSED = "closed"  # lets it through
    OPEN = "open"  # refuses it
    HALF_OPEN = "half_open"  # lets one through as a probe
    HELD = "held"  # refuses it until a person gives it free


@dataclass(frozen=True, slots=True)
class Transition:
    """A breaker's change of state, returned to the one caller that caused it.

    Attributes:
        reason: why it opened or is held; of one that closed, why it had been open.
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
        failures: transient failures in a row.
        openings: times it opened since it was last closed.
        seconds_left: until a call may be let through; 0 where one may now, None while held.
        closed_for: seconds since it last closed, None where it is not closed or never opened.
    """

    name: str
    state: BreakerState = BreakerState.CLOSED
    reason: str | None = None
    failures: int = 0
    openings: int = 0
    seconds_left: float | None = 0.0
    closed_for: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One of the changes that `breaker.lua` knows, with what it needs."""

    kind: str
    reason: str = ""
    threshold: int = 0
    pause: float = 0.0
    pause_max: float = 0.0


@dataclass(slots=True)
class _Breaker:
    """One breaker of this process; fields as in `breaker.lua`, times in seconds."""

    until: float | None = None
    probe: float | None = None
    pause: float = 0.0
    failures: int = 0
    openings: int = 0
    reason: str | None = None
    closed: float | None = None
    held: str | None = None

    def inner_state(self, now: float) -> BreakerState:
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.until > now else BreakerState.HALF_OPEN

    def state(self, now: float) -> BreakerState:
        return self.inner_state(now) if self.held is None else BreakerState.HELD

    def why(self) -> str | None:
        return self.reason if self.held is None else self.held

    def seconds_left(self, now: float) -> float | None:
        if self.held is not None:
            return None
        return max((self.until or now) - now, (self.probe or now) - now, 0.0)

    def open(self, change: Change, now: float) -> None:
        self.pause = min(max(change.pause, 2 * self.pause), change.pause_max)
        self.until, self.probe = now + self.pause, None
        self.openings += 1
        self.reason = change.reason

    def close(self, now: float) -> None:
        if self.until is not None:
            self.closed = now
        self.until = self.probe = self.reason = None
        self.pause, self.failures, self.openings = 0.0, 0, 0

    def apply(self, change: Change, now: float) -> None:
        before = self.inner_state(now)
        match change.kind:
            case "succeeded":
                if before is not BreakerState.OPEN:
                    self.close(now)
            case "failed":
                probed = before is BreakerState.HALF_OPEN and self.probe is not None
                if probed or before is BreakerState.CLOSED:
                    self.failures += 1
                    if probed or self.failures >= change.threshold:
                        self.open(change, now)
            case "trip":
                if before is not BreakerState.OPEN:
                    self.open(change, now)
            case "release_probe":
                self.probe = None
            case "reset":
                self.close(now)
            case "hold":
                self.held = change.reason
            case "unhold":
                self.held = None


class LocalBreakers:
    """The rules of `breaker.lua` for one process."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._breakers: dict[str, _Breaker] = {}

    async def admit(self, names: Sequence[str], probe: float) -> tuple[list[BreakerSnapshot], bool]:
        now = self._monotonic()
        seen = [self._look(name, now) for name in names]
        spotless = all(s.state is BreakerState.CLOSED and not s.failures for s in seen)
        refusals = [s for s in seen if s.seconds_left != 0]
        if not refusals:
            for s in seen:
                if s.state is BreakerState.HALF_OPEN:
                    self._breakers[s.name].probe = now + probe
        return refusals, spotless

    async def change(self, names: Sequence[str], change: Change) -> list[Transition]:
        now = self._monotonic()
        transitions = []
        for name in names:
            breaker = self._breakers.setdefault(name, _Breaker())
            before, why_before = breaker.state(now), breaker.why()
            breaker.apply(change, now)
            after = breaker.state(now)
            if after is not before:
                why = why_before if after is BreakerState.CLOSED else breaker.why()
                transitions.append(Transition(name, before, after, why or ""))
        return transitions

    async def snapshot(self, names: Sequence[str]) -> list[BreakerSnapshot]:
        now = self._monotonic()
        return [self._look(name, now) for name in names]

    def learn(self, names: Sequence[str], refusals: Sequence[BreakerSnapshot]) -> None:
        """Takes over what Redis has just said, for the time Redis may be away."""
        now = self._monotonic()
        for name in names:
            self._breakers.pop(name, None)
        for refusal in refusals:
            self._breakers[refusal.name] = _Breaker(
                held=refusal.reason if refusal.state is BreakerState.HELD else None,
                until=None if refusal.seconds_left is None else now + refusal.seconds_left,
                reason=refusal.reason,
            )

    def _look(self, name: str, now: float) -> BreakerSnapshot:
        breaker = self._breakers.get(name, _Breaker())
        closed = breaker.inner_state(now) is BreakerState.CLOSED
        return BreakerSnapshot(
            name,
            breaker.state(now),
            breaker.why(),
            breaker.failures,
            breaker.openings,
            breaker.seconds_left(now),
            now - breaker.closed if closed and breaker.closed is not None else None,
        )
