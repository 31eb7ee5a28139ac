"""Breakers: the same contract for those in Redis and those of one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from lib.errors import Paused
from lib.resilience.breaker import Breakers, Permit
from lib.resilience.breaker_rules import BreakerState, Transition
from lib.resilience.redis_fallback import open_redis
from lib.settings import BreakerSettings, RedisSettings

pytestmark = pytest.mark.anyio

PIPELINE, ACCOUNT = "pipeline:sale", "account:key"
CLOSED, OPEN, HALF_OPEN, HELD = BreakerState
#: Redis keeps whole milliseconds, and time goes on while a test runs.
SLACK = 5.0


@dataclass
class Kit:
    """Breakers whose time can be moved on."""

    breakers: Breakers
    redis: Redis | None
    now: float = 1000.0

    async def pass_time(self, seconds: float, *names: str) -> None:
        """For Redis the stored moments are moved back instead of its clock on."""
        self.now += seconds
        for name in names if self.redis is not None else ():
            key = f"dqg:breaker:{name}"
            for field in ("until_ms", "probe_ms", "closed_ms"):
                if await self.redis.hexists(key, field):
                    await self.redis.hincrby(key, field, -int(seconds * 1000))

    async def state(self, name: str = PIPELINE) -> BreakerState:
        return (await self.breakers.snapshot([name]))[name].state

    async def is_admitted(self, *names: str) -> bool:
        try:
            await self.breakers.admit(names or (PIPELINE,))
        except Paused:
            return False
        return True

    async def open(self, name: str = PIPELINE) -> Transition | None:
        transition = None
        for _ in range(3):
            transition = await self.breakers.failed(name, "503")
        return transition


@pytest.fixture(params=["process", "redis"])
async def kit(request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    settings = BreakerSettings(failures=3, pause=100, pause_max=300, probe_seconds=60)
    redis = None
    if request.param == "redis":
        redis = open_redis(RedisSettings(url=SecretStr(request.getfixturevalue("redis_url"))))
    kit = Kit(None, redis)  # type: ignore[arg-type]
    kit.breakers = Breakers(redis, "dqg", settings, monotonic=lambda: kit.now)
    yield kit
    if redis is not None:
        await redis.aclose()


async def test_an_unknown_breaker_is_closed(kit: Kit) -> None:
    await kit.breakers.admit([PIPELINE, ACCOUNT])
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert snapshot.state is CLOSED
    assert snapshot.seconds_left == 0
    assert snapshot.closed_for is None


async def test_failures_in_a_row_open_it(kit: Kit) -> None:
    assert await kit.breakers.failed(PIPELINE, "503") is None
    assert await kit.breakers.failed(PIPELINE, "503") is None
    assert await kit.is_admitted()
    assert await kit.breakers.failed(PIPELINE, "503 again") == Transition(
        PIPELINE, CLOSED, OPEN, "503 again"
    )
    with pytest.raises(Paused, match="503 again") as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after == pytest.approx(100, abs=SLACK)


async def test_a_success_forgets_failures(kit: Kit) -> None:
    for _ in range(4):
        await kit.breakers.failed(PIPELINE, "503")
        await kit.breakers.failed(PIPELINE, "503")
        assert await kit.breakers.succeeded(Permit((PIPELINE,))) == ()
    assert await kit.state() is CLOSED


async def test_a_success_forgets_what_failed_since_it_was_let_through(kit: Kit) -> None:
    for _ in range(4):
        permit = await kit.breakers.admit([PIPELINE, ACCOUNT])
        await kit.breakers.failed(PIPELINE, "503")
        await kit.breakers.failed(PIPELINE, "503")
        await kit.breakers.succeeded(permit)
    assert await kit.state() is CLOSED


@pytest.fixture
async def two_processes(redis_url: str) -> AsyncIterator[tuple[Breakers, Breakers]]:
    redis = open_redis(RedisSettings(url=SecretStr(redis_url)))
    settings = BreakerSettings(failures=3)
    yield Breakers(redis, "dqg", settings), Breakers(redis, "dqg", settings)
    await redis.aclose()


async def test_a_success_forgets_what_it_saw_of_other_processes(
    two_processes: tuple[Breakers, Breakers],
) -> None:
    one, other = two_processes
    await other.failed(PIPELINE, "503")
    await other.failed(PIPELINE, "503")
    await one.succeeded(await one.admit([PIPELINE]))
    assert (await one.snapshot([PIPELINE]))[PIPELINE].failures == 0


async def test_a_success_with_nothing_to_forget_asks_nobody(
    two_processes: tuple[Breakers, Breakers],
) -> None:
    one, other = two_processes
    permit = await one.admit([PIPELINE, ACCOUNT])
    # What another process counts meanwhile is left to the next call, which sees it.
    await other.failed(PIPELINE, "503")
    await one.succeeded(permit)
    assert (await one.snapshot([PIPELINE]))[PIPELINE].failures == 1
    await one.succeeded(await one.admit([PIPELINE]))
    assert (await one.snapshot([PIPELINE]))[PIPELINE].failures == 0


async def test_failures_of_calls_from_before_it_opened_change_nothing(kit: Kit) -> None:
    await kit.open()
    before = await kit.breakers.snapshot([PIPELINE])
    assert await kit.breakers.failed(PIPELINE, "late") is None
    after = await kit.breakers.snapshot([PIPELINE])
    assert after[PIPELINE].reason == before[PIPELINE].reason
    assert after[PIPELINE].openings == 1
    await kit.pass_time(101, PIPELINE)
    assert await kit.breakers.failed(PIPELINE, "late, and nobody probed yet") is None
    assert await kit.state() is HALF_OPEN


async def test_a_success_from_before_it_opened_does_not_close_it(kit: Kit) -> None:
    await kit.open()
    assert await kit.breakers.succeeded(Permit((PIPELINE,))) == ()
    assert await kit.state() is OPEN


async def test_after_the_pause_one_probe_is_let_through(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    assert await kit.state() is HALF_OPEN
    admitted = await asyncio.gather(*(kit.is_admitted() for _ in range(8)))
    assert admitted.count(True) == 1
    with pytest.raises(Paused) as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after == pytest.approx(60, abs=SLACK)


async def test_a_probe_that_succeeds_closes_it_and_tells_since_when(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    await kit.breakers.admit([PIPELINE])
    assert await kit.breakers.succeeded(Permit((PIPELINE,))) == (
        Transition(PIPELINE, HALF_OPEN, CLOSED, "503"),
    )
    await kit.pass_time(40, PIPELINE)
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert snapshot.closed_for == pytest.approx(40, abs=SLACK)
    assert (snapshot.reason, snapshot.failures, snapshot.openings) == (None, 0, 0)
    assert await kit.is_admitted()


async def test_a_probe_that_fails_doubles_the_pause_up_to_its_bound(kit: Kit) -> None:
    await kit.open()
    for pause in (200, 300, 300):
        await kit.pass_time(301, PIPELINE)
        await kit.breakers.admit([PIPELINE])
        assert await kit.breakers.failed(PIPELINE, "503") == Transition(
            PIPELINE, HALF_OPEN, OPEN, "503"
        )
        left = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left
        assert left == pytest.approx(pause, abs=SLACK)
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].openings == 4


async def test_once_closed_the_pause_starts_anew(kit: Kit) -> None:
    for _ in range(2):
        await kit.open()
        left = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left
        assert left == pytest.approx(100, abs=SLACK)
        await kit.pass_time(101, PIPELINE)
        await kit.breakers.admit([PIPELINE])
        await kit.breakers.succeeded(Permit((PIPELINE,)))


async def test_a_probe_that_never_ends_gives_way_to_another(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    assert await kit.is_admitted()
    assert not await kit.is_admitted()
    await kit.pass_time(61, PIPELINE)
    assert await kit.is_admitted()
    assert not await kit.is_admitted()


async def test_a_probe_without_a_verdict_lets_the_next_one_probe(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    assert await kit.is_admitted()
    await kit.breakers.release_probe([PIPELINE])
    assert await kit.is_admitted()


async def test_several_breakers_admit_together_or_not_at_all(kit: Kit) -> None:
    await kit.open(PIPELINE)
    await kit.pass_time(101, PIPELINE)
    await kit.breakers.trip(ACCOUNT, "login refused", 900, 3600)
    assert not await kit.is_admitted(PIPELINE, ACCOUNT)
    assert await kit.is_admitted(PIPELINE)


async def test_the_longest_pause_of_several_counts(kit: Kit) -> None:
    await kit.open(PIPELINE)
    await kit.breakers.trip(ACCOUNT, "login refused", 900, 3600)
    with pytest.raises(Paused) as paused:
        await kit.breakers.admit([PIPELINE, ACCOUNT])
    assert paused.value.retry_after == pytest.approx(900, abs=SLACK)
    assert "login refused" in paused.value.message
    assert "503" in paused.value.message


async def test_a_name_given_twice_is_one_breaker(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    assert await kit.is_admitted(PIPELINE, PIPELINE)


async def test_a_trip_opens_at_once_and_a_second_one_does_not_prolong_it(kit: Kit) -> None:
    assert await kit.breakers.trip(ACCOUNT, "refused", 900, 3600) == Transition(
        ACCOUNT, CLOSED, OPEN, "refused"
    )
    await kit.pass_time(500, ACCOUNT)
    assert await kit.breakers.trip(ACCOUNT, "refused again", 900, 3600) is None
    snapshot = (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT]
    assert snapshot.seconds_left == pytest.approx(400, abs=SLACK)
    assert snapshot.reason == "refused"


async def test_trips_without_a_success_between_double_the_pause_up_to_its_bound(kit: Kit) -> None:
    for pause in (900, 1800, 2000, 2000):
        await kit.breakers.trip(ACCOUNT, "refused", 900, 2000)
        left = (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT].seconds_left
        assert left == pytest.approx(pause, abs=SLACK)
        await kit.pass_time(2001, ACCOUNT)
        assert await kit.is_admitted(ACCOUNT)


async def test_a_reset_closes_it(kit: Kit) -> None:
    await kit.open()
    assert await kit.breakers.reset(PIPELINE) == Transition(PIPELINE, OPEN, CLOSED, "503")
    assert await kit.is_admitted()
    assert await kit.breakers.reset(PIPELINE) is None
    assert await kit.breakers.failed(PIPELINE, "503") is None


async def test_a_hold_has_no_end_and_shows_its_reason(kit: Kit) -> None:
    assert await kit.breakers.hold(PIPELINE, "stock-taking") == Transition(
        PIPELINE, CLOSED, HELD, "stock-taking"
    )
    await kit.pass_time(10**6, PIPELINE)
    with pytest.raises(Paused, match="stock-taking") as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after is None
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert (snapshot.state, snapshot.reason, snapshot.seconds_left) == (HELD, "stock-taking", None)
    assert await kit.breakers.unhold(PIPELINE) == Transition(PIPELINE, HELD, CLOSED, "stock-taking")
    assert await kit.breakers.unhold(PIPELINE) is None
    assert await kit.is_admitted()


async def test_a_hold_outlives_resets_successes_and_failures(kit: Kit) -> None:
    await kit.breakers.hold(PIPELINE, "stock-taking")
    await kit.breakers.reset(PIPELINE)
    await kit.breakers.succeeded(Permit((PIPELINE,)))
    assert await kit.open() is None
    assert await kit.state() is HELD
    await kit.breakers.unhold(PIPELINE)
    assert await kit.state() is OPEN


async def test_a_hold_without_a_reason_holds(kit: Kit) -> None:
    await kit.breakers.hold(PIPELINE, "")
    assert await kit.state() is HELD


async def test_a_hold_uses_up_no_probe_of_another_breaker(kit: Kit) -> None:
    await kit.breakers.trip(ACCOUNT, "refused", 900, 3600)
    await kit.pass_time(901, ACCOUNT)
    await kit.breakers.hold(PIPELINE, "stock-taking")
    assert not await kit.is_admitted(ACCOUNT, PIPELINE)
    await kit.breakers.unhold(PIPELINE)
    assert await kit.is_admitted(ACCOUNT, PIPELINE)


async def test_a_snapshot_shows_many_breakers(kit: Kit) -> None:
    await kit.open("account:1")
    await kit.breakers.failed("account:2", "503")
    names = [f"account:{number}" for number in range(200)]
    snapshots = await kit.breakers.snapshot(names)
    assert list(snapshots) == names
    assert snapshots["account:1"].state is OPEN
    assert snapshots["account:2"].failures == 1
    assert {snapshots[name].state for name in names[2:]} == {CLOSED}
    assert await kit.breakers.snapshot([]) == {}


async def test_a_probe_under_way_shows_in_the_snapshot(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101, PIPELINE)
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left == 0
    await kit.breakers.admit([PIPELINE])
    left = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left
    assert left == pytest.approx(60, abs=SLACK)


async def test_concurrent_failures_make_one_transition(kit: Kit) -> None:
    results = await asyncio.gather(*(kit.breakers.failed(PIPELINE, "503") for _ in range(32)))
    assert len([transition for transition in results if transition]) == 1


async def test_each_change_is_logged_once(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dqg"):
        await kit.open()
        await kit.open()
        await kit.breakers.reset(PIPELINE)
    actions = [getattr(record, "action", None) for record in caplog.records]
    assert actions == ["breaker_open", "breaker_closed"]


async def test_a_failed_probe_gives_its_permit_back(kit: Kit) -> None:
    await kit.breakers.trip(ACCOUNT, "refused", 10, 10)
    await kit.pass_time(11, ACCOUNT)
    assert await kit.is_admitted(ACCOUNT)
    await kit.breakers.trip(ACCOUNT, "refused", 10, 10)
    await kit.pass_time(11, ACCOUNT)
    assert await kit.is_admitted(ACCOUNT)
