"""Tokens: one login for everybody, on Redis and within one process alike."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from lib.errors import AccountRefused, Unavailable
from lib.models import Account
from lib.platforms.dqg.interpret import Token
from lib.platforms.dqg.tokens import TokenCache, seconds_to_keep
from lib.resilience.redis_fallback import open_redis
from lib.settings import ApiSettings, RedisSettings
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.anyio

ACCOUNT = Account("demo", SecretStr("secret"), "key-1")
API = ApiSettings(token_seconds=3000, token_margin=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Platform:
    """Counts logins; each gives a new token unless an error is set."""

    def __init__(self, *, expires_in: float | None = None) -> None:
        self.logins = 0
        self.error: Exception | None = None
        self.expires_in = expires_in
        self.gate = asyncio.Event()
        self.gate.set()

    async def login(self, account: Account) -> Token:
        self.logins += 1
        token = f"token-{self.logins}"
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Token(token, self.expires_in)


Make = Callable[..., TokenCache]


@pytest.fixture(params=["process", "redis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis | None]:
    if request.param == "process":
        yield None
        return
    redis = open_redis(RedisSettings(url=SecretStr(request.getfixturevalue("redis_url"))))
    yield redis
    await redis.aclose()


@pytest.fixture
def make(client: Redis | None) -> Make:
    def make(**options: object) -> TokenCache:
        settings = RedisSettings(url=SecretStr("redis://unused"))
        return TokenCache(client, settings, API, **options)

    return make


async def test_sixty_four_callers_share_one_login(make: Make) -> None:
    platform, cache = Platform(), make()
    tokens = await asyncio.gather(*(cache.get(ACCOUNT, platform.login) for _ in range(64)))
    assert set(tokens) == {"token-1"}
    assert await cache.get(ACCOUNT, platform.login) == "token-1"
    assert platform.logins == 1


async def test_each_account_has_its_own_token(make: Make) -> None:
    platform, cache = Platform(), make()
    other = Account("other", SecretStr("x"), "key-2")
    tokens = await asyncio.gather(
        cache.get(ACCOUNT, platform.login), cache.get(other, platform.login)
    )
    assert len(set(tokens)) == 2


async def test_a_refused_login_answers_for_the_others_for_a_moment(make: Make) -> None:
    clock = Clock()
    platform, cache = Platform(), make(monotonic=clock)
    platform.error = AccountRefused("login refused", http_status=400)
    results = await asyncio.gather(
        *(cache.get(ACCOUNT, platform.login) for _ in range(64)), return_exceptions=True
    )
    assert all(isinstance(result, AccountRefused) for result in results)
    with pytest.raises(AccountRefused, match="login refused") as refusal:
        await cache.get(ACCOUNT, platform.login)
    assert refusal.value.http_status == 400
    assert platform.logins == 1


async def test_a_refusal_is_forgotten_after_a_while(make: Make, client: Redis | None) -> None:
    clock = Clock()
    platform, cache = Platform(), make(monotonic=clock)
    platform.error = AccountRefused("login refused")
    with pytest.raises(AccountRefused):
        await cache.get(ACCOUNT, platform.login)
    clock.now += 11
    if client is not None:
        await client.pexpire("dqg:refused:key-1", -1)
    platform.error = None
    assert await cache.get(ACCOUNT, platform.login) == "token-2"


async def test_a_login_that_failed_for_the_moment_is_shared_but_not_remembered(make: Make) -> None:
    platform, cache = Platform(), make()
    platform.error = Unavailable("the API is away")
    results = await asyncio.gather(
        *(cache.get(ACCOUNT, platform.login) for _ in range(8)), return_exceptions=True
    )
    assert all(isinstance(result, Unavailable) for result in results)
    assert platform.logins == 1
    platform.error = None
    assert await cache.get(ACCOUNT, platform.login) == "token-2"


async def test_use_does_not_prolong_a_token(make: Make, client: Redis | None) -> None:
    clock = Clock()
    platform, cache = Platform(expires_in=1060), make(monotonic=clock)
    for _ in range(4):
        assert await cache.get(ACCOUNT, platform.login) == "token-1"
        clock.now += 249
    clock.now += 10
    if client is not None:
        assert await client.pttl("dqg:token:key-1") <= 1_000_000
        await client.pexpire("dqg:token:key-1", -1)
    assert await cache.get(ACCOUNT, platform.login) == "token-2"


async def test_a_dropped_token_is_replaced_once_for_all(make: Make) -> None:
    platform, cache = Platform(), make()

    async def use_after_401() -> str:
        await cache.drop(ACCOUNT, "token-1")
        return await cache.get(ACCOUNT, platform.login)

    await cache.get(ACCOUNT, platform.login)
    tokens = await asyncio.gather(*(use_after_401() for _ in range(16)))
    assert set(tokens) == {"token-2"}
    assert platform.logins == 2


async def test_dropping_an_old_token_leaves_its_successor(make: Make, client: Redis | None) -> None:
    platform, cache = Platform(), make()
    await cache.get(ACCOUNT, platform.login)
    await cache.drop(ACCOUNT, "token-1")
    await cache.get(ACCOUNT, platform.login)
    await cache.drop(ACCOUNT, "token-1")
    assert await cache.get(ACCOUNT, platform.login) == "token-2"
    assert client is None or await client.get("dqg:token:key-1") == "token-2"


async def test_a_platform_may_issue_the_dropped_token_again(make: Make) -> None:
    cache, logins = make(), []

    async def login(account: Account) -> Token:
        logins.append(account.key)
        return Token("always-the-same")

    await cache.get(ACCOUNT, login)
    await cache.drop(ACCOUNT, "always-the-same")
    for _ in range(2):
        assert await cache.get(ACCOUNT, login) == "always-the-same"
    assert len(logins) == 2


async def test_a_cancelled_caller_leaves_the_login_to_the_others(make: Make) -> None:
    platform, cache = Platform(), make()
    platform.gate.clear()
    leader = asyncio.create_task(cache.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: platform.logins == 1, "the login has begun")
    followers = [asyncio.create_task(cache.get(ACCOUNT, platform.login)) for _ in range(4)]
    await asyncio.sleep(0)
    leader.cancel()
    platform.gate.set()
    assert set(await asyncio.gather(*followers)) == {"token-1"}
    assert platform.logins == 1
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_login_nobody_waits_for_ends_and_is_in_nobodys_way(make: Make) -> None:
    platform, cache = Platform(), make()
    platform.gate.clear()
    caller = asyncio.create_task(cache.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: platform.logins == 1, "the login has begun")
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [task for task in asyncio.all_tasks() if task.get_name() == "login"] == []
    platform.gate.set()
    assert await make().get(ACCOUNT, platform.login) == "token-2"


async def test_nothing_shows_a_token(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    platform, cache = Platform(), make()
    with caplog.at_level(logging.DEBUG, logger="dqg"):
        token = await cache.get(ACCOUNT, platform.login)
        await cache.drop(ACCOUNT, token)
    assert "logged_in" in [getattr(record, "action", None) for record in caplog.records]
    assert token not in caplog.text
    assert "abc" not in repr(Token("abc"))


def jwt(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        (Token("opaque"), 3000),
        (Token("opaque", 600), 540),
        (Token("opaque", 86400), 3000),
        (Token("opaque", 40), 20),
        (Token("opaque", -5), 3000),
        (Token("opaque", float("nan")), 3000),
        (Token(jwt(iat=5, exp=1805)), 1740),
        (Token(jwt(exp=1_700_000_600)), 540),
        (Token(jwt(iat=5, exp=1805), 600), 540),
        (Token(jwt(exp=1)), 3000),
        (Token(jwt(sub="x")), 3000),
        (Token(jwt(exp="soon")), 3000),
        (Token(jwt(exp=None)), 3000),
        (Token("a.b.c"), 3000),
        (Token("a.ệ.c"), 3000),
        (Token("a.W10.c"), 3000),
    ],
    ids=str,
)
async def test_how_long_a_token_is_kept(token: Token, seconds: float) -> None:
    assert seconds_to_keep(token, API, now=1_700_000_000) == seconds
