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
from lib.resilience.breaker import Breakers, FailureResult, Permit, from_text, to_text
from lib.resilience.breaker_rules import BreakerState, Transition
from lib.resilience.redis_fallback import open_redis
from lib.settings import BreakerSettings, RedisSettings

pytestmark = pytest.mark.anyio

PIPELINE, ACCOUNT = "pipeline:sale", "account:key"
CLOSED, OPEN, HALF_OPEN, FORCED_OPEN = BreakerState
#: Time goes on while a test runs.
SLACK = 5.0
SETTINGS = BreakerSettings(
    documents=3,
    shops=2,
    one_shop_seconds=50,
    window=1000,
    account_documents=2,
    cooldown=100,
    cooldown_max=300,
    account_cooldown=900,
    account_cooldown_max=2000,
    probes=2,
    probe_seconds=60,
)


@dataclass
class Kit:
    """Breakers whose time can be moved on."""

    breakers: Breakers
    redis: Redis | None
    now: float = 1000.0

    async def pass_time(self, seconds: float) -> None:
        """For Redis the stored moments are moved back instead of its clock on."""
        self.now += seconds
        if self.redis is None:
            return
        async for key in self.redis.scan_iter("dqg:breaker:*"):
            breaker = from_text(await self.redis.get(key))
            await self.redis.set(key, to_text(breaker.moved(-seconds)))

    async def state(self, name: str = PIPELINE) -> BreakerState:
        return (await self.breakers.snapshot([name]))[name].state

    async def is_admitted(self, *names: str, document: str = "NEW", shop: str = "S9") -> bool:
        try:
            await self.breakers.admit(names or (PIPELINE,), document, shop)
        except Paused:
            return False
        return True

    async def fail(
        self, document: str, shop: str = "S1", reason: str = "503", name: str = PIPELINE
    ) -> FailureResult:
        return await self.breakers.failed(name, document, shop, reason)

    async def pass_one(self) -> None:
        await self.pass_time(1)
        await self.breakers.succeeded(await self.breakers.admit([PIPELINE]))

    async def open(self, name: str = PIPELINE) -> Transition | None:
        """By three documents of two shops."""
        transition = None
        for document, shop in (("D1", "S1"), ("D2", "S2"), ("D3", "S1")):
            transition = transition or (await self.fail(document, shop, name=name)).transition
        return transition

    async def fail_probes(self, *documents: str) -> Transition | None:
        transition = None
        for document in documents:
            await self.breakers.admit([PIPELINE], document, "S5")
            transition = (await self.fail(document, "S5")).transition or transition
        return transition


@pytest.fixture(params=["process", "redis"])
async def kit(request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    redis = None
    if request.param == "redis":
        redis = open_redis(RedisSettings(url=SecretStr(request.getfixturevalue("redis_url"))))
    kit = Kit(None, redis)  # type: ignore[arg-type]
    kit.breakers = Breakers(redis, "dqg", SETTINGS, monotonic=lambda: kit.now)
    yield kit
    if redis is not None:
        await redis.aclose()


async def test_an_unknown_breaker_is_closed(kit: Kit) -> None:
    await kit.breakers.admit([PIPELINE, ACCOUNT])
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert snapshot.state is CLOSED
    assert snapshot.seconds_left == 0
    assert snapshot.closed_for is None


async def test_distinct_documents_of_distinct_shops_open_it_and_are_named(kit: Kit) -> None:
    assert await kit.fail("HD-1", "S1") == FailureResult()
    assert await kit.fail("HD-2", "S1") == FailureResult()
    assert await kit.is_admitted()
    reason = (
        "3 documents of 2 shops failed, none succeeded: HD-1 (S1), HD-2 (S1), HD-3 (S2); last: 504"
    )
    assert await kit.fail("HD-3", "S2", "504") == FailureResult(
        Transition(PIPELINE, CLOSED, OPEN, reason)
    )
    with pytest.raises(Paused, match="HD-1") as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after == pytest.approx(100, abs=SLACK)


async def test_one_document_never_opens_it(kit: Kit) -> None:
    for _ in range(50):
        assert await kit.fail("HD-POISON") == FailureResult()
        await kit.pass_time(30)
    assert await kit.state() is CLOSED


async def test_documents_with_one_code_of_two_shops_are_two(kit: Kit) -> None:
    await kit.fail("HD-1", "S1")
    await kit.fail("HD-1", "S2")
    assert (await kit.fail("HD-2", "S1")).transition


async def test_two_spellings_of_a_shop_are_one_shop(kit: Kit) -> None:
    for document, shop in (("D1", "S1"), ("D2", "s1"), ("D3", "S1 ")):
        assert (await kit.fail(document, shop)).transition is None


async def test_failures_of_one_shop_open_it_only_when_they_last(kit: Kit) -> None:
    for number in range(9):
        await kit.fail(f"HD-{number}")
    assert await kit.state() is CLOSED
    await kit.pass_time(51)
    assert (await kit.fail("HD-0")).transition


async def test_failures_of_one_shop_do_not_open_it_while_others_pass(kit: Kit) -> None:
    for number in range(9):
        await kit.fail(f"HD-{number}")
        await kit.breakers.succeeded(Permit((PIPELINE,)))
        await kit.pass_time(51)
    assert await kit.state() is CLOSED


async def test_failures_longer_ago_than_the_window_do_not_count(kit: Kit) -> None:
    await kit.fail("HD-1", "S1")
    await kit.pass_time(1001)
    await kit.fail("HD-2", "S2")
    assert await kit.fail("HD-3", "S3") == FailureResult()
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].failures == 2


async def test_refused_calls_of_distinct_documents_open_an_account(kit: Kit) -> None:
    await kit.fail("HD-1", reason="403", name=ACCOUNT)
    await kit.fail("HD-1", reason="403", name=ACCOUNT)
    assert await kit.state(ACCOUNT) is CLOSED
    assert (await kit.fail("HD-2", reason="403", name=ACCOUNT)).transition
    left = (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT].seconds_left
    assert left == pytest.approx(900, abs=SLACK)


async def test_what_failed_before_and_after_others_passed_is_its_own_failure(kit: Kit) -> None:
    assert not (await kit.fail("HD-BAD")).own
    assert not (await kit.fail("HD-BAD")).own
    await kit.pass_one()
    assert not (await kit.fail("HD-OTHER")).own
    assert (await kit.fail("HD-BAD")).own
    assert not (await kit.fail("HD-BAD")).own, "nothing passed since"


async def test_a_call_that_was_under_way_already_does_not_make_it_an_own_failure(kit: Kit) -> None:
    permit = await kit.breakers.admit([PIPELINE])
    await kit.pass_time(1)
    await kit.fail("HD-1")
    await kit.breakers.succeeded(permit)
    assert not (await kit.fail("HD-1")).own


async def test_known_bad_documents_do_not_open_it_however_many_they_are(kit: Kit) -> None:
    bad = [(f"HD-{number}", f"S{number}") for number in range(5)]
    for document, shop in bad:
        await kit.fail(document, shop)
        await kit.pass_one()
    for document, shop in bad:
        assert await kit.fail(document, shop) == FailureResult(own=True)


async def test_a_success_clears_what_was_counted(kit: Kit) -> None:
    for round_ in range(4):
        await kit.fail(f"A{round_}", "S1")
        await kit.fail(f"B{round_}", "S2")
        assert await kit.breakers.succeeded(Permit((PIPELINE,))) == ()
    assert await kit.state() is CLOSED


async def test_a_success_clears_what_failed_since_it_was_let_through(kit: Kit) -> None:
    for round_ in range(4):
        permit = await kit.breakers.admit([PIPELINE, ACCOUNT])
        await kit.fail(f"A{round_}", "S1")
        await kit.fail(f"B{round_}", "S2")
        await kit.breakers.succeeded(permit)
    assert await kit.state() is CLOSED


async def test_failures_of_calls_from_before_it_opened_change_nothing(kit: Kit) -> None:
    await kit.open()
    before = await kit.breakers.snapshot([PIPELINE])
    assert await kit.fail("LATE", "S7") == FailureResult()
    after = await kit.breakers.snapshot([PIPELINE])
    assert after[PIPELINE].reason == before[PIPELINE].reason
    assert after[PIPELINE].openings == 1
    await kit.pass_time(101)
    assert await kit.fail("LATE", "S7") == FailureResult()
    assert await kit.state() is HALF_OPEN


async def test_a_success_from_before_it_opened_does_not_close_it(kit: Kit) -> None:
    await kit.open()
    assert await kit.breakers.succeeded(Permit((PIPELINE,))) == ()
    assert await kit.state() is OPEN


async def test_after_the_cool_down_a_few_probes_are_let_through(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    assert await kit.state() is HALF_OPEN
    admitted = await asyncio.gather(*(kit.is_admitted(document=f"P{n}") for n in range(8)))
    assert admitted.count(True) == 2
    with pytest.raises(Paused) as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after == pytest.approx(60, abs=SLACK)


async def test_the_first_probe_that_passes_closes_it_and_since_when_is_known(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    await kit.fail_probes("P1")
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert snapshot.state is HALF_OPEN
    assert snapshot.open_for == pytest.approx(101, abs=SLACK)
    permit = await kit.breakers.admit([PIPELINE], "P2", "S5")
    (transition,) = await kit.breakers.succeeded(permit)
    assert (transition.old, transition.new) == (HALF_OPEN, CLOSED)
    assert "D1 (S1)" in transition.reason
    await kit.pass_time(40)
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert snapshot.closed_for == pytest.approx(40, abs=SLACK)
    assert snapshot.open_for is None
    assert (snapshot.reason, snapshot.failures, snapshot.openings) == (None, 0, 0)
    assert await kit.is_admitted()


async def test_only_when_all_probes_failed_it_opens_again_for_twice_as_long(kit: Kit) -> None:
    await kit.open()
    for round_, cooldown in enumerate((200, 300, 300), start=1):
        await kit.pass_time(301)
        first, *others = (f"R{round_}-{number}" for number in range(2 * round_))
        assert await kit.fail_probes(first) is None
        transition = await kit.fail_probes(*others)
        assert transition, "twice as many probes as it opened"
        assert (transition.old, transition.new) == (HALF_OPEN, OPEN)
        snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
        assert snapshot.seconds_left == pytest.approx(cooldown, abs=SLACK)
        assert "S5" in snapshot.failed_shops
    assert snapshot.openings == 4


async def test_a_document_that_failed_as_a_probe_does_not_probe_again_at_once(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    await kit.fail_probes("P1")
    assert not await kit.is_admitted(document="P1", shop="S5")
    assert await kit.is_admitted(document="P2", shop="S5")


async def test_a_document_that_is_alone_probes_again_later(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    for _ in range(5):
        assert await kit.fail_probes("P1") is None
        await kit.pass_time(101)
    assert await kit.is_admitted(document="P1", shop="S5")


async def test_failed_documents_come_after_others_have_had_their_turn(kit: Kit) -> None:
    await kit.open()
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].retry_delay == pytest.approx(
        100, abs=SLACK
    )
    await kit.pass_time(101)
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].retry_delay == 200


async def test_once_closed_the_cool_down_starts_from_its_first_length(kit: Kit) -> None:
    for round_ in range(2):
        for number, shop in enumerate(("S1", "S2", "S3")):
            await kit.fail(f"R{round_}-{number}", shop)
        left = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left
        assert left == pytest.approx(100, abs=SLACK)
        await kit.pass_time(101)
        await kit.breakers.succeeded(await kit.breakers.admit([PIPELINE], "P", "S5"))


async def test_a_probe_that_never_ends_gives_way_to_another(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    for _ in range(2):
        assert await kit.is_admitted()
        assert await kit.is_admitted()
        assert not await kit.is_admitted()
        await kit.pass_time(61)


async def test_a_probe_that_showed_nothing_leaves_its_place_to_the_next(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    for _ in range(5):
        assert await kit.is_admitted()
        await kit.breakers.release_probe([PIPELINE])


async def test_several_breakers_admit_together_or_not_at_all(kit: Kit) -> None:
    await kit.open(PIPELINE)
    await kit.pass_time(101)
    await kit.breakers.trip(ACCOUNT, "login refused")
    assert not await kit.is_admitted(PIPELINE, ACCOUNT)
    assert await kit.is_admitted(PIPELINE)


async def test_the_longest_wait_of_several_counts(kit: Kit) -> None:
    await kit.open(PIPELINE)
    await kit.breakers.trip(ACCOUNT, "login refused")
    with pytest.raises(Paused) as paused:
        await kit.breakers.admit([PIPELINE, ACCOUNT])
    assert paused.value.retry_after == pytest.approx(900, abs=SLACK)
    assert "login refused" in paused.value.message
    assert "503" in paused.value.message


async def test_a_name_given_twice_is_one_breaker(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    assert await kit.is_admitted(PIPELINE, PIPELINE)


async def test_a_trip_opens_at_once_and_a_second_one_does_not_prolong_it(kit: Kit) -> None:
    assert await kit.breakers.trip(ACCOUNT, "refused") == Transition(
        ACCOUNT, CLOSED, OPEN, "refused"
    )
    await kit.pass_time(500)
    assert await kit.breakers.trip(ACCOUNT, "refused again") is None
    snapshot = (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT]
    assert snapshot.seconds_left == pytest.approx(400, abs=SLACK)
    assert snapshot.reason == "refused"


async def test_trips_without_a_success_between_double_the_cool_down_up_to_its_bound(
    kit: Kit,
) -> None:
    for cooldown in (900, 1800, 2000, 2000):
        await kit.breakers.trip(ACCOUNT, "refused")
        left = (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT].seconds_left
        assert left == pytest.approx(cooldown, abs=SLACK)
        await kit.pass_time(2001)
        assert await kit.is_admitted(ACCOUNT)


async def test_after_a_refusal_one_call_probes(kit: Kit) -> None:
    await kit.breakers.trip(ACCOUNT, "refused")
    await kit.pass_time(901)
    assert (await kit.breakers.snapshot([ACCOUNT]))[ACCOUNT].tripped
    assert await kit.is_admitted(ACCOUNT)
    assert not await kit.is_admitted(ACCOUNT)


async def test_a_reset_closes_it_and_forgets_failures(kit: Kit) -> None:
    await kit.open()
    transition = await kit.breakers.reset(PIPELINE)
    assert transition
    assert (transition.old, transition.new) == (OPEN, CLOSED)
    assert await kit.is_admitted()
    assert await kit.breakers.reset(PIPELINE) is None
    assert await kit.fail("D1") == FailureResult()


async def test_forced_open_has_no_end_and_shows_its_reason(kit: Kit) -> None:
    assert await kit.breakers.force_open(PIPELINE, "stock-taking") == Transition(
        PIPELINE, CLOSED, FORCED_OPEN, "stock-taking"
    )
    await kit.pass_time(10**6)
    with pytest.raises(Paused, match="stock-taking") as paused:
        await kit.breakers.admit([PIPELINE])
    assert paused.value.retry_after is None
    snapshot = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE]
    assert (snapshot.state, snapshot.reason, snapshot.seconds_left) == (
        FORCED_OPEN,
        "stock-taking",
        None,
    )
    assert await kit.breakers.end_forced_open(PIPELINE) == Transition(
        PIPELINE, FORCED_OPEN, CLOSED, "stock-taking"
    )
    assert await kit.breakers.end_forced_open(PIPELINE) is None
    assert await kit.is_admitted()


async def test_forced_open_outlives_resets_successes_and_failures(kit: Kit) -> None:
    await kit.breakers.force_open(PIPELINE, "stock-taking")
    await kit.breakers.reset(PIPELINE)
    await kit.breakers.succeeded(Permit((PIPELINE,)))
    assert await kit.open() is None
    assert await kit.state() is FORCED_OPEN
    await kit.breakers.end_forced_open(PIPELINE)
    assert await kit.state() is OPEN


async def test_it_is_forced_open_without_a_reason(kit: Kit) -> None:
    await kit.breakers.force_open(PIPELINE, "")
    assert await kit.state() is FORCED_OPEN


async def test_forced_open_takes_no_probe_of_another_breaker(kit: Kit) -> None:
    await kit.breakers.trip(ACCOUNT, "refused")
    await kit.pass_time(901)
    await kit.breakers.force_open(PIPELINE, "stock-taking")
    assert not await kit.is_admitted(ACCOUNT, PIPELINE)
    await kit.breakers.end_forced_open(PIPELINE)
    assert await kit.is_admitted(ACCOUNT, PIPELINE)


async def test_a_snapshot_shows_many_breakers(kit: Kit) -> None:
    await kit.open("account:1")
    await kit.fail("D1", name="account:2")
    names = [f"account:{number}" for number in range(200)]
    snapshots = await kit.breakers.snapshot(names)
    assert list(snapshots) == names
    assert snapshots["account:1"].state is OPEN
    assert snapshots["account:2"].failures == 1
    assert {snapshots[name].state for name in names[2:]} == {CLOSED}
    assert await kit.breakers.snapshot([]) == {}


async def test_probes_under_way_show_in_the_snapshot(kit: Kit) -> None:
    await kit.open()
    await kit.pass_time(101)
    assert (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left == 0
    await kit.breakers.admit([PIPELINE], "P1", "S5")
    await kit.breakers.admit([PIPELINE], "P2", "S5")
    left = (await kit.breakers.snapshot([PIPELINE]))[PIPELINE].seconds_left
    assert left == pytest.approx(60, abs=SLACK)


async def test_concurrent_failures_make_one_transition(kit: Kit) -> None:
    results = await asyncio.gather(*(kit.fail(f"D{n}", f"S{n}") for n in range(32)))
    assert len([judgement for judgement in results if judgement.transition]) == 1


async def test_each_change_is_logged_once(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dqg"):
        await kit.open()
        await kit.open()
        await kit.breakers.reset(PIPELINE)
    actions = [getattr(record, "action", None) for record in caplog.records]
    assert actions == ["breaker_open", "breaker_closed"]


async def test_a_refused_probe_gives_its_place_back(kit: Kit) -> None:
    for _ in range(2):
        await kit.breakers.trip(ACCOUNT, "refused")
        await kit.pass_time(2001)
        assert await kit.is_admitted(ACCOUNT)
