"""Breakers shared by all processes: the rules of `breaker_rules`, with the state in Redis.

There is one per account and one per pipeline. A call first asks both (`admit`) and gets a permit.
Its success is reported with the permit, its failure to the one breaker that it counts for
(`failed`, or `trip` for a refused login; `lib.sync.outcomes` decides which). A probe without a
result is released (`release_probe`).

A change is a compare-and-set: the state is read, the change is decided here, and it is written only
if Redis still has the state that was read; otherwise it is decided again. A call costs one round
trip when it is admitted, and none when it succeeds and its success changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from lib.errors import Paused
from lib.resilience import breaker_rules as rules
from lib.resilience.breaker_rules import (
    Breaker,
    BreakerSnapshot,
    BreakerState,
    Limits,
    Transition,
)
from lib.resilience.redis_fallback import RedisFallback, fallback_for, read_script
from lib.settings import BreakerSettings
from lib.words.language import Phrase

logger = logging.getLogger("dqg.breaker")

#: A change that conflicts this often with other changes is dropped; the next call reports again.
_TRIES = 100

Change = Callable[[Breaker, Limits, float], Breaker]


@dataclass(frozen=True, slots=True)
class Permit:
    """An admitted call, for `Breakers.succeeded`.

    Attributes:
        names: the breakers that admitted it.
        all_clear: its success would not change any of them.
        failure_epoch: how many failures this process had reported before.
        began: when it was admitted, by the clock of the store.
    """

    names: tuple[str, ...]
    all_clear: bool = False
    failure_epoch: int = 0
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class FailureResult:
    """The result of a reported failure.

    Attributes:
        own: the document failed before, and others passed since: this failure is its own.
    """

    transition: Transition | None = None
    own: bool = False


class _Store(Protocol):
    """Stores the states. `replace` changes all of them, or none if one differs from the read."""

    async def read(self, names: Sequence[str]) -> _Read: ...

    async def replace(self, read: _Read, new: Sequence[Breaker]) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """States at one moment, with the texts they were read from."""

    now: float
    names: Sequence[str]
    breakers: Sequence[Breaker]
    texts: Sequence[str]


def pipeline_breaker(pipeline: str) -> str:
    """Name of the breaker that all calls of a pipeline pass."""
    return f"pipeline:{pipeline}"


class Breakers:
    """The breakers of all processes, by name (`account:…`, `pipeline:…`).

    While Redis is unavailable, each process keeps separate breakers, starting with the last states
    that it read.

    Args:
        redis: None keeps them in this process.
        prefix: of every key in Redis.
        monotonic: clock of the breakers in this process; those in Redis use its server's clock.
    """

    def __init__(
        self,
        redis: Redis | None,
        prefix: str,
        settings: BreakerSettings,
        *,
        fallback: RedisFallback | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline, self._account = _pipeline_limits(settings), _account_limits(settings)
        self._local = _LocalStore(monotonic)
        self._shared: _Store | None = (
            None if redis is None else _RedisStore(redis, f"{prefix}:breaker:")
        )
        self._fallback = fallback or fallback_for(redis)
        self._failure_epoch = 0
        self._turn = asyncio.Lock()

    async def admit(self, names: Sequence[str], document: str = "", shop: str = "") -> Permit:
        """Admit a call about a document at all of these breakers, or at none.

        While one is half open, this call is a probe: end it with `succeeded`, `failed`, `trip` or
        `release_probe`, otherwise its place becomes free only after `probe_seconds`.

        Raises:
            Paused: one of them refuses; `retry_after` is None if only a person can end the pause.
        """
        epoch = self._failure_epoch
        refusals: list[tuple[BreakerSnapshot, float | None]] = []

        def decide(read: _Read) -> list[Breaker]:
            refusals.clear()
            admitted = []
            for name, breaker in zip(read.names, read.breakers, strict=True):
                limits = self._limits(name)
                after, left = rules.admit(breaker, limits, read.now, document, shop)
                admitted.append(after)
                if left != 0.0:
                    refusals.append((rules.snapshot_of(breaker, name, limits, read.now), left))
            return list(read.breakers) if refusals else admitted

        read, _ = await self._update(names, decide)
        if refusals:
            lefts = [left for _, left in refusals]
            raise Paused(
                Phrase(
                    "sending is paused: {why}",
                    why="; ".join(dict.fromkeys(r.reason or r.state.value for r, _ in refusals)),
                ),
                retry_after=None if None in lefts else max(left or 0.0 for left in lefts),
            )
        clear = all(breaker.all_clear for breaker in read.breakers)
        return Permit(tuple(read.names), clear, epoch, read.now)

    async def succeeded(self, permit: Permit) -> tuple[Transition, ...]:
        """A call got an answer: a probe closes its breaker, counted failures no longer count.

        If the permit is `all_clear` and this process reported no failure since, Redis is not
        called: that saves one of three round trips per document. Failures that another process
        counts meanwhile are cleared by the next call that reads them.
        """
        if permit.all_clear and permit.failure_epoch == self._failure_epoch:
            return ()
        return await self._change(
            permit.names, lambda b, _, now: rules.succeed(b, now, permit.began)
        )

    async def failed(self, name: str, document: str, shop: str, reason: str) -> FailureResult:
        """A document's call failed in a way that may not be its own fault."""
        own = False

        def change(breaker: Breaker, limits: Limits, now: float) -> Breaker:
            nonlocal own
            own = rules.is_own(breaker, document, shop)
            return rules.fail(breaker, limits, now, document, shop, reason)

        return FailureResult(await self._report([name], change), own)

    async def trip(self, name: str, reason: str) -> Transition | None:
        """Open immediately; an open breaker is not changed.

        Each time it opens without having closed in between, the cool-down doubles.
        """
        return await self._report([name], lambda b, limits, now: rules.trip(b, limits, now, reason))

    async def reset_cooldown(self, name: str) -> None:
        """A neutral call passed: the next cool-down has its first length. Idempotent."""
        await self._change([name], lambda b, _, __: rules.reset_cooldown(b))

    async def release_probe(self, names: Sequence[str]) -> None:
        """A call ended without a result: another one may probe. Idempotent."""
        await self._change(names, lambda b, _, __: rules.release_probe(b))

    async def reset(self, name: str) -> Transition | None:
        """Close it and delete its failures; if forced open, it stays so. Idempotent."""
        return _only(await self._change([name], lambda b, _, now: rules.close(b, now)))

    async def force_open(self, name: str, reason: str) -> Transition | None:
        """Force it open until a person ends this. Idempotent; the last reason is kept."""
        return _only(await self._change([name], lambda b, _, __: replace(b, forced=reason)))

    async def end_forced_open(self, name: str) -> Transition | None:
        """End the forced opening: the breaker's own state applies again. Idempotent."""
        return _only(await self._change([name], lambda b, _, __: replace(b, forced=None)))

    async def snapshot(self, names: Sequence[str]) -> dict[str, BreakerSnapshot]:
        """The current states of all of these, in one round trip."""
        read, _ = await self._update(names, lambda read: list(read.breakers))
        return {
            name: rules.snapshot_of(breaker, name, self._limits(name), read.now)
            for name, breaker in zip(read.names, read.breakers, strict=True)
        }

    async def _report(self, names: Sequence[str], change: Change) -> Transition | None:
        try:
            return _only(await self._change(names, change))
        finally:
            # Afterwards: a call admitted before the change was stored did not see it.
            self._failure_epoch += 1

    async def _change(self, names: Sequence[str], change: Change) -> tuple[Transition, ...]:
        def decide(read: _Read) -> list[Breaker]:
            return [
                change(breaker, self._limits(name), read.now)
                for name, breaker in zip(read.names, read.breakers, strict=True)
            ]

        read, new = await self._update(names, decide)
        transitions = []
        for name, before, after in zip(read.names, read.breakers, new, strict=True):
            old, state = before.state(read.now), after.state(read.now)
            if state is not old:
                why = before.why if state is BreakerState.CLOSED else after.why
                transitions.append(Transition(name, old, state, why))
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

    async def _update(
        self, names: Sequence[str], decide: Callable[[_Read], list[Breaker]]
    ) -> tuple[_Read, list[Breaker]]:
        """Read, decide and write atomically; returns the states read and the new ones."""
        names = list(dict.fromkeys(names))

        async def once(store: _Store) -> tuple[_Read, list[Breaker], bool]:
            read = await store.read(names)
            new = decide(read)
            return read, new, new == list(read.breakers) or await store.replace(read, new)

        async def with_(store: _Store) -> tuple[_Read, list[Breaker]]:
            read, new, done = await once(store)
            if done:
                return read, new
            # Changes of this process run one after another; only other processes can conflict.
            async with self._turn:
                for _ in range(_TRIES):
                    read, new, done = await once(store)
                    if done:
                        return read, new
            logger.warning(
                "breaker not changed: too many concurrent changes",
                extra={"action": "breaker_contention"},
            )
            return read, list(read.breakers)

        async def shared(store: _Store) -> tuple[_Read, list[Breaker]]:
            read, new = await with_(store)
            self._local.learn(read, new)
            return read, new

        store = self._shared
        if store is None:
            return await with_(self._local)
        return await self._fallback.run(lambda: shared(store), lambda: with_(self._local))

    def _limits(self, name: str) -> Limits:
        return self._pipeline if name.startswith("pipeline:") else self._account


def _pipeline_limits(settings: BreakerSettings) -> Limits:
    return Limits(
        documents=settings.documents,
        shops=settings.shops,
        window=settings.window,
        one_shop_seconds=settings.one_shop_seconds,
        cooldown=settings.cooldown,
        cooldown_max=settings.cooldown_max,
        probes=settings.probes,
        probe_seconds=settings.probe_seconds,
    )


def _account_limits(settings: BreakerSettings) -> Limits:
    """An account may belong to one shop, so only its documents are counted, not the shops."""
    return replace(
        _pipeline_limits(settings),
        documents=settings.account_documents,
        shops=1,
        cooldown=settings.account_cooldown,
        cooldown_max=settings.account_cooldown_max,
        by_login=True,
    )


def _only(transitions: tuple[Transition, ...]) -> Transition | None:
    return transitions[0] if transitions else None


class _LocalStore:
    """The breakers of this process."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._breakers: dict[str, Breaker] = {}

    async def read(self, names: Sequence[str]) -> _Read:
        found = [self._breakers.get(name, Breaker()) for name in names]
        return _Read(self._monotonic(), names, found, [])

    async def replace(self, read: _Read, new: Sequence[Breaker]) -> bool:
        # Nothing was awaited since it was read.
        self._breakers.update(zip(read.names, new, strict=True))
        return True

    def learn(self, read: _Read, breakers: Sequence[Breaker]) -> None:
        """Copy the states of Redis, for use while Redis is unavailable."""
        for name, breaker in zip(read.names, breakers, strict=True):
            if breaker == Breaker():
                self._breakers.pop(name, None)
            else:
                self._breakers[name] = breaker.moved(self._monotonic() - read.now)


class _RedisStore:
    """One key per breaker, a JSON text; the clock is the server's. Raises the driver's errors."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._compare_and_set = redis.register_script(read_script("compare_and_set.lua"))
        self._prefix = prefix

    async def read(self, names: Sequence[str]) -> _Read:
        if not names:
            return _Read(0.0, names, [], [])
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.mget([self._prefix + name for name in names])
            (seconds, microseconds), found = await pipe.execute()
        texts = [text or "" for text in found]
        return _Read(seconds + microseconds / 1e6, names, [*map(from_text, texts)], texts)

    async def replace(self, read: _Read, new: Sequence[Breaker]) -> bool:
        arguments: list[str | int] = []
        for text, breaker in zip(read.texts, new, strict=True):
            kept = breaker.kept_seconds(read.now)
            milliseconds = 0 if kept is None else round(kept * 1000)
            arguments += [text, to_text(breaker), milliseconds]
        keys = [self._prefix + name for name in read.names]
        return bool(await self._compare_and_set(keys=keys, args=arguments))


_TEXT = TypeAdapter(Breaker)


def to_text(breaker: Breaker) -> str:
    """The breaker as JSON; empty for a new breaker."""
    if breaker == Breaker():
        return ""
    return _TEXT.dump_json(breaker, exclude_defaults=True).decode()


def from_text(text: str | None) -> Breaker:
    """The breaker from JSON; a new breaker if the text is foreign or from another version."""
    if not text:
        return Breaker()
    try:
        return _TEXT.validate_json(text)
    except (ValidationError, UnicodeError):
        return Breaker()
