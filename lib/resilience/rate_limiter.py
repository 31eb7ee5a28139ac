"""Rate limits of the calls and the API's own Retry-After, shared by all processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage import Storage as LimitStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from lib.errors import Throttled
from lib.resilience.redis_fallback import RedisFallback, fallback_for, read_script
from lib.settings import RateSettings

#: A longer Retry-After is cut to this many seconds; then the API is called again.
MAX_BLOCK_SECONDS = 3600.0
_SHORTEST_SLEEP = 0.01


@dataclass(frozen=True, slots=True)
class _Wait:
    """How long a call has to wait, and for what."""

    seconds: float
    reason: str


_Limits = Sequence[tuple[str, RateLimitItem]]


class RateLimiter:
    """Admits calls as fast as limits and blocks allow, by name (`account:…`, `pipeline:…`).

    Without configured limits, only a block delays a call. While Redis is unavailable, each process
    applies the limits separately, so several processes together may exceed them.

    Args:
        redis: None keeps everything in this process.
        prefix: of every key in Redis.
        monotonic, sleep: measure and perform the waiting.
    """

    def __init__(
        self,
        redis: Redis | None,
        prefix: str,
        settings: RateSettings,
        *,
        fallback: RedisFallback | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rates = {
            "account": parse_many(settings.per_account) if settings.per_account else [],
            "pipeline": parse_many(settings.per_pipeline) if settings.per_pipeline else [],
        }
        self._max_wait = settings.max_wait
        self._local = _Limiter(MemoryStorage(), _LocalBlocks(monotonic))
        self._shared = self._local
        if redis is not None:
            storage = RedisStorage(
                "async+redis://",  # not used: the connections are those of our client
                implementation="redispy",
                key_prefix=f"{prefix}:rate",
                connection_pool=redis.connection_pool,  # type: ignore[arg-type]
            )
            self._shared = _Limiter(storage, _RedisBlocks(redis, f"{prefix}:block:"))
        self._fallback = fallback or fallback_for(redis)
        self._monotonic = monotonic
        self._sleep = sleep

    async def acquire(self, names: Sequence[str]) -> None:
        """Wait until a call may be made under all these names; takes one permit of each.

        Raises:
            Throttled: that would take longer than `max_wait`; no permit is kept.
        """
        limits = self._limits(names)
        give_up_at = self._monotonic() + self._max_wait
        while True:
            wait = await self._fallback.run(
                lambda: self._shared.take(names, limits), lambda: self._local.take(names, limits)
            )
            if wait is None:
                return
            if self._monotonic() + wait.seconds > give_up_at:
                raise Throttled(wait.reason, retry_after=wait.seconds)
            await self._sleep(wait.seconds)

    async def block_for(self, names: Sequence[str] | str, seconds: float) -> None:
        """Block calls under these names for some seconds; a longer block is not changed.

        Capped at `MAX_BLOCK_SECONDS`. Idempotent.
        """
        if seconds <= 0:
            return
        names = [names] if isinstance(names, str) else list(names)
        seconds = min(seconds, MAX_BLOCK_SECONDS)
        # Also in this process, in case Redis becomes unavailable meanwhile.
        await self._local.blocks.block_for(names, seconds)
        if self._shared is not self._local:
            await self._fallback.run(
                lambda: self._shared.blocks.block_for(names, seconds), _nothing
            )

    def _limits(self, names: Sequence[str]) -> _Limits:
        """The limits on a call, those shared by the most callers first: a call that loses a race
        for a permit then loses it before it has used a permit of the other limits.
        """
        kinds = {name: name.partition(":")[0] for name in names}
        return [
            (name, rate)
            for kind in ("pipeline", "account")
            for name in kinds
            if kinds[name] == kind
            for rate in self._rates[kind]
        ]


class _Blocks(Protocol):
    async def seconds_left(self, names: Sequence[str]) -> float: ...

    async def block_for(self, names: Sequence[str], seconds: float) -> None: ...


class _Limiter:
    """Limits and blocks in one store, Redis or this process.

    The strategy measures windows by the remaining lifetime of the storage's keys, so with Redis
    it does not depend on the clocks of the machines.
    """

    def __init__(self, storage: LimitStorage, blocks: _Blocks) -> None:
        self.blocks = blocks
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._turn = asyncio.Lock()

    async def take(self, names: Sequence[str], limits: _Limits) -> _Wait | None:
        """Take a permit of every limit; otherwise take none and return how long to wait.

        In a race with another process, a permit may be taken and then not used.
        """
        blocked = await self.blocks.seconds_left(names)
        if blocked > 0:
            return _Wait(blocked, "the API asked to wait")
        if not limits:
            return None
        async with self._turn:
            try:
                return await self._take(limits)
            except (ResponseError, ValueError):
                # A key holds something other than a counter: all counters are reset.
                await self._storage.reset()
                return await self._take(limits)

    async def _take(self, limits: _Limits) -> _Wait | None:
        refused = [limit for limit in limits if not await self._limiter.test(limit[1], limit[0])]
        if refused:
            return await self._wait_for(refused)
        for name, rate in limits:
            if not await self._limiter.hit(rate, name):
                return await self._wait_for([(name, rate)])
        return None

    async def _wait_for(self, refused: _Limits) -> _Wait:
        stats = [await self._limiter.get_window_stats(rate, name) for name, rate in refused]
        seconds = max(stat.reset_time for stat in stats) - time.time()
        names = ", ".join(f"{name} ({rate})" for name, rate in refused)
        return _Wait(max(seconds, _SHORTEST_SLEEP), f"rate limit reached: {names}")


class _LocalBlocks:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    async def seconds_left(self, names: Sequence[str]) -> float:
        now = self._monotonic()
        return max((self._until.get(name, now) - now for name in names), default=0.0)

    async def block_for(self, names: Sequence[str], seconds: float) -> None:
        now = self._monotonic()
        for name in names:
            self._until[name] = max(self._until.get(name, now), now + seconds)


class _RedisBlocks:
    """Raises the driver's errors."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._extend = redis.register_script(read_script("extend_block.lua"))

    async def seconds_left(self, names: Sequence[str]) -> float:
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pttl(self._prefix + name)
            lefts: list[int] = await pipe.execute()
        # A longer block is not from this program.
        seconds = (left / 1000 for left in lefts)
        return max((left for left in seconds if left <= MAX_BLOCK_SECONDS), default=0.0)

    async def block_for(self, names: Sequence[str], seconds: float) -> None:
        keys = [self._prefix + name for name in names]
        longest = round(MAX_BLOCK_SECONDS * 1000)
        await self._extend(keys=keys, args=[max(1, round(seconds * 1000)), longest])


async def _nothing() -> None:
    return None
