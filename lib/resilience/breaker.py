"""Breakers: after failures calls stop for a while, then one call shows whether they may go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio import Redis

from lib.errors import Paused
from lib.resilience.breaker_rules import (
    BreakerSnapshot,
    BreakerState,
    Change,
    LocalBreakers,
    Transition,
)
from lib.resilience.redis_fallback import Degraded, degraded_for, read_script
from lib.settings import BreakerSettings

logger = logging.getLogger("dqg.breaker")


@dataclass(frozen=True, slots=True)
class Permit:
    """A call that was let through, for `Breakers.succeeded`.

    Attributes:
        names: the breakers it passed.
        spotless: none of them had anything that its success would change.
        troubles: how many troubles this process had reported before.
    """

    names: tuple[str, ...]
    spotless: bool = False
    troubles: int = 0


class _Backend(Protocol):
    """Where breakers live. Every method is atomic over all names it gets."""

    async def admit(self, names: Sequence[str], probe: float) -> tuple[list[BreakerSnapshot], bool]:
        """Those that refuse the call, none where probe permits were taken as needed; and whether
        all are closed without a failure.
        """
        ...

    async def change(self, names: Sequence[str], change: Change) -> list[Transition]: ...

    async def snapshot(self, names: Sequence[str]) -> list[BreakerSnapshot]: ...


def pipeline_breaker(pipeline: str) -> str:
    """Name of the breaker that all calls of a pipeline pass."""
    return f"pipeline:{pipeline}"


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
        self._local = LocalBreakers(monotonic)
        self._backend: _Backend = (
            self._local if redis is None else _RedisBackend(redis, f"{prefix}:breaker:")
        )
        self._degraded = degraded or degraded_for(redis)
        self._troubles = 0

    async def admit(self, names: Sequence[str]) -> Permit:
        """Let a call through all of these breakers or none.

        Where a probe is due this call is the probe: end it with `succeeded`, `failed`, `trip` or
        `release_probe`, else the next one waits until its permit expires.

        Raises:
            Paused: one of them refuses; `retry_after` is None where only a person can tell.
        """
        names, probe = _unique(names), self._settings.probe_seconds
        troubles = self._troubles

        async def shared() -> tuple[list[BreakerSnapshot], bool]:
            refusals, spotless = await self._backend.admit(names, probe)
            if self._backend is not self._local:
                self._local.learn(names, refusals)
            return refusals, spotless

        refusals, spotless = await self._degraded.run(
            shared, lambda: self._local.admit(names, probe)
        )
        if refusals:
            lefts = [refusal.seconds_left for refusal in refusals]
            raise Paused(
                "; ".join(f"{r.name} is {r.state.value}: {r.reason}" for r in refusals),
                retry_after=None if None in lefts else max(left or 0.0 for left in lefts),
            )
        return Permit(tuple(names), spotless, troubles)

    async def succeeded(self, permit: Permit) -> tuple[Transition, ...]:
        """A call got an answer: a probe closes its breaker, and counted failures are forgotten.

        Where the call saw nothing to forget, and this process has had no trouble since, Redis is
        not asked: that is one of three round trips of a document. Failures that another process
        counts meanwhile are forgotten by the next call that sees them.
        """
        if permit.spotless and permit.troubles == self._troubles:
            return ()
        return await self._change(permit.names, Change("succeeded"))

    async def failed(self, name: str, reason: str) -> Transition | None:
        """A call failed in a passing way: counts, opens at the limit, and again after a probe."""
        settings = self._settings
        change = Change("failed", reason, settings.failures, settings.pause, settings.pause_max)
        return await self._trouble(name, change)

    async def trip(
        self, name: str, reason: str, pause: float, pause_max: float
    ) -> Transition | None:
        """Open at once; one that is open already stays as it is.

        Each time it opens without having closed in between, the pause doubles up to `pause_max`.
        """
        change = Change("trip", reason, pause=pause, pause_max=pause_max)
        return await self._trouble(name, change)

    async def release_probe(self, names: Sequence[str]) -> None:
        """A call ended without showing anything: the next one may be the probe. May be repeated."""
        await self._change(names, Change("release_probe"))

    async def reset(self, name: str) -> Transition | None:
        """Close it and forget its failures; a hold stays. May be repeated."""
        return _only(await self._change([name], Change("reset")))

    async def hold(self, name: str, reason: str) -> Transition | None:
        """Pause by hand, without an end. May be repeated, the last reason counts."""
        return _only(await self._change([name], Change("hold", reason)))

    async def unhold(self, name: str) -> Transition | None:
        """End a pause by hand; what the breaker itself decided stays. May be repeated."""
        return _only(await self._change([name], Change("unhold")))

    async def snapshot(self, names: Sequence[str]) -> dict[str, BreakerSnapshot]:
        """All of these as they are now, in one round trip."""
        names = _unique(names)
        rows = await self._degraded.run(
            lambda: self._backend.snapshot(names), lambda: self._local.snapshot(names)
        )
        return {row.name: row for row in rows}

    async def _trouble(self, name: str, change: Change) -> Transition | None:
        try:
            return _only(await self._change([name], change))
        finally:
            # Afterwards: a call let through before the change was there did not see it.
            self._troubles += 1

    async def _change(self, names: Sequence[str], change: Change) -> tuple[Transition, ...]:
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

    async def admit(self, names: Sequence[str], probe: float) -> tuple[list[BreakerSnapshot], bool]:
        rows, spotless = await self._run(names, "admit", _milliseconds(probe)) or ((), 1)
        refusals = [
            BreakerSnapshot(
                names[index - 1], BreakerState(state), reason, seconds_left=_seconds(left)
            )
            for index, state, reason, left in rows
        ]
        return refusals, bool(spotless)

    async def change(self, names: Sequence[str], change: Change) -> list[Transition]:
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
