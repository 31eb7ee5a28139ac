"""Redis shared by several processes, and what they do while it is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from deployments.local.parts.stores import start_redis
from deployments.local.supervisor.stack import Stack, free_port
from lib.errors import AccountRefused, Paused, StoreUnavailable
from lib.models import Account
from lib.platforms.dqg.interpret import Token
from lib.platforms.dqg.tokens import TokenCache
from lib.resilience.breaker import Breakers, Permit, from_text, to_text
from lib.resilience.breaker_rules import BreakerState
from lib.resilience.rate_limiter import RateLimiter
from lib.resilience.redis_fallback import RedisFallback, fallback_for, open_redis, redis_errors
from lib.settings import ApiSettings, BreakerSettings, RateSettings, RedisSettings
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.anyio

ACCOUNT = Account("demo", SecretStr("secret"), "key-1")
TOKEN_KEY, LOCK_KEY = "dqg:token:key-1", "dqg:login:key-1"
NAMES = ("account:key-1", "pipeline:sale")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Platform:
    def __init__(self) -> None:
        self.logins = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def login(self, account: Account) -> Token:
        self.logins += 1
        token = f"token-{self.logins}"
        await self.gate.wait()
        return Token(token)


class Process:
    """What one process has of Redis: a client of its own and the parts that use it."""

    def __init__(self, url: str, *, timeout: float = 2, **rates: Any) -> None:
        self.clock = Clock()
        settings = RedisSettings(url=SecretStr(url), timeout=timeout)
        self.redis = open_redis(settings)
        self.fallback = RedisFallback(pause=5, monotonic=self.clock)
        self._settings = settings
        breaker_settings = BreakerSettings(documents=2, shops=1, account_cooldown=900)
        self.tokens = self.make_tokens()
        self.breakers = Breakers(self.redis, "dqg", breaker_settings, fallback=self.fallback)
        self.limiter = RateLimiter(self.redis, "dqg", RateSettings(**rates), fallback=self.fallback)

    def make_tokens(self, **options: Any) -> TokenCache:
        fallback = options.pop("fallback", self.fallback)
        return TokenCache(self.redis, self._settings, ApiSettings(), fallback=fallback, **options)


StartProcess = Callable[..., Process]


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[StartProcess]:
    processes: list[Process] = []

    def start(url: str = redis_url, **options: Any) -> Process:
        processes.append(Process(url, **options))
        return processes[-1]

    yield start
    for process in processes:
        await process.redis.aclose()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """Parts that a test may stop."""
    with Stack(tmp_path) as stack:
        yield stack


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [getattr(record, "action", "") for record in caplog.records]
    return [action for action in found if action.startswith("redis_")]


async def refuse(call: Awaitable[None]) -> Paused:
    with pytest.raises(Paused) as refusal:
        await call
    return refusal.value


# Tokens


async def test_two_processes_share_one_login(start: StartProcess) -> None:
    platform, processes = Platform(), (start(), start())
    tokens = await asyncio.gather(
        *(p.tokens.get(ACCOUNT, platform.login) for p in processes for _ in range(32))
    )
    assert set(tokens) == {"token-1"}
    assert platform.logins == 1


async def test_two_processes_share_one_refusal(start: StartProcess) -> None:
    logins = []

    async def login(account: Account) -> Token:
        logins.append(account.key)
        raise AccountRefused("login refused", http_status=400)

    results = await asyncio.gather(
        *(p.tokens.get(ACCOUNT, login) for p in (start(), start()) for _ in range(32)),
        return_exceptions=True,
    )
    assert {(type(r), str(r), getattr(r, "http_status", None)) for r in results} == {
        (AccountRefused, "login refused", 400)
    }
    assert len(logins) == 1


async def test_a_token_replaced_by_another_process_is_taken_from_it(start: StartProcess) -> None:
    platform, one, other = Platform(), start().tokens, start().tokens
    for process in (one, other):
        await process.get(ACCOUNT, platform.login)
    await one.drop(ACCOUNT, "token-1")
    assert await one.get(ACCOUNT, platform.login) == "token-2"
    await other.drop(ACCOUNT, "token-1")
    assert await other.get(ACCOUNT, platform.login) == "token-2"
    assert platform.logins == 2


async def test_a_dropped_token_that_redis_still_has_is_not_used_again(start: StartProcess) -> None:
    platform, process = Platform(), start()
    await process.tokens.get(ACCOUNT, platform.login)
    await process.tokens.drop(ACCOUNT, "token-1")
    await process.redis.set(TOKEN_KEY, "token-1", px=60_000)
    assert await process.tokens.get(ACCOUNT, platform.login) == "token-2"


async def test_a_token_dropped_while_it_is_read_is_not_handed_out(start: StartProcess) -> None:
    class Late(RedisFallback):
        """Answers of Redis arrive only when the gate is open."""

        gate = asyncio.Event()
        answers = 0

        async def run(self, *calls: Any) -> Any:
            result = await super().run(*calls)
            self.answers += 1
            await self.gate.wait()
            return result

    platform, process, late = Platform(), start(), Late()
    tokens = process.make_tokens(fallback=late)
    await process.redis.set(TOKEN_KEY, "stale", px=60_000)
    reader = asyncio.create_task(tokens.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: late.answers, "the stale token is read")
    dropper = asyncio.create_task(tokens.drop(ACCOUNT, "stale"))
    await wait_until_async(lambda: late.answers > 1, "the stale token is dropped")
    late.gate.set()
    await dropper
    assert await reader == "token-1"


async def test_a_login_that_takes_too_long_elsewhere_is_not_awaited(
    start: StartProcess, caplog: pytest.LogCaptureFixture
) -> None:
    platform, process, clock = Platform(), start(), Clock()
    await process.redis.set(LOCK_KEY, "somebody", px=600_000)

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    tokens = process.make_tokens(lock_seconds=3, monotonic=clock, sleep=sleep)
    assert await tokens.get(ACCOUNT, platform.login) == "token-1"
    assert "login_not_awaited" in [getattr(record, "action", "") for record in caplog.records]
    assert await process.redis.get(LOCK_KEY) == "somebody"


async def test_a_lock_left_by_a_dead_process_ends_by_itself(start: StartProcess) -> None:
    platform, dead, process = Platform(), start(), start()
    platform.gate.clear()
    login = asyncio.create_task(dead.tokens.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: platform.logins, "the login has begun")
    assert 0 < await process.redis.pttl(LOCK_KEY) <= 75_000
    await process.redis.pexpire(LOCK_KEY, -1)
    survivor = asyncio.create_task(process.tokens.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: platform.logins == 2, "another process logs in")
    platform.gate.set()
    assert {await login, await survivor} == {"token-1", "token-2"}


async def test_a_login_that_outlives_its_lock_leaves_the_next_owners_alone(
    start: StartProcess,
) -> None:
    process = start()

    async def login(account: Account) -> Token:
        await process.redis.set(LOCK_KEY, "next owner", px=60_000)
        return Token("late")

    assert await process.tokens.get(ACCOUNT, login) == "late"
    assert await process.redis.get(LOCK_KEY) == "next owner"


async def test_a_login_given_up_frees_the_lock(start: StartProcess) -> None:
    platform, process = Platform(), start()
    platform.gate.clear()
    caller = asyncio.create_task(process.tokens.get(ACCOUNT, platform.login))
    await wait_until_async(lambda: platform.logins, "the login has begun")
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await process.redis.get(LOCK_KEY) is None


# Breakers and rate limits


async def test_a_breaker_opened_by_one_process_stops_the_others(start: StartProcess) -> None:
    one, other = start().breakers, start().breakers
    await one.failed("pipeline:sale", "HD-1", "S1", "503")
    assert (await other.failed("pipeline:sale", "HD-2", "S1", "503")).transition
    await refuse(one.admit(NAMES))
    await refuse(other.admit(NAMES))


async def test_a_success_clears_what_it_saw_of_other_processes(start: StartProcess) -> None:
    one, other = start().breakers, start().breakers
    await other.failed("pipeline:sale", "HD-1", "S1", "503")
    await one.succeeded(await one.admit(NAMES))
    assert (await one.snapshot(NAMES))["pipeline:sale"].failures == 0


async def test_a_success_while_all_is_clear_does_not_ask_redis(start: StartProcess) -> None:
    one, other = start().breakers, start().breakers
    permit = await one.admit(NAMES)
    # What another process counts meanwhile is left to the next call, which sees it.
    await other.failed("pipeline:sale", "HD-1", "S1", "503")
    await one.succeeded(permit)
    assert (await one.snapshot(NAMES))["pipeline:sale"].failures == 1
    await one.succeeded(await one.admit(NAMES))
    assert (await one.snapshot(NAMES))["pipeline:sale"].failures == 0


async def test_one_probe_for_all_processes(start: StartProcess) -> None:
    processes = (start(), start())
    await processes[0].breakers.trip("account:key-1", "refused")
    key = "dqg:breaker:account:key-1"
    tripped = from_text(await processes[0].redis.get(key))
    await processes[0].redis.set(key, to_text(tripped.moved(-901)))
    results = await asyncio.gather(
        *(p.breakers.admit(NAMES) for p in processes for _ in range(16)), return_exceptions=True
    )
    assert sum(isinstance(result, Permit) for result in results) == 1


async def test_a_snapshot_of_many_breakers_is_one_round_trip(start: StartProcess) -> None:
    process = start()
    await process.breakers.snapshot(["account:0"])
    before = (await process.redis.info("commandstats"))["cmdstat_mget"]["calls"]
    await process.breakers.snapshot([f"account:{number}" for number in range(1000)])
    after = (await process.redis.info("commandstats"))["cmdstat_mget"]["calls"]
    assert after - before == 1


async def test_scripts_survive_a_flush_of_the_server(start: StartProcess) -> None:
    process = start()
    await process.breakers.admit(NAMES)
    await process.redis.script_flush()
    await process.breakers.failed("pipeline:sale", "HD-1", "S1", "503")
    assert not process.fallback.away
    assert (await process.breakers.snapshot(NAMES))["pipeline:sale"].failures == 1


async def test_processes_share_rate_limits_and_blocks(start: StartProcess) -> None:
    one, other = (start(per_account="3/year").limiter for _ in range(2))
    results = await asyncio.gather(
        *(p.acquire(NAMES) for p in (one, other) for _ in range(4)), return_exceptions=True
    )
    assert results.count(None) == 3
    await one.block_for(["account:key-2"], 600)
    assert (await refuse(other.acquire(["account:key-2"]))).retry_after == pytest.approx(600, abs=9)


async def test_every_key_has_the_prefix_and_an_end(start: StartProcess) -> None:
    platform, process = Platform(), start(per_account="3/year", per_pipeline="3/year")
    await process.tokens.get(ACCOUNT, platform.login)
    await process.limiter.acquire(NAMES)
    await process.limiter.block_for(NAMES, 60)
    for document in ("HD-1", "HD-2"):
        await process.breakers.failed("pipeline:sale", document, "S1", "503")
    keys = [key async for key in process.redis.scan_iter()]
    assert len(keys) == 6
    for key in keys:
        assert key.startswith("dqg:")
        assert await process.redis.pttl(key) > 0, key


# Away


async def work(process: Process, platform: Platform) -> None:
    await process.limiter.acquire(NAMES)
    await process.breakers.admit(NAMES)
    await process.tokens.get(ACCOUNT, platform.login)
    await process.breakers.succeeded(Permit(tuple(NAMES)))
    await process.breakers.snapshot(NAMES)


async def test_without_redis_a_process_goes_on_alone_and_says_so_once(
    start: StartProcess, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(f"redis://127.0.0.1:{free_port()}", per_account="9/year")
    platform = Platform()
    await asyncio.gather(*(work(process, platform) for _ in range(9)))
    assert platform.logins == 1
    await process.limiter.block_for(NAMES, 600)
    await refuse(process.limiter.acquire(NAMES))
    await process.breakers.trip("account:key-1", "refused")
    await refuse(process.breakers.admit(NAMES))
    await process.tokens.drop(ACCOUNT, "token-1")
    assert await process.tokens.get(ACCOUNT, platform.login) == "token-2"
    assert actions(caplog) == ["redis_away"]


async def test_redis_is_used_again_once_it_is_back(
    start: StartProcess, own_stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    process, platform = start(start_redis(own_stack)), Platform()
    await work(process, platform)
    own_stack.stop("redis")
    await work(process, platform)
    own_stack.start("redis")
    await work(process, platform)
    assert process.fallback.away
    process.clock.now += 6
    await work(process, platform)
    assert not process.fallback.away
    assert actions(caplog) == ["redis_away", "redis_back"]
    assert platform.logins == 1


async def test_a_redis_that_hangs_counts_as_away(
    start: StartProcess, own_stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    process, platform = start(start_redis(own_stack), timeout=0.3), Platform()
    await work(process, platform)
    own_stack.kill("redis", signal.SIGSTOP)
    try:
        await asyncio.gather(*(work(process, platform) for _ in range(8)))
    finally:
        own_stack.kill("redis", signal.SIGCONT)
    assert actions(caplog) == ["redis_away"]
    process.clock.now += 6
    await work(process, platform)
    assert not process.fallback.away


async def test_open_breakers_seen_before_redis_went_away_are_kept(
    start: StartProcess, own_stack: Stack
) -> None:
    url = start_redis(own_stack)
    process, operator = start(url), start(url)
    await operator.breakers.force_open("pipeline:sale", "stock-taking")
    await operator.breakers.trip("account:key-1", "refused")
    await refuse(process.breakers.admit(NAMES))
    own_stack.stop("redis")
    assert (await refuse(process.breakers.admit(["pipeline:sale"]))).retry_after is None
    refusal = await refuse(process.breakers.admit(["account:key-1"]))
    assert refusal.retry_after == pytest.approx(900, abs=60)


async def test_a_breaker_closed_in_redis_is_closed_for_the_process(
    start: StartProcess, own_stack: Stack
) -> None:
    url = start_redis(own_stack)
    process, operator = start(url), start(url)
    await operator.breakers.force_open("pipeline:sale", "stock-taking")
    await refuse(process.breakers.admit(NAMES))
    await operator.breakers.end_forced_open("pipeline:sale")
    await process.breakers.admit(NAMES)
    own_stack.stop("redis")
    snapshots = await process.breakers.snapshot(NAMES)
    assert process.fallback.away
    assert snapshots["pipeline:sale"].state is BreakerState.CLOSED


async def test_while_redis_is_away_one_caller_asks_for_all() -> None:
    clock, asked = Clock(), []
    fallback = RedisFallback(pause=5, monotonic=clock)

    async def shared() -> str:
        asked.append(clock.now)
        await asyncio.sleep(0)
        raise ConnectionRefusedError

    async def local() -> str:
        return "local"

    for passed in (0, 4, 2, 6):
        clock.now += passed
        results = await asyncio.gather(*(fallback.run(shared, local) for _ in range(5)))
        assert set(results) == {"local"}
    assert asked == [1000.0] * 5 + [1006.0, 1012.0]


async def test_all_parts_of_a_client_tell_of_an_outage_together(redis_url: str) -> None:
    redis = open_redis(RedisSettings(url=SecretStr(redis_url)))
    assert fallback_for(redis) is fallback_for(redis)
    assert fallback_for(None) is not fallback_for(None)
    await redis.aclose()


async def test_errors_of_redis_show_nothing_that_was_sent(start: StartProcess) -> None:
    redis: Redis = start().redis
    with pytest.raises(StoreUnavailable) as error, redis_errors():
        await redis.execute_command("NO-SUCH-COMMAND", "my-token")
    assert str(error.value) == "Redis: ResponseError"
    await redis.set("text", "my-token")
    with pytest.raises(StoreUnavailable, match=r"ResponseError WRONGTYPE$"), redis_errors():
        await redis.hget("text", "field")
    with pytest.raises(StoreUnavailable, match="Redis: ConnectionError"), redis_errors():
        await open_redis(RedisSettings(url=SecretStr(f"redis://127.0.0.1:{free_port()}"))).ping()


def test_a_client_does_not_show_its_password() -> None:
    client = open_redis(RedisSettings(url=SecretStr("redis://user:hidden@127.0.0.1:1/0")))
    assert "hidden" not in repr(client)
