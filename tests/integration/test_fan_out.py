"""What becomes of the records when Prefect itself fails in the middle of a batch."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from flows import pipelines
from flows.pipelines import run_subflow, sale
from lib.errors import ClaimLost, StoreUnavailable
from lib.models import Acceptance
from lib.operations.events import events_of_log
from lib.pipelines import SALE
from lib.record import Record
from lib.resilience.breaker import Breakers, Permit
from lib.source.outcomes import Outcomes
from lib.sync import submit as submission
from lib.sync.batch import Batch, Lease
from lib.sync.submit import submit
from tests.support.artifacts import latest_artifact
from tests.support.system import System

pytestmark = pytest.mark.anyio


def claim_all(system: System) -> str:
    lease = timedelta(seconds=60)
    return system.source.claims.claim(SALE, token="batch", limit=10, lease=lease).token


async def test_a_record_whose_run_cannot_be_created_is_given_back_and_the_others_go_on(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "GOOD")
    system.add("sale", "UNLUCKY")

    async def run(batch: Batch, record: Record) -> None:
        if record.ref.local_id == "UNLUCKY":
            raise ConnectionError("the Prefect server is away")
        await run_subflow(batch, record)

    monkeypatch.setattr(pipelines, "run_subflow", run)
    state = await sale(claim_token=claim_all(system), return_state=True)
    assert state.message == "1 accepted, 1 released"
    unlucky = system.document("sale", "UNLUCKY")
    assert (unlucky.status, unlucky.claim_token, unlucky.attempts) == ("PENDING_SYNC", None, 0)
    assert not unlucky.unconfirmed


async def test_an_acceptance_whose_run_could_not_end_is_still_saved(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")

    async def run(batch: Batch, record: Record) -> None:
        await submit(batch, record)
        raise ConnectionError("the Prefect server is away")

    monkeypatch.setattr(pipelines, "run_subflow", run)
    state = await sale(claim_token=claim_all(system), return_state=True)
    assert state.message == "1 accepted"
    document = system.document("sale", "HD-1")
    assert document.status == "SYNC_SUCCESS"
    assert document.national_id


@pytest.mark.settings(sync={"task_retries": 0})
async def test_a_claim_lost_within_a_chunk_costs_no_attempt_whatever_happens_to_the_others(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for local_id in ("GOOD", "LATE", "DOWN"):
        system.add("sale", local_id)
    system.admin.add_fault("status", operation="create", match={"code": "DOWN"}, status=503)

    async def submit_unless_late(batch: Batch, record: Record) -> Acceptance:
        if record.ref.local_id == "LATE":
            raise ClaimLost("too little of the lease is left")
        return await submit(batch, record)

    monkeypatch.setattr(submission, "submit", submit_unless_late)
    state = await sale(claim_token=claim_all(system), granularity="task", return_state=True)
    assert state.message == "1 accepted, 2 released"
    late, down = system.document("sale", "LATE"), system.document("sale", "DOWN")
    assert (late.claim_token, late.attempts, late.next_attempt_at) == (None, 0, None)
    assert (down.claim_token, down.attempts) == (None, 1)


async def test_who_lost_a_claim_says_so_in_its_log_and_leaves_the_document_alone(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "MINE")
    system.add("sale", "TAKEN")

    async def run(batch: Batch, record: Record) -> None:
        if record.ref.local_id == "TAKEN":
            batch.start(record, "run")
            system.change("sale", "TAKEN", claim_token="another")
            raise ClaimLost("the lease of this claim has expired")
        await run_subflow(batch, record)

    monkeypatch.setattr(pipelines, "run_subflow", run)
    state = await sale(claim_token=claim_all(system), return_state=True)
    assert state.message == (
        "1 accepted, 1 open: the open documents are left to the next claim or to reconcile"
    )
    assert system.document("sale", "TAKEN").claim_token == "another"
    logs = {log["local_id"]: log["status"] for log in system.mongo.task_logs.find()}
    assert logs == {"MINE": "SUCCESS", "TAKEN": "RELEASED"}


def log_of(system: System, local_id: str, token: str, status: str, **values: object) -> None:
    """What an earlier run under the token has left in the log."""
    ref = system.document("sale", local_id).ref
    system.mongo.task_logs.insert_one(
        {
            "_id": f"{token}/{ref.record_id}",
            "claim_token": token,
            "record_id": ref.record_id,
            "pipeline": "sale",
            "local_id": local_id,
            "pharmacy_code": ref.pharmacy_code,
            "shop_pharmacy_code": ref.shop_pharmacy_code,
            "status": status,
            **values,
        }
    )


@pytest.mark.parametrize("granularity", ["flow", "task"])
async def test_what_an_earlier_run_has_logged_as_accepted_is_saved_without_a_call(
    system: System, granularity: str
) -> None:
    system.add("sale", "HD-1")
    token = claim_all(system)
    log_of(system, "HD-1", token, "ACCEPTED", national_id="QG-1")
    state = await sale(claim_token=token, granularity=granularity, return_state=True)
    assert state.message == "1 accepted"
    document = system.document("sale", "HD-1")
    assert (document.status, document.national_id) == ("SYNC_SUCCESS", "QG-1")
    assert system.admin.summary()["posts"] == 0


async def test_what_an_earlier_run_has_begun_is_looked_up_before_it_is_sent(
    system: System,
) -> None:
    system.add("sale", "HD-1")
    token = claim_all(system)
    log_of(system, "HD-1", token, "RUNNING")
    await sale(claim_token=token, return_state=True)
    (log,) = system.mongo.task_logs.find()
    assert [call["action"] for call in log["attempts"]] == ["look_up", "submit"]


async def test_a_run_that_knows_its_lease_is_over_does_not_wait_for_the_source_database(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    token = claim_all(system)
    log_of(system, "HD-1", token, "PENDING")

    def unreachable(store: Outcomes, outcomes: object) -> None:
        raise StoreUnavailable("source", "away")

    monkeypatch.setattr(Outcomes, "save", unreachable)
    monkeypatch.setattr(Lease, "lost", True)
    state = await sale(claim_token=token, return_state=True)
    assert state.is_failed()
    assert "1 open" in str(state.message)
    (log,) = system.mongo.task_logs.find()
    assert log["status"] == "RELEASED"
    assert system.document("sale", "HD-1").claim_token == token


async def test_doubtful_values_are_shown_to_people(system: System) -> None:
    system.add("sale", "HD-1", line={"expiry_date": date(2026, 10, 1)})
    await sale(claim_token=claim_all(system), return_state=True)
    doubt = "dòng 1, hạn dùng (han_dung): lô đã hết hạn"
    (log,) = system.mongo.task_logs.find()
    assert (log["status"], log["warnings"]) == ("SUCCESS", [doubt])
    (accepted,) = [event for event in events_of_log(log) if event.kind == "accepted"]
    assert doubt in accepted.details
    artifact = await latest_artifact("sale-result")
    assert "han_dung" in str(artifact.data)


@pytest.mark.parametrize("granularity", ["flow", "task"])
async def test_a_document_whose_claim_was_given_away_meanwhile_is_not_sent(
    system: System, monkeypatch: pytest.MonkeyPatch, granularity: str
) -> None:
    system.add("sale", "TAKEN")
    token = claim_all(system)
    admit = Breakers.admit

    async def admit_late(breakers: Breakers, *args: Any, **options: Any) -> Permit:
        """The last thing before the send; another holder comes while it lasts."""
        permit = await admit(breakers, *args, **options)
        system.source.claims.release(SALE, token, unconfirmed=True, costs_attempt=False)
        return permit

    monkeypatch.setattr(Breakers, "admit", admit_late)
    await sale(claim_token=token, granularity=granularity, return_state=True)
    assert system.admin.summary()["posts"] == 0
    assert system.document("sale", "TAKEN").unconfirmed


async def test_a_second_start_of_a_run_looks_up_what_the_first_has_sent(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.admin.set_options(duplicates="accept")
    for number in range(3):
        system.add("sale", f"HD-{number}")
    token = claim_all(system)

    async def vanish(batch: Batch, record: Record, result: object) -> None:
        raise StoreUnavailable("source", "away")

    with monkeypatch.context() as away:
        away.setattr(pipelines, "record_outcome", vanish)
        await sale(claim_token=token, return_state=True)
    # Not even the log knows: the source database alone does.
    system.mongo.task_logs.delete_many({})
    state = await sale(claim_token=token, return_state=True)
    assert state.message == "3 accepted"
    assert [system.accepted("sale", f"HD-{number}") for number in range(3)] == [1, 1, 1]
