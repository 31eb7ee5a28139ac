"""Breakers: after failures calls stop for a while, then one call shows whether they may go on.

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

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from redis.asyncio import Redis

from lib.errors import Paused
from lib.redis_store import Degraded, degraded_for, read_script
from lib.settings import BreakerSettings

logger = logging.getLogger("dqg.breaker")


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


class _Backend(Protocol):
    """Where breakers live. Every method is atomic over all names it gets."""

    async def admit(self, names: Sequence[str], probe: float) -> list[BreakerSnapshot]:
        """Those that refuse the call; none means that probe permits were taken where needed."""
        ...

    async def change(self, names: Sequence[str], change: _Change) -> list[Transition]: ...

    async def snapshot(self, names: Sequence[str]) -> list[BreakerSnapshot]: ...


@dataclass(frozen=True, slots=True)
class _Change:
    """One of the changes that `breaker.lua` knows, with what it needs."""

    kind: str
    reason: str = ""
    threshold: int = 0
    pause: float = 0.0
    pause_max: float = 0.0


class Breakers:
    """The breakers of all processes, by name (`account:…`, `pipeline:…`).

    While Redis is away each process keeps its own, and knows of the others only what it saw refuse
    a call before.

    Args:
        redis: None keeps them in this process.
        prefix: begins every key.
        monotonic: clock of the breakers kept in this process; Redis uses its server's.
    """

    def __init__(
        self,
        redis: Redis | None,
        prefix: str,
        settings: BreakerSettings,
        *,
        degraded: Degraded | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._local = _LocalBackend(monotonic)
        self._backend: _Backend = (
            self._local if redis is None else _RedisBackend(redis, f"{prefix}:breaker:")
        )
        self._degraded = degraded or degraded_for(redis)

    async def admit(self, names: Sequence[str]) -> None:
        """Let a call through all of these breakers or none.

        Where a probe is due this call is the probe: end it with `succeeded`, `failed`, `trip` or
        `release_probe`, else the next one waits until its permit expires.

        Raises:
            Paused: one of them refuses; `retry_after` is None where only a person can tell.
        """
        names, probe = _unique(names), self._settings.probe_seconds

        async def shared() -> list[BreakerSnapshot]:
            refusals = await self._backend.admit(names, probe)
            if self._backend is not self._local:
                self._local.learn(names, refusals)
            return refusals

        refusals = await self._degraded.run(shared, lambda: self._local.admit(names, probe))
        if refusals:
            lefts = [refusal.seconds_left for refusal in refusals]
            raise Paused(
                "; ".join(f"{r.name} is {r.state.value}: {r.reason}" for r in refusals),
                retry_after=None if None in lefts else max(left or 0.0 for left in lefts),
            )

    async def succeeded(self, names: Sequence[str]) -> tuple[Transition, ...]:
        """A call got an answer: a probe closes its breaker, and counted failures are forgotten."""
        return await self._change(names, _Change("succeeded"))

    async def failed(self, name: str, reason: str) -> Transition | None:
        """A call failed in a passing way: counts, opens at the limit, and again after a probe."""
        settings = self._settings
        change = _Change("failed", reason, settings.failures, settings.pause, settings.pause_max)
        return _only(await self._change([name], change))

    async def trip(
        self, name: str, reason: str, pause: float, pause_max: float
    ) -> Transition | None:
        """Open at once; one that is open already stays as it is.

        Each time it opens without having closed in between, the pause doubles up to `pause_max`.
        """
        change = _Change("trip", reason, pause=pause, pause_max=pause_max)
        return _only(await self._change([name], change))

    async def release_probe(self, names: Sequence[str]) -> None:
        """A call ended without showing anything: the next one may be the probe. May be repeated."""
        await self._change(names, _Change("release_probe"))

    async def reset(self, name: str) -> Transition | None:
        """Close it and forget its failures; a hold stays. May be repeated."""
        return _only(await self._change([name], _Change("reset")))

    async def hold(self, name: str, reason: str) -> Transition | None:
        """Pause by hand, without an end. May be repeated, the last reason counts."""
        return _only(await self._change([name], _Change("hold", reason)))

    async def unhold(self, name: str) -> Transition | None:
        """End a pause by hand; what the breaker itself decided stays. May be repeated."""
        return _only(await self._change([name], _Change("unhold")))

    async def snapshot(self, names: Sequence[str]) -> dict[str, BreakerSnapshot]:
        """All of these as they are now, in one round trip."""
        names = _unique(names)
        rows = await self._degraded.run(
            lambda: self._backend.snapshot(names), lambda: self._local.snapshot(names)
        )
        return {row.name: row for row in rows}

    async def _change(self, names: Sequence[str], change: _Change) -> tuple[Transition, ...]:
        names = _unique(names)
        transitions = await self._degraded.run(
            lambda: self._backend.change(names, change), lambda: self._local.change(names, change)
        )
        for transition in transitions:
            logger.log(
                logging.INFO if transition.new is BreakerState.CLOSED else logging.WARNING,
                "%s is now %s: %s",
                transition.name,
                transition.new.value,
                transition.reason,
                extra={"action": f"breaker_{transition.new.value}", "breaker": transition.name},
            )
        return tuple(transitions)


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _only(transitions: tuple[Transition, ...]) -> Transition | None:
    return transitions[0] if transitions else None


class _RedisBackend:
    """Runs `breaker.lua`. Raises the driver's errors."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._script = redis.register_script(read_script("breaker.lua"))
        self._prefix = prefix

    async def admit(self, names: Sequence[str], probe: float) -> list[BreakerSnapshot]:
        rows = await self._run(names, "admit", _milliseconds(probe))
        return [
            BreakerSnapshot(
                names[index - 1], BreakerState(state), reason, seconds_left=_seconds(left)
            )
            for index, state, reason, left in rows
        ]

    async def change(self, names: Sequence[str], change: _Change) -> list[Transition]:
        pauses = (_milliseconds(change.pause), _milliseconds(change.pause_max))
        rows = await self._run(names, change.kind, change.reason, change.threshold, *pauses)
        return [
            Transition(names[index - 1], BreakerState(old), BreakerState(new), reason)
            for index, old, new, reason in rows
        ]

    async def snapshot(self, names: Sequence[str]) -> list[BreakerSnapshot]:
        rows = await self._run(names, "snapshot")
        return [
            BreakerSnapshot(
                name,
                BreakerState(state),
                None if state == BreakerState.CLOSED else reason,
                failures,
                openings,
                _seconds(left),
                _seconds(closed_for),
            )
            for name, (state, reason, failures, openings, left, closed_for) in zip(
                names, rows, strict=True
            )
        ]

    async def _run(self, names: Sequence[str], command: str, *arguments: str | int) -> Any:
        if not names:
            return []
        keys = [self._prefix + name for name in names]
        return await self._script(keys=keys, args=[command, *arguments])


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


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

    def open(self, change: _Change, now: float) -> None:
        self.pause = min(max(change.pause, 2 * self.pause), change.pause_max)
        self.until, self.probe = now + self.pause, None
        self.openings += 1
        self.reason = change.reason

    def close(self, now: float) -> None:
        if self.until is not None:
            self.closed = now
        self.until = self.probe = self.reason = None
        self.pause, self.failures, self.openings = 0.0, 0, 0

    def apply(self, change: _Change, now: float) -> None:
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


class _LocalBackend:
    """The rules of `breaker.lua` for one process."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._breakers: dict[str, _Breaker] = {}

    async def admit(self, names: Sequence[str], probe: float) -> list[BreakerSnapshot]:
        now = self._monotonic()
        seen = [self._look(name, now) for name in names]
        refusals = [s for s in seen if s.seconds_left != 0]
        if not refusals:
            for s in seen:
                if s.state is BreakerState.HALF_OPEN:
                    self._breakers[s.name].probe = now + probe
        return refusals

    async def change(self, names: Sequence[str], change: _Change) -> list[Transition]:
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
