"""The claim plan: batch sizes, places, pauses, probes, and a slow start after an outage."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import NoResultFound

from lib.accounts import AccountDirectory
from lib.models import PipelineSummary
from lib.pipelines import PoolState, get_pipeline
from lib.resilience.breaker import Breakers
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import ApiSettings, BreakerSettings, Granularity, SourceSettings, SyncSettings
from lib.source.store import open_source
from lib.source.tables import build_tables
from lib.sync.planning import (
    BatchDelay,
    ClaimPlan,
    batch_sizes,
    plan_claims,
    plan_from,
)
from tests.properties.world import CountingApi, make_services
from tests.support.recording import Answer, Recorder

SYNC = SyncSettings(
    batch_size=100,
    task_batch_size=1000,
    auto_flow_limit=200,
    batches_in_flight=2,
)
ONLINE = PoolState(workers=1)


def breaker(
    state: BreakerState = BreakerState.CLOSED, *, closed_for: float | None = None
) -> BreakerSnapshot:
    return BreakerSnapshot("name", state, reason="503", closed_for=closed_for)


def make_plan(
    ready: int,
    *,
    batches: int = 0,
    pool: PoolState = ONLINE,
    state: BreakerSnapshot | None = None,
    shops: dict[str, BreakerSnapshot] | None = None,
    finished: int = 0,
    **sync: Any,
) -> ClaimPlan:
    return plan_from(
        PipelineSummary("sale", pending=ready, batches=batches, succeeded=finished),
        pool,
        breaker=state or breaker(),
        shops=shops or {},
        sync=SYNC.model_copy(update=sync),
        settings=BreakerSettings(ramp=100),
    )


@pytest.mark.parametrize(
    ("ready", "free", "largest", "sizes"),
    [
        (0, 2, 100, ()),
        (30, 2, 100, (30,)),
        (100, 2, 100, (100,)),
        (101, 2, 100, (51, 50)),
        (1000, 2, 100, (100, 100)),
        (1000, 0, 100, ()),
    ],
)
def test_batches_are_few_and_even(
    ready: int, free: int, largest: int, sizes: tuple[int, ...]
) -> None:
    assert batch_sizes(ready, free, largest) == sizes


def test_a_small_backlog_is_sent_as_subflows() -> None:
    plan = make_plan(200)
    assert (plan.limits, plan.granularity) == ((100, 100), Granularity.FLOW)


def test_documents_that_come_steadily_are_sent_as_task_runs_too() -> None:
    assert make_plan(7, finished=193).granularity is Granularity.FLOW
    assert make_plan(7, finished=194).granularity is Granularity.TASK


def test_a_larger_backlog_is_sent_as_task_runs_in_larger_batches() -> None:
    plan = make_plan(5000)
    assert (plan.limits, plan.granularity) == ((1000, 1000), Granularity.TASK)


@pytest.mark.parametrize("granularity", [Granularity.FLOW, Granularity.TASK])
def test_a_set_granularity_is_kept_whatever_the_backlog(granularity: Granularity) -> None:
    assert make_plan(5000, granularity=granularity).granularity is granularity
    assert make_plan(1, granularity=granularity).granularity is granularity


def test_no_more_than_the_places_left_in_flight() -> None:
    assert make_plan(500, batches=1).limits == (500,)
    assert make_plan(500, batches=2).limits == ()


def test_no_more_than_the_pool_starts_at_once() -> None:
    pool = PoolState(workers=3, concurrency_limit=1)
    assert len(make_plan(5000, pool=pool).limits) == 1


@pytest.mark.parametrize("pool", [PoolState(paused=True, workers=1), PoolState(workers=0)])
def test_nothing_is_claimed_for_a_pool_that_would_not_start_it(pool: PoolState) -> None:
    plan = make_plan(10, pool=pool)
    assert plan.limits == ()
    assert plan.note


def test_a_pool_that_needs_no_worker_is_served() -> None:
    assert make_plan(10, pool=PoolState(workers=None)).limits == (10,)


@pytest.mark.parametrize("state", [BreakerState.OPEN, BreakerState.FORCED_OPEN])
def test_a_paused_pipeline_claims_nothing_and_says_why(state: BreakerState) -> None:
    plan = make_plan(10, state=breaker(state))
    assert plan.limits == ()
    assert "503" in plan.note


def test_a_few_documents_probe_after_a_cool_down_those_of_other_shops_first() -> None:
    state = replace(breaker(BreakerState.HALF_OPEN), failed_shops=frozenset({"S7"}), probe_slots=6)
    plan = make_plan(500, state=state)
    assert plan.limits == (6,)
    assert plan.probing
    assert plan.avoided_shops == {"S7"}


def test_no_second_probe_while_a_batch_is_under_way() -> None:
    plan = make_plan(500, batches=1, state=breaker(BreakerState.HALF_OPEN))
    assert plan.limits == ()
    assert "probing" in plan.note


def test_after_an_outage_batches_grow_with_the_time_since() -> None:
    sizes = [make_plan(5000, state=breaker(closed_for=age)).limits for age in (0, 10, 50, 100)]
    assert sizes == [(1,), (100,), (500,), (1000, 1000)]


def test_paused_shops_are_left_out_and_probed_after_their_cool_down() -> None:
    plan = make_plan(
        10,
        shops={
            "S1": breaker(),
            "S2": breaker(BreakerState.OPEN),
            "S3": breaker(BreakerState.HALF_OPEN),
            "S4": replace(breaker(BreakerState.HALF_OPEN), tripped=True),
        },
    )
    assert plan.paused_shops == {"S2", "S3", "S4"}
    assert plan.probe_shops == {"S3"}, "a refused login is probed by a login, not by documents"
    assert "S2" in plan.note


def test_the_first_documents_are_claimed_at_once_and_the_next_ones_gather() -> None:
    gathering = BatchDelay(seconds=3, batch_size=100)
    claimed = [now for now in range(8) if gathering.due({"sale": 5, "import": 0}, float(now))]
    assert claimed == [0, 3, 6]
    assert gathering.due({"sale": 1, "import": 1}, now=8) == {"import"}


def test_a_full_batch_does_not_wait() -> None:
    gathering = BatchDelay(seconds=3, batch_size=100)
    for now in range(3):
        assert gathering.due({"sale": 100}, now) == {"sale"}
    assert gathering.due({"sale": 99}, now=3) == set()


def open_shop(held_batches: int) -> Recorder:
    """A database with one shop that has pending documents."""

    def answer(statement: str) -> Answer | None:
        if "count(DISTINCT" in statement and "LEFT OUTER JOIN" not in statement:
            return ["count"], [(held_batches,)]
        if "ORDER BY" in statement and "shop_pharmacy_code > " not in statement:
            return ["shop", "pharmacy_code", "age"], [("S01", "790760001234", 60)]
        return ["nothing"], []

    return Recorder(answer)


CLOSED, OPEN = BreakerState.CLOSED, BreakerState.FORCED_OPEN


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pool", "breakers", "held_batches", "counted"),
    [
        (ONLINE, (CLOSED, CLOSED), 0, True),
        (ONLINE, (CLOSED, CLOSED), 2, False),
        (PoolState(paused=True), (CLOSED, CLOSED), 0, False),
        (PoolState(workers=0), (CLOSED, CLOSED), 0, False),
        (ONLINE, (OPEN, CLOSED), 0, False),
        (ONLINE, (CLOSED, OPEN), 0, False),
    ],
)
async def test_the_backlog_is_counted_only_where_something_may_be_claimed(
    pool: PoolState, breakers: tuple[BreakerState, BreakerState], held_batches: int, counted: bool
) -> None:
    database = open_shop(held_batches)
    source = open_source(database.engine(), build_tables(SourceSettings()))
    services = replace(
        make_services(source, CountingApi(True, True)),
        accounts=AccountDirectory([], ApiSettings(username="chain", password="chain")),
        breakers=Breakers(None, "dqg", BreakerSettings()),
    )
    names = ("pipeline:sale", services.accounts.breaker_name("S01", "790760001234"))
    for name, state in zip(names, breakers, strict=True):
        if state is OPEN:
            await services.breakers.force_open(name, "stock-take")
    with suppress(NoResultFound):
        await plan_claims(services, get_pipeline("sale"), pool)
    counts = [s for s in database.statements if "LEFT OUTER JOIN" in s and "count(DISTINCT" in s]
    assert bool(counts) is counted
