"""Pace: limits and holds, the same in Redis and within one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from lib.errors import Paused
from lib.resilience.rate_limiter import MAX_BLOCK_SECONDS, RateLimiter
from lib.resilience.redis_fallback import open_redis
from lib.settings import RateSettings, RedisSettings

pytestmark = pytest.mark.anyio

NAMES = ("account:key", "pipeline:sale")
Make = Callable[..., RateLimiter]

# Limits that are to stay used up count by the year: windows of this process begin at fixed moments
# of the wall clock, and a test must not meet the end of one.


class Time:
    """A clock that sleeping moves on; in Redis the holds are moved instead."""

    def __init__(self, redis: Redis | None) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._redis = redis

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self._redis is not None:
            async for key in self._redis.scan_iter("dqg:block:*"):
                await self._redis.pexpire(key, await self._redis.pttl(key) - int(seconds * 1000))


@pytest.fixture(params=["process", "redis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis | None]:
    if request.param == "process":
        yield None
        return
    redis = open_redis(RedisSettings(url=SecretStr(request.getfixturevalue("redis_url"))))
    yield redis
    await redis.aclose()


@pytest.fixture
def time(client: Redis | None) -> Time:
    return Time(client)


@pytest.fixture
def make(client: Redis | None, time: Time) -> Make:
    def make(**settings: object) -> RateLimiter:
        rate = RateSettings(**({"max_wait": 30} | settings))
        return RateLimiter(client, "dqg", rate, monotonic=time, sleep=time.sleep)

    return make


async def test_without_limits_nothing_waits(make: Make, time: Time) -> None:
    limiter = make()
    await asyncio.gather(*(limiter.acquire(NAMES) for _ in range(50)))
    assert time.slept == []


async def test_no_more_calls_than_the_limit_allows(make: Make) -> None:
    limiter = make(per_account="5/year")
    results = await asyncio.gather(
        *(limiter.acquire(NAMES) for _ in range(12)), return_exceptions=True
    )
    assert results.count(None) == 5
    refusals = [result for result in results if result is not None]
    assert all(isinstance(refusal, Paused) and refusal.retry_after > 30 for refusal in refusals)


async def test_accounts_do_not_share_a_limit_but_pipelines_do(make: Make) -> None:
    limiter = make(per_account="1/year", per_pipeline="2/year")
    await limiter.acquire(("account:a", "pipeline:sale"))
    await limiter.acquire(("account:b", "pipeline:sale"))
    with pytest.raises(Paused, match="pipeline:sale"):
        await limiter.acquire(("account:c", "pipeline:sale"))
    await limiter.acquire(("account:c", "pipeline:import"))


async def test_a_refused_call_spends_no_permit_of_another_limit(make: Make) -> None:
    limiter = make(per_account="1/year", per_pipeline="2/year")
    await limiter.acquire(("account:a", "pipeline:sale"))
    for _ in range(5):
        with pytest.raises(Paused, match="account:a"):
            await limiter.acquire(("account:a", "pipeline:sale"))
    await limiter.acquire(("account:b", "pipeline:sale"))


async def test_the_strictest_of_several_rates_counts(make: Make) -> None:
    limiter = make(per_account="100/month;2/year")
    await limiter.acquire(NAMES)
    await limiter.acquire(NAMES)
    with pytest.raises(Paused, match="2 per 1 year"):
        await limiter.acquire(NAMES)


async def test_a_name_of_another_kind_has_no_limit(make: Make) -> None:
    limiter = make(per_account="1/year", per_pipeline="9/year")
    for _ in range(3):
        await limiter.acquire(("missing:SHOP01", "pipeline:sale"))


async def test_a_call_waits_for_its_turn_when_that_comes_soon(client: Redis | None) -> None:
    sleeps = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        await asyncio.sleep(seconds)

    limiter = RateLimiter(client, "dqg", RateSettings(per_account="4/second"), sleep=sleep)
    await asyncio.gather(*(limiter.acquire(NAMES) for _ in range(6)))
    assert sleeps


async def test_a_short_block_is_waited_out(make: Make, time: Time) -> None:
    limiter = make()
    await limiter.block_for(["account:key"], 20)
    await limiter.acquire(NAMES)
    assert sum(time.slept) == pytest.approx(20, abs=5)


async def test_a_long_block_refuses_the_call(make: Make, time: Time) -> None:
    limiter = make()
    await limiter.block_for("account:key", 120)
    with pytest.raises(Paused, match="asked to wait") as paused:
        await limiter.acquire(NAMES)
    assert paused.value.retry_after == pytest.approx(120, abs=5)
    assert time.slept == []
    await limiter.acquire(("account:other", "pipeline:sale"))


async def test_a_block_is_never_shortened(make: Make) -> None:
    limiter = make()
    await limiter.block_for("account:key", 120)
    await limiter.block_for("account:key", 60)
    await limiter.block_for("account:key", 0)
    await limiter.block_for("account:key", -5)
    with pytest.raises(Paused) as paused:
        await limiter.acquire(NAMES)
    assert paused.value.retry_after == pytest.approx(120, abs=5)


async def test_a_block_can_be_prolonged_up_to_a_bound(make: Make) -> None:
    limiter = make()
    await limiter.block_for("account:key", 60)
    await limiter.block_for("account:key", 10**9)
    with pytest.raises(Paused) as paused:
        await limiter.acquire(NAMES)
    assert paused.value.retry_after == pytest.approx(MAX_BLOCK_SECONDS, abs=5)


async def test_a_blocked_call_spends_no_permit(make: Make, time: Time) -> None:
    limiter = make(per_account="1/year")
    await limiter.block_for("account:key", 120)
    with pytest.raises(Paused):
        await limiter.acquire(NAMES)
    await time.sleep(121)
    await limiter.acquire(NAMES)


@pytest.mark.parametrize("rate", ["10", "fast", "0/second", "5/s", "5/second;0/year", ""])
def test_an_unreadable_rate_is_refused_without_being_shown(rate: str) -> None:
    with pytest.raises(ValidationError, match="must look like") as error:
        RateSettings(per_account=rate)
    assert "per_account" in str(error.value)


@pytest.mark.parametrize("rate", ["10/second", "10 per 2 minutes", "5/second;100/minute"])
def test_a_readable_rate_is_kept_as_written(rate: str) -> None:
    assert RateSettings(per_pipeline=rate).per_pipeline == rate
