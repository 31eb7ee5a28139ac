"""Reconcile: what crashed runs leave behind is repaired, without sending anything."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import anyio
import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.states import Completed, Pending, Running

from flows.orchestrate import orchestrate
from flows.reconcile import reconcile
from lib.models import Acceptance, Claim
from lib.pipelines import get_pipeline
from lib.settings import Language, MongoSettings, SyncSettings
from lib.sync.outcomes import accepted
from lib.tracking.writer import TrackingStore
from tests.support.records import make_record
from tests.support.system import System

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]

LONG_AGO = timedelta(hours=2)
EXPIRED = {"lease_expires_at": datetime(2020, 1, 1)}  # noqa: DTZ001 - as the column keeps it


def claim_all(system: System, pipeline: str = "sale") -> Claim:
    return system.source.claims.claim(
        get_pipeline(pipeline), token=str(uuid4()), limit=100, lease=timedelta(seconds=300)
    )


def open_tracking(system: System) -> TrackingStore:
    settings = MongoSettings(
        url=system.environment["DQG_MONGO__URL"],
        database=system.environment["DQG_MONGO__DATABASE"],
    )
    return TrackingStore(settings, SyncSettings())


async def dispatched_run(claim: Claim) -> FlowRun:
    return await arun_deployment(
        f"{claim.pipeline}/{claim.pipeline}",
        parameters={"claim_token": claim.token},
        idempotency_key=claim.token,
        timeout=0,
        as_subflow=False,
    )


async def state_of(run: FlowRun) -> str:
    async with get_client() as client:
        return str((await client.read_flow_run(run.id)).state_name)


async def set_running(run: FlowRun) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Running(), force=True)


def age_logs(system: System) -> None:
    """Makes every log entry two hours old, instead of waiting."""
    for log in system.mongo.task_logs.find():
        log["updated_at"] -= LONG_AGO
        system.mongo.task_logs.replace_one({"_id": log["_id"]}, log)


async def test_with_nothing_wrong_it_reports_that(system: System) -> None:
    state = await reconcile(return_state=True)
    assert state.message == "nothing to repair"


async def test_a_claim_that_was_never_dispatched_is_released_untouched(system: System) -> None:
    system.add("sale", "HD-1")
    claim_all(system)
    system.change("sale", "HD-1", **EXPIRED)
    await reconcile(return_state=True)
    document = system.document("sale", "HD-1")
    assert (document.claim_token, document.attempts, document.unconfirmed) == (None, 0, False)


async def test_a_fresh_claim_without_a_run_is_left_to_its_orchestrator(system: System) -> None:
    system.add("sale", "HD-1")
    claim = claim_all(system)
    await reconcile(return_state=True)
    assert system.document("sale", "HD-1").claim_token == claim.token


async def test_a_claim_of_a_dead_run_is_released_in_doubt_and_the_run_set_to_crashed(
    system: System,
) -> None:
    system.add("sale", "HD-1")
    claim = claim_all(system)
    run = await dispatched_run(claim)
    await set_running(run)
    system.change("sale", "HD-1", **EXPIRED, begun=True)
    await reconcile(return_state=True)
    document = system.document("sale", "HD-1")
    assert (document.claim_token, document.unconfirmed) == (None, True)
    assert await state_of(run) == "Crashed"


@pytest.mark.settings(source={"statement_timeout": 1})
async def test_a_claim_whose_rows_somebody_keeps_locked_holds_up_no_other(system: System) -> None:
    for pipeline, local_id in (("import", "PN-1"), ("cancellation", "PX-1")):
        system.add(pipeline, local_id)
        claim_all(system, pipeline)
        system.change(pipeline, local_id, **EXPIRED)
    with system.engine.begin() as connection:
        delivery = system.tables.delivery
        held = delivery.select().where(delivery.c.pipeline == "import").with_for_update()
        connection.execute(held).all()
        state = await reconcile(return_state=True)
        assert state.is_completed()
        assert system.document("import", "PN-1").claim_token is not None
        assert system.document("cancellation", "PX-1").claim_token is None
    await reconcile(return_state=True)
    assert system.document("import", "PN-1").claim_token is None


async def test_a_run_no_worker_took_does_not_pile_up(system: System) -> None:
    system.add("sale", "HD-1")
    claim = claim_all(system)
    run = await dispatched_run(claim)
    system.change("sale", "HD-1", **EXPIRED)
    await reconcile(return_state=True)
    document = system.document("sale", "HD-1")
    assert (document.claim_token, document.unconfirmed) == (None, False)
    assert await state_of(run) == "Cancelled"


async def test_what_an_ended_run_still_holds_is_released_when_its_lease_ends(
    system: System,
) -> None:
    system.add("sale", "HD-1")
    claim = claim_all(system)
    run = await dispatched_run(claim)
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Completed(), force=True)
    await reconcile(return_state=True)
    # The state can be set by hand while the process lives, and renews its lease.
    assert system.document("sale", "HD-1").claim_token == claim.token
    system.change("sale", "HD-1", **EXPIRED)
    await reconcile(return_state=True)
    assert system.document("sale", "HD-1").claim_token is None


async def test_a_live_batch_is_left_alone(system: System) -> None:
    system.add("sale", "HD-1")
    claim = claim_all(system)
    run = await dispatched_run(claim)
    await set_running(run)
    await reconcile(return_state=True)
    assert system.document("sale", "HD-1").claim_token == claim.token
    assert await state_of(run) == "Running"


async def test_an_acceptance_that_was_not_saved_is_saved_without_a_call(system: System) -> None:
    record_id = system.add("sale", "HD-1")
    claim = claim_all(system)
    async with open_tracking(system) as tracking:
        record = make_record(record_id, token=claim.token, local_id="HD-1")
        await tracking.accepted(record, Acceptance("QG-77", "accepted"))
    age_logs(system)
    await reconcile(return_state=True)
    document = system.document("sale", "HD-1")
    assert (document.status, document.national_id) == ("SYNC_SUCCESS", "QG-77")
    assert system.admin.summary()["posts"] == 0
    (log,) = system.mongo.task_logs.find()
    assert log["status"] == "SUCCESS"


async def test_log_entries_left_open_are_closed_by_what_the_source_says(system: System) -> None:
    system.add("sale", "HD-1")
    await orchestrate(return_state=True)
    system.change("sale", "HD-1", claim_token=None, status="SYNC_FAILED")
    age_logs(system)
    await reconcile(return_state=True)
    (log,) = system.mongo.task_logs.find()
    assert log["status"] == "FAILED"


async def test_failures_of_documents_accepted_since_are_resolved(system: System) -> None:
    record_id = system.add("sale", "HD-1", status="SYNC_SUCCESS", national_invoice_id="QG")
    system.mongo.sync_failures.insert_one(
        {
            "pipeline": "sale",
            "record_id": record_id,
            "local_id": "HD-1",
            "pharmacy_code": "790760001234",
            "shop_pharmacy_code": "SHOP01",
            "claim_token": "old",
            "state": "requeued",
        }
    )
    await reconcile(return_state=True)
    failure = system.mongo.sync_failures.find_one()
    assert (failure["state"], failure["settled_by"]) == ("resolved", "reconcile")


async def test_the_accepted_one_of_many_open_failures_is_found(system: System) -> None:
    record_id = system.add("sale", "HD-1", status="SYNC_SUCCESS", national_invoice_id="QG")
    place = {"pharmacy_code": "790760001234", "shop_pharmacy_code": "SHOP01", "state": "open"}
    failures = [
        {"pipeline": "sale", "record_id": number, "local_id": f"HD-{number}"} | place
        for number in (*range(10_000, 11_100), record_id)
    ]
    system.mongo.sync_failures.insert_many(failures)
    await reconcile(return_state=True)
    resolved = system.mongo.sync_failures.find({"state": "resolved"})
    assert [failure["record_id"] for failure in resolved] == [record_id]


async def test_repairing_twice_changes_nothing_more(system: System) -> None:
    system.add("sale", "HD-1")
    claim_all(system)
    system.change("sale", "HD-1", **EXPIRED)
    await reconcile(return_state=True)
    state = await reconcile(return_state=True)
    assert state.message == "nothing to repair"


@pytest.mark.settings(sync={"dispatch_grace": 1, "lease_seconds": 4})
async def test_a_dead_batch_that_holds_nothing_is_set_to_crashed(system: System) -> None:
    run = await dispatched_run(Claim(str(uuid4()), "sale", ()))
    await set_running(run)
    with anyio.fail_after(60):
        while await state_of(run) != "Crashed":
            await reconcile(return_state=True)


@pytest.mark.settings(sync={"dispatch_grace": 1, "lease_seconds": 4})
async def test_a_batch_whose_worker_died_while_starting_it_is_ended(system: System) -> None:
    run = await dispatched_run(Claim(str(uuid4()), "sale", ()))
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Pending(name="Submitting"), force=True)
    with anyio.fail_after(60):
        while await state_of(run) != "Cancelled":
            await reconcile(return_state=True)


async def test_a_batch_that_is_being_started_is_left_alone_while_it_holds_documents(
    system: System,
) -> None:
    system.add("sale", "HD-1")
    run = await dispatched_run(claim_all(system))
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Pending(name="Submitting"), force=True)
    await reconcile(return_state=True)
    assert await state_of(run) == "Submitting"


@pytest.mark.settings(sync={"dispatch_grace": 1, "lease_seconds": 4})
async def test_a_manual_run_that_is_being_started_is_left_alone(system: System) -> None:
    run = await arun_deployment(
        "sale/sale", parameters={"local_invoice_id": "HD-1"}, timeout=0, as_subflow=False
    )
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Pending(name="Submitting"), force=True)
    await reconcile(return_state=True)
    assert await state_of(run) == "Submitting"


async def test_what_the_log_calls_accepted_but_the_source_does_not_is_reported(
    system: System,
) -> None:
    record_id = system.add("sale", "HD-1")
    async with open_tracking(system) as tracking:
        record = make_record(record_id, token="old", local_id="HD-1")
        acceptance = Acceptance("QG-77", "accepted")
        await tracking.finished(record, accepted(record.document, acceptance, Language.ENGLISH))
    state = await reconcile(return_state=True)
    assert state.message == "1 repairs"
    assert system.document("sale", "HD-1").status == "PENDING_SYNC"


async def test_acceptances_without_a_national_id_are_reported(system: System) -> None:
    system.add("sale", "HD-1", status="SYNC_SUCCESS")
    state = await reconcile(return_state=True)
    assert state.message == "1 repairs"
