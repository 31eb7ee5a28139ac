"""The orchestrator: claims, dispatches, and knows when not to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
)
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.pipelines import get_pipeline
from lib.resilience.breaker import Breakers
from lib.resilience.redis_fallback import open_redis
from lib.settings import BreakerSettings, RedisSettings
from tests.support.system import System
from tests.support.waiting import wait_until_async

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]


async def runs_of(tokens: list[str]) -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=tokens))
        )


def tokens_of(system: System, pipeline: str) -> list[str]:
    return [claim.token for claim in system.source.claims.held(get_pipeline(pipeline))]


async def test_pending_documents_are_claimed_logged_and_dispatched(system: System) -> None:
    for number in range(3):
        system.add("sale", f"HD-{number}")
    system.add("import", "PN-1")
    state = await orchestrate(return_state=True)
    assert state.message == "4 documents dispatched in 2 batches"
    (token,) = tokens_of(system, "sale")
    (run,) = await runs_of([token])
    assert run.parameters == {"claim_token": token, "granularity": "flow"}
    assert run.work_pool_name == "sale"
    logs = list(system.mongo.task_logs.find({"pipeline": "sale"}))
    assert {log["flow_run_id"] for log in logs} == {str(run.id)}
    assert {log["status"] for log in logs} == {"PENDING"}

    # What a worker would run next:
    await sale(**run.parameters, return_state=True)
    assert set(system.statuses("sale").values()) == {"SYNC_SUCCESS"}


BRIEFLY = {"orchestrate_seconds": 2, "orchestrate_poll": 0.1}


@pytest.mark.settings(sync=BRIEFLY)
async def test_a_look_that_finds_nothing_leaves_no_trace(system: System) -> None:
    state = await orchestrate(return_state=True)
    assert state.message == "0 documents dispatched in 0 batches"
    run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        tasks = await client.read_task_runs(flow_run_filter=run)
    assert [task.name.rsplit("-", 1)[0] for task in tasks] == ["emit_alert_events"]


@pytest.mark.settings(sync={"orchestrate_seconds": 60, "orchestrate_poll": 0.1})
async def test_a_run_that_begins_after_its_minute_looks_at_once_and_ends(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime.now(UTC) - timedelta(seconds=70)
    monkeypatch.setitem(flow_run.FIELDS, "scheduled_start_time", lambda: due)
    system.add("sale", "HD-1")
    # The next one has begun: this one must not stay for its minute.
    state = await asyncio.wait_for(orchestrate(return_state=True), 30)
    assert state.message == "1 documents dispatched in 1 batches"


async def test_two_orchestrators_at_once_dispatch_each_document_once(system: System) -> None:
    for number in range(20):
        system.add("sale", f"HD-{number}")
    await asyncio.gather(orchestrate(return_state=True), orchestrate(return_state=True))
    logs = list(system.mongo.task_logs.find())
    assert len(logs) == 20
    assert len({log["record_id"] for log in logs}) == 20


@pytest.mark.settings(sync={"batch_size": 2, "batches_in_flight": 2, "orchestrate_seconds": 0})
async def test_no_more_is_claimed_than_may_be_in_flight(system: System) -> None:
    for number in range(9):
        system.add("sale", f"HD-{number}")
    await orchestrate(return_state=True)
    claims = system.source.claims.held(get_pipeline("sale"))
    assert sorted(claim.documents for claim in claims) == [2, 2]
    state = await orchestrate(return_state=True)
    assert state.message == "0 documents dispatched in 0 batches"


@asynccontextmanager
async def open_breakers(system: System, **settings: Any) -> AsyncIterator[Breakers]:
    async with open_redis(RedisSettings(url=system.environment["DQG_REDIS__URL"])) as redis:
        yield Breakers(redis, "dqg", BreakerSettings(**settings))


async def test_a_paused_pipeline_claims_nothing_and_the_others_go_on(system: System) -> None:
    system.add("sale", "HD-1")
    system.add("import", "PN-1")
    async with open_breakers(system) as breakers:
        await breakers.force_open("pipeline:sale", "stock-take")
    await orchestrate(return_state=True)
    assert tokens_of(system, "sale") == []
    assert len(tokens_of(system, "import")) == 1


async def test_nothing_is_claimed_for_a_paused_pool(system: System) -> None:
    system.add("sale", "HD-1")
    async with get_client() as client:
        await client.update_work_pool("sale", WorkPoolUpdate(is_paused=True))
        try:
            await orchestrate(return_state=True)
        finally:
            await client.update_work_pool("sale", WorkPoolUpdate(is_paused=False))
    assert tokens_of(system, "sale") == []


LOOKING = {"orchestrate_seconds": 60, "orchestrate_poll": 0.1, "orchestrate_gather": 0.2}


@pytest.mark.settings(sync=LOOKING)
async def test_what_appears_or_comes_back_during_a_run_is_dispatched_by_it(system: System) -> None:
    requeued = system.add("import", "PN-1", status="SYNC_FAILED")
    system.add("cancellation", "PX-1")
    async with open_breakers(system) as breakers:
        await breakers.force_open("pipeline:cancellation", "stock-take")
        run = asyncio.create_task(orchestrate(return_state=True))
        await asyncio.sleep(0)
        try:
            system.add("sale", "HD-1")
            await wait_until_async(lambda: tokens_of(system, "sale"), "the new one is claimed")
            assert tokens_of(system, "cancellation") == []
            system.source.corrections.requeue(get_pipeline("import"), [requeued])
            await breakers.end_forced_open("pipeline:cancellation")
            for pipeline in ("import", "cancellation"):
                await wait_until_async(
                    lambda name=pipeline: tokens_of(system, name), f"{pipeline} is claimed"
                )
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


@pytest.mark.settings(sync={"batch_size": 1, "batches_in_flight": 1, **LOOKING})
async def test_it_goes_on_while_full_batches_are_left(system: System) -> None:
    for number in range(3):
        system.add("sale", f"HD-{number}")
    run = asyncio.create_task(orchestrate(return_state=True))
    done: set[str] = set()
    try:
        while len(done) < 3:
            await wait_until_async(
                lambda: set(tokens_of(system, "sale")) - done, "the next batch is claimed"
            )
            for token in set(tokens_of(system, "sale")) - done:
                await sale(claim_token=token, return_state=True)
                done.add(token)
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert set(system.statuses("sale").values()) == {"SYNC_SUCCESS"}


async def test_after_the_cool_down_a_few_documents_are_the_probes(system: System) -> None:
    for number in range(5):
        system.add("sale", f"HD-{number}")
    async with open_breakers(system, cooldown=0.001) as breakers:
        await breakers.trip("pipeline:sale", "404")
    await orchestrate(return_state=True)
    (claim,) = system.source.claims.held(get_pipeline("sale"))
    assert claim.documents == BreakerSettings().probes


async def test_a_refused_account_pauses_its_shop_alone(system: System) -> None:
    for number in range(3):
        system.add("sale", f"BAD-{number}", shop="SHOP02")
        system.add("sale", f"GOOD-{number}", shop="SHOP01")
    system.set_password("SHOP02", "wrong")
    await orchestrate(return_state=True)
    (token,) = tokens_of(system, "sale")
    await sale(claim_token=token, return_state=True)

    system.add("sale", "GOOD-9", shop="SHOP01")
    await orchestrate(return_state=True)
    held = {
        local_id
        for local_id in system.statuses("sale")
        if system.document("sale", local_id).claim_token
    }
    assert held == {"GOOD-9"}


async def test_a_run_that_cannot_be_created_gives_its_claim_back(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")

    async def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Prefect is away")

    monkeypatch.setattr("tasks.dispatch.arun_deployment", refuse)
    state = await orchestrate(return_state=True)
    assert state.is_failed()
    document = system.document("sale", "HD-1")
    assert (document.claim_token, document.attempts, document.unconfirmed) == (None, 0, False)
    (log,) = system.mongo.task_logs.find()
    assert log["status"] == "RELEASED"
