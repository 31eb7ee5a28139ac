"""What does not parse under a key of ours counts as absent: whoever wrote it stops nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from lib.alerts.conditions import AlertState
from lib.alerts.state import AlertStateStore
from lib.errors import AccountRefused
from lib.models import Account
from lib.platforms.dqg.interpret import Token
from lib.platforms.dqg.tokens import TokenCache
from lib.resilience.breaker import Breakers
from lib.resilience.breaker_rules import BreakerState
from lib.resilience.rate_limiter import RateLimiter
from lib.resilience.redis_fallback import fallback_for, open_redis
from lib.settings import ApiSettings, BreakerSettings, RateSettings, RedisSettings

pytestmark = pytest.mark.anyio

PIPELINE = "pipeline:sale"
ACCOUNT = Account("demo", SecretStr("secret"), "key-1")
GARBAGE = [b"text", b"\xff\xfe\x00", b"[]", b"{}", b"null", b"1e999"]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = open_redis(RedisSettings(url=SecretStr(redis_url)))
    yield client
    # Nobody may have taken it for Redis being away.
    assert not fallback_for(client).away
    await client.aclose()


def make_tokens(redis: Redis) -> TokenCache:
    return TokenCache(
        redis, RedisSettings(url=SecretStr("redis://")), ApiSettings(), lock_seconds=0.2
    )


async def log_in(account: Account) -> Token:
    return Token("sound")


@pytest.mark.parametrize(
    "value",
    [
        *GARBAGE,
        b'{"open_until": "soon"}',
        b'{"open_until": NaN}',
        b'{"open_until": 1e999}',
        b'{"failures": [{"document": 1}]}',
    ],
)
async def test_what_is_no_breaker_is_a_closed_one(redis: Redis, value: bytes) -> None:
    await redis.set(f"dqg:breaker:{PIPELINE}", value)
    await check_breaker(redis)


async def test_a_breaker_of_another_type_is_a_closed_one(redis: Redis) -> None:
    await redis.hset(f"dqg:breaker:{PIPELINE}", "until_ms", "99999999999999")
    await check_breaker(redis)


async def check_breaker(redis: Redis) -> None:
    breakers = Breakers(redis, "dqg", BreakerSettings(documents=2, shops=1))
    await breakers.admit([PIPELINE])
    for document in ("HD-1", "HD-2"):
        await breakers.failed(PIPELINE, document, "S1", "503")
    assert (await breakers.snapshot([PIPELINE]))[PIPELINE].state is BreakerState.OPEN


@pytest.mark.parametrize("value", [b"two words", b"line\r\nfeed", b"\xff\xfe", b"", b"x" * 9000])
async def test_a_token_that_cannot_be_sent_is_none(redis: Redis, value: bytes) -> None:
    await redis.set("dqg:token:key-1", value, ex=600)
    assert await make_tokens(redis).known(["key-1"]) == set()
    assert await make_tokens(redis).get(ACCOUNT, log_in) == "sound"
    assert await redis.get("dqg:token:key-1") == "sound"


async def test_a_token_of_another_type_is_none(redis: Redis) -> None:
    for name in ("token", "refused"):
        await redis.rpush(f"dqg:{name}:key-1", "x")
        await redis.expire(f"dqg:{name}:key-1", 600)
    assert await make_tokens(redis).get(ACCOUNT, log_in) == "sound"
    await make_tokens(redis).drop(ACCOUNT, "sound")
    assert await redis.get("dqg:token:key-1") is None


@pytest.mark.parametrize("value", GARBAGE)
async def test_what_is_no_refusal_is_none(redis: Redis, value: bytes) -> None:
    await redis.set("dqg:refused:key-1", value, ex=600)
    assert await make_tokens(redis).get(ACCOUNT, log_in) == "sound"


async def test_a_refusal_is_still_read(redis: Redis) -> None:
    async def refuse(account: Account) -> Token:
        raise AccountRefused("wrong password", http_status=400)

    for login in (refuse, log_in):
        with pytest.raises(AccountRefused, match="wrong password"):
            await make_tokens(redis).get(ACCOUNT, login)


async def test_a_login_lock_without_an_end_is_deleted(redis: Redis) -> None:
    await redis.set("dqg:login:key-1", "x")
    assert await make_tokens(redis).get(ACCOUNT, log_in) == "sound"
    assert await redis.get("dqg:login:key-1") is None


@pytest.mark.parametrize("value", GARBAGE)
async def test_what_is_no_count_limits_nothing(redis: Redis, value: bytes) -> None:
    limiter = RateLimiter(redis, "dqg", RateSettings(per_pipeline="1/year"))
    await limiter.acquire([PIPELINE])
    keys = [key async for key in redis.scan_iter("dqg:rate*")]
    assert keys
    for key in keys:
        await redis.set(key, value)
    await limiter.acquire([PIPELINE])


async def test_a_block_longer_than_any_of_ours_is_none(redis: Redis) -> None:
    limiter = RateLimiter(redis, "dqg", RateSettings())
    await redis.set(f"dqg:block:{PIPELINE}", "x", ex=10**8)
    await limiter.acquire([PIPELINE])
    await limiter.block_for(PIPELINE, 600)
    assert await redis.ttl(f"dqg:block:{PIPELINE}") <= 600


@pytest.mark.parametrize("value", GARBAGE)
async def test_what_is_no_state_of_an_alert_counts_as_good(redis: Redis, value: bytes) -> None:
    alerts = AlertStateStore(redis, "dqg")
    await redis.hset("dqg:alerts", "breaker:sale", value)
    assert (await alerts.read()).alert_states == {}
    raised = AlertState(raised=True, changes=1)
    assert await alerts.write("breaker:sale", AlertState(), raised)
    assert (await alerts.read()).alert_states == {"breaker:sale": raised}


async def test_alerts_of_another_type_count_as_good(redis: Redis) -> None:
    await redis.set("dqg:alerts", "x")
    assert (await AlertStateStore(redis, "dqg").read()).alert_states == {}
