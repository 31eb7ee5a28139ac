"""A batch, from claim to outcome, on the real parts: each way a document can end."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State

from flows.pipelines import cancellation, import_receipts, sale
from lib.pipelines import get_pipeline
from tests.support.system import System

pytestmark = pytest.mark.anyio

FLOWS = {"import": import_receipts, "sale": sale, "cancellation": cancellation}


async def run_batch(system: System, pipeline: str, **parameters: Any) -> State[Any]:
    """Claims everything pending, as `orchestrate` does, and runs the batch in this process."""
    claim = system.source.claims.claim(
        get_pipeline(pipeline), token=str(uuid4()), limit=1000, lease=timedelta(seconds=60)
    )
    return await FLOWS[pipeline](claim_token=claim.token, return_state=True, **parameters)


@pytest.mark.parametrize("granularity", ["flow", "task"])
@pytest.mark.parametrize("pipeline", FLOWS)
async def test_good_documents_are_accepted_once_with_their_national_id(
    system: System, pipeline: str, granularity: str
) -> None:
    for number, shop in enumerate(["SHOP01", "SHOP02", "SHOP03"]):
        system.add(pipeline, f"D-{number}", shop=shop, lines=2)
    state = await run_batch(system, pipeline, granularity=granularity)
    assert state.is_completed()
    assert state.message == "3 accepted"
    for number in range(3):
        document = system.document(pipeline, f"D-{number}")
        assert document.status == "SYNC_SUCCESS"
        assert document.national_id
        assert document.claim_token is None
        assert system.accepted(pipeline, f"D-{number}") == 1
    logs = list(system.mongo.task_logs.find())
    assert {log["status"] for log in logs} == {"SUCCESS"}
    assert all(log["national_id"] and log["record_run_id"] for log in logs)


@pytest.mark.parametrize("granularity", ["flow", "task"])
async def test_one_bad_document_stops_no_other(system: System, granularity: str) -> None:
    system.add("sale", "GOOD")
    system.add("sale", "NO-LINES", lines=0)
    system.add("sale", "BLANK-LOT", line={"lot_number": " "})
    system.add("sale", "FRACTION", line={"quantity": Decimal("1.50")})
    system.add("sale", "UNKNOWN-DRUG", line={"drug_code": "DQG99999999"})
    state = await run_batch(system, "sale", granularity=granularity)
    assert state.message == "1 accepted, 4 failed"
    assert system.statuses("sale") == {
        "GOOD": "SYNC_SUCCESS",
        "NO-LINES": "SYNC_FAILED",
        "BLANK-LOT": "SYNC_FAILED",
        "FRACTION": "SYNC_FAILED",
        "UNKNOWN-DRUG": "SYNC_FAILED",
    }
    failures = {row["local_id"]: row for row in system.mongo.sync_failures.find()}
    assert set(failures) == {"NO-LINES", "BLANK-LOT", "FRACTION", "UNKNOWN-DRUG"}
    assert failures["BLANK-LOT"]["field_errors"][0]["field"] == "so_lo"
    assert failures["FRACTION"]["field_errors"][0]["line"] == 1
    unknown = failures["UNKNOWN-DRUG"]
    assert unknown["error_class"] == "rejected"
    assert unknown["http_status"] == 400
    assert unknown["payload"]["ma_hoa_don"] == "UNKNOWN-DRUG"
    assert "ma_thuoc" in unknown["answer"]
    # Those that our own validation refuses cost no call.
    assert system.admin.summary()["posts"] == 2


@pytest.mark.parametrize("granularity", ["flow", "task"])
async def test_a_passing_failure_is_retried_within_the_run(
    system: System, granularity: str
) -> None:
    system.add("sale", "FLAKY")
    system.admin.add_fault(
        "status", operation="create", match={"code": "FLAKY"}, status=503, times=2
    )
    state = await run_batch(system, "sale", granularity=granularity)
    assert state.message == "1 accepted"
    (log,) = system.mongo.task_logs.find()
    calls = [(attempt["action"], attempt["http_status"]) for attempt in log["attempts"]]
    assert [status for action, status in calls if action == "submit"] == [503, 503, 200]
    assert system.document("sale", "FLAKY").attempts == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_stores_before_it_fails_gets_no_document_twice(
    system: System, status: int
) -> None:
    system.admin.set_options(duplicates="accept")
    system.add("sale", "STORED")
    system.admin.add_fault("status", operation="create", status=status, after_store=True, times=1)
    await run_batch(system, "sale")
    assert system.document("sale", "STORED").status == "SYNC_SUCCESS"
    assert system.accepted("sale", "STORED") == 1


async def test_spent_retries_give_the_document_back_for_later(system: System) -> None:
    system.add("sale", "DOWN")
    system.admin.add_fault("status", operation="create", status=503)
    await run_batch(system, "sale")
    document = system.document("sale", "DOWN")
    assert (document.status, document.claim_token) == ("PENDING_SYNC", None)
    assert document.next_attempt_at is not None
    (log,) = system.mongo.task_logs.find()
    assert log["status"] == "RELEASED"


@pytest.mark.settings(sync={"max_attempts": 1, "task_retries": 0})
async def test_the_last_attempt_is_followed_by_a_person(system: System) -> None:
    system.add("sale", "DOWN")
    system.admin.add_fault("status", operation="create", status=503)
    await run_batch(system, "sale")
    assert system.document("sale", "DOWN").status == "SYNC_FAILED"
    (failure,) = system.mongo.sync_failures.find()
    assert (failure["error_class"], failure["state"]) == ("attempts_exhausted", "open")


@pytest.mark.settings(api={"read_timeout": 0.3})
async def test_an_unknown_outcome_is_looked_up_before_anything_is_sent_again(
    system: System,
) -> None:
    system.add("sale", "HANGS")
    system.admin.add_fault("accept_then_hang", operation="create", seconds=30, times=1)
    await run_batch(system, "sale")
    document = system.document("sale", "HANGS")
    assert (document.status, document.unconfirmed) == ("PENDING_SYNC", True)
    assert system.accepted("sale", "HANGS") == 1

    system.change("sale", "HANGS", next_attempt_at=None)
    await run_batch(system, "sale")
    document = system.document("sale", "HANGS")
    assert (document.status, document.unconfirmed) == ("SYNC_SUCCESS", False)
    (counters,) = system.admin.documents(code="HANGS")
    assert (counters["posts"], counters["lookups"]) == (1, 1)
    assert document.national_id == counters["national_id"]


@pytest.mark.settings(api={"read_timeout": 0.3})
async def test_where_the_api_has_no_lookup_a_duplicate_answer_counts_as_accepted(
    system: System,
) -> None:
    system.admin.set_options(lookup="off")
    system.add("sale", "HANGS")
    system.admin.add_fault("accept_then_hang", operation="create", seconds=30, times=1)
    await run_batch(system, "sale")
    system.change("sale", "HANGS", next_attempt_at=None)
    await run_batch(system, "sale")
    assert system.document("sale", "HANGS").status == "SYNC_SUCCESS"
    assert system.accepted("sale", "HANGS") == 1


async def test_a_wrong_password_pauses_its_shop_alone_and_costs_no_attempt(
    system: System,
) -> None:
    system.set_password("SHOP02", "wrong")
    for number in range(5):
        system.add("sale", f"BAD-{number}", shop="SHOP02")
        system.add("sale", f"GOOD-{number}", shop="SHOP01")
    await run_batch(system, "sale")
    statuses = system.statuses("sale")
    assert {statuses[f"GOOD-{n}"] for n in range(5)} == {"SYNC_SUCCESS"}
    assert {statuses[f"BAD-{n}"] for n in range(5)} == {"PENDING_SYNC"}
    assert {system.document("sale", f"BAD-{n}").attempts for n in range(5)} == {0}
    assert system.admin.summary()["logins"]["demo_minhtam"]["refused"] <= 2

    system.set_password("SHOP02", "Demo-minhtam-1")
    await run_batch(system, "sale")
    assert set(system.statuses("sale").values()) == {"SYNC_SUCCESS"}


async def test_a_shop_without_an_account_waits_for_one(system: System) -> None:
    system.add("sale", "LOST", shop="SHOP99")
    system.add("sale", "GOOD")
    await run_batch(system, "sale")
    assert system.statuses("sale") == {"LOST": "PENDING_SYNC", "GOOD": "SYNC_SUCCESS"}
    assert "SHOP99" in (system.document("sale", "LOST").message or "")


async def test_a_wrong_path_fails_no_document(system: System) -> None:
    for number in range(4):
        system.add("sale", f"D-{number}")
    system.admin.add_fault("status", operation="create", status=404)
    await run_batch(system, "sale")
    assert set(system.statuses("sale").values()) == {"PENDING_SYNC"}
    # Nothing passed meanwhile, so it may still be the documents' own fault: at most one attempt.
    assert all(system.document("sale", f"D-{n}").attempts <= 1 for n in range(4))


async def test_a_late_holder_writes_nothing(system: System) -> None:
    system.add("sale", "TAKEN")
    claim = system.source.claims.claim(
        get_pipeline("sale"), token="mine", limit=10, lease=timedelta(seconds=60)
    )
    system.change("sale", "TAKEN", claim_token="another's")
    state = await sale(claim_token=claim.token, return_state=True)
    assert state.is_completed()
    assert "nothing to do" in (state.message or "")
    assert system.document("sale", "TAKEN").claim_token == "another's"
    assert system.admin.summary()["posts"] == 0


class TestOneDocumentByHand:
    """A person sends one document by its local id."""

    async def test_it_is_sent_whatever_its_status(self, system: System) -> None:
        system.add("sale", "HD-1", status="SYNC_FAILED")
        state = await sale(local_invoice_id="HD-1", return_state=True)
        assert state.is_completed()
        assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"

    async def test_an_unknown_id_fails_with_a_message_that_names_it(self, system: System) -> None:
        state = await sale(local_invoice_id="HD-NOWHERE", return_state=True)
        assert state.is_failed()
        assert "HD-NOWHERE" in (state.message or "")

    async def test_what_is_accepted_is_sent_again_only_by_force(self, system: System) -> None:
        system.add("sale", "HD-1", status="SYNC_SUCCESS", national_invoice_id="QG-OLD")
        refused = await sale(local_invoice_id="HD-1", return_state=True)
        assert refused.is_failed()
        assert system.admin.summary()["posts"] == 0
        forced = await sale(local_invoice_id="HD-1", force=True, return_state=True)
        assert forced.is_completed()
        assert system.accepted("sale", "HD-1") == 1

    async def test_one_that_is_refused_fails_the_run_with_the_reason(self, system: System) -> None:
        system.add("sale", "HD-1", line={"lot_number": ""})
        state = await sale(local_invoice_id="HD-1", return_state=True)
        assert state.is_failed()
        assert "so_lo" in (state.message or "")

    async def test_one_that_fails_again_waits_for_one_decision(self, system: System) -> None:
        system.add("sale", "HD-1", line={"lot_number": ""})
        system.add("sale", "HD-1", shop="SHOP02", line={"lot_number": ""})
        for pharmacy in ("790760001234", "790760001234", "010010005678"):
            await sale(local_invoice_id="HD-1", pharmacy_code=pharmacy, return_state=True)
        failures = system.mongo.sync_failures.find({}, sort=[("created_at", 1)])
        assert [(row["shop_pharmacy_code"], row["state"]) for row in failures] == [
            ("SHOP01", "superseded"),
            ("SHOP01", "open"),
            ("SHOP02", "open"),
        ]

    async def test_an_ambiguous_id_needs_the_pharmacy_code(self, system: System) -> None:
        system.add("sale", "HD-1", shop="SHOP01")
        system.add("sale", "HD-1", shop="SHOP02")
        state = await sale(local_invoice_id="HD-1", return_state=True)
        assert state.is_failed()
        assert "790760001234" in (state.message or "")
        state = await sale(local_invoice_id="HD-1", pharmacy_code="010010005678", return_state=True)
        assert state.is_completed()
