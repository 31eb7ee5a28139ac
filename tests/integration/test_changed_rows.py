"""Content counts: accepted rows that come back, corrected rows, and codes that are used again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, update

from flows.pipelines import sale
from lib.errors import StoreUnavailable
from lib.models import Acceptance, Comparison, Document
from lib.operations.events import events_of_log
from lib.pipelines import SALE
from lib.platforms.dqg.adapter import DqgPlatform
from lib.source.documents import Documents
from lib.sync.reconcile import Repairs, find_changed
from lib.tracking.writer import TrackingStore
from tasks.runtime import open_services
from tests.support.snapshots import Snapshots
from tests.support.system import System

pytestmark = pytest.mark.anyio

UPDATES = pytest.mark.settings(api={"update": True})


async def send_all(system: System) -> str | None:
    lease = timedelta(seconds=60)
    token = system.source.claims.claim(SALE, token=str(uuid4()), limit=50, lease=lease).token
    return (await sale(claim_token=token, granularity="task", return_state=True)).message


def set_pending(system: System, local_id: str = "HD-1", **values: Any) -> None:
    system.change("sale", local_id, status="PENDING_SYNC", **values)


def correct(system: System, local_id: str = "HD-1", by: int = 1) -> None:
    details = system.tables.details(SALE)
    record_id = system.document("sale", local_id).ref.record_id
    with system.engine.begin() as connection:
        connection.execute(
            update(details)
            .where(system.tables.foreign_key(SALE) == record_id)
            .values(quantity=details.c.quantity + by)
        )


def forget(system: System, local_id: str = "HD-1") -> None:
    """As a backup from before the acceptance has the document: in our table as well."""
    delivery = system.tables.delivery
    record_id = system.document("sale", local_id).ref.record_id
    with system.engine.begin() as connection:
        connection.execute(delete(delivery).where(delivery.c.record_id == record_id))
    set_pending(system, local_id, national_invoice_id=None, sync_response_message=None)


def quantity_there(system: System, local_id: str = "HD-1") -> float:
    (found,) = system.admin.documents(resource="hoa_don", code=local_id)
    body = system.admin.body("hoa_don", found["ma_co_so"], local_id)
    return float(body["hoa_don_chi_tiet"][0]["so_luong"])


def failure(system: System, local_id: str = "HD-1") -> str:
    document = system.document("sale", local_id)
    assert document.status == "SYNC_FAILED"
    return str(system.mongo.sync_failures.find_one({"local_id": local_id})["error_class"])


def send_one(system: System) -> None:
    system.admin.set_options(duplicates="accept")
    system.add("sale", "HD-1")
    asyncio.run(send_all(system))


@pytest.fixture
def accepted(system: System, snapshots: Snapshots) -> str:
    """HD-1 is accepted, at an API that takes a code twice; its national id."""
    snapshots.begin_with(system, send_one)
    document = system.document("sale", "HD-1")
    assert document.status == "SYNC_SUCCESS"
    assert document.delivery.payload_digest is not None
    assert document.delivery.sent_digest is None
    (log,) = system.mongo.task_logs.find()
    assert log["payload_digest"] == document.delivery.payload_digest
    return str(document.national_id)


async def test_a_row_set_pending_as_it_was_is_a_success_without_a_call(
    system: System, accepted: str
) -> None:
    set_pending(system, national_invoice_id=None)
    calls = system.admin.last_call()
    assert await send_all(system) == "1 accepted"
    assert system.document("sale", "HD-1").national_id == accepted
    assert system.admin.calls(calls) == []


async def test_a_corrected_row_waits_for_a_person(system: System, accepted: str) -> None:
    correct(system)
    set_pending(system)
    calls = system.admin.last_call()
    assert await send_all(system) == "1 failed"
    assert failure(system) == "changed_after_acceptance"
    assert accepted in str(system.document("sale", "HD-1").message)
    assert system.admin.calls(calls) == []
    # Made pending again by a person it stays so, and put back it is a success.
    set_pending(system)
    assert await send_all(system) == "1 failed"
    correct(system, by=-1)
    set_pending(system)
    assert await send_all(system) == "1 accepted"
    assert system.accepted("sale", "HD-1") == 1


@UPDATES
async def test_a_correction_is_sent_as_an_update_where_that_is_allowed(
    system: System, accepted: str
) -> None:
    before, digest = quantity_there(system), system.document("sale", "HD-1").delivery.payload_digest
    correct(system)
    set_pending(system)
    assert await send_all(system) == "1 accepted"
    document = system.document("sale", "HD-1")
    assert (document.status, document.national_id) == ("SYNC_SUCCESS", accepted)
    assert document.delivery.payload_digest not in (None, digest)
    assert quantity_there(system) == before + 1
    assert system.accepted("sale", "HD-1") == 1


@UPDATES
@pytest.mark.settings(sync={"task_retries": 0})
async def test_an_update_without_a_clear_answer_is_done_again_and_never_posted(
    system: System, accepted: str
) -> None:
    before = quantity_there(system)
    correct(system)
    set_pending(system)
    fault = system.admin.add_fault("reset", match={"operation": "update"})
    assert await send_all(system) == "1 released"
    document = system.document("sale", "HD-1")
    assert document.unconfirmed
    assert document.delivery.sent_digest is not None
    # What was accepted is the same content as before, but the update may have been stored since.
    correct(system, by=-1)
    system.admin.clear_faults(fault)
    set_pending(system, next_attempt_at=None)
    assert await send_all(system) == "1 accepted"
    assert quantity_there(system) == before
    assert system.accepted("sale", "HD-1") == 1
    assert system.document("sale", "HD-1").delivery.sent_digest is None


@UPDATES
async def test_an_api_without_updates_leaves_a_correction_to_a_person(
    system: System, accepted: str
) -> None:
    correct(system)
    set_pending(system)
    system.admin.add_fault("status", match={"operation": "update"}, status=405)
    assert await send_all(system) == "1 failed"
    assert failure(system) == "changed_after_acceptance"


async def test_what_a_restored_backup_has_forgotten_is_known_by_the_log(
    system: System, accepted: str
) -> None:
    forget(system)
    posts = system.admin.summary()["posts"]
    assert await send_all(system) == "1 accepted"
    assert system.document("sale", "HD-1").national_id == accepted
    forget(system)
    correct(system)
    assert await send_all(system) == "1 failed"
    assert failure(system) == "changed_after_acceptance"
    assert system.admin.summary()["posts"] == posts


async def test_a_logged_acceptance_without_a_digest_is_looked_up(
    system: System, accepted: str
) -> None:
    system.mongo.task_logs.update_many({}, {"$unset": {"payload_digest": ""}})
    forget(system)
    assert await send_all(system) == "1 accepted"
    assert system.document("sale", "HD-1").national_id == accepted
    assert system.accepted("sale", "HD-1") == 1
    assert system.admin.calls()[-1]["operation"] == "lookup"


async def test_without_look_ups_a_logged_acceptance_without_a_digest_is_a_conflict(
    system: System, accepted: str
) -> None:
    system.admin.set_options(lookup="off")
    system.mongo.task_logs.update_many({}, {"$unset": {"payload_digest": ""}})
    forget(system)
    assert await send_all(system) == "1 failed"
    assert failure(system) == "conflict"
    assert system.accepted("sale", "HD-1") == 1


async def test_a_logged_acceptance_that_shows_other_content_has_changed(
    system: System, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.mongo.task_logs.update_many({}, {"$unset": {"payload_digest": ""}})
    forget(system)

    async def look_up(*_: Any) -> Acceptance:
        other = Comparison(different=("ngay_ban",))
        return Acceptance(accepted, "there", duplicate=True, compared=other)

    monkeypatch.setattr(DqgPlatform, "look_up", look_up)
    assert await send_all(system) == "1 failed"
    assert failure(system) == "changed_after_acceptance"


async def test_a_log_that_cannot_be_read_is_no_obstacle(
    system: System, monkeypatch: pytest.MonkeyPatch, accepted: str
) -> None:
    async def away(*_: Any) -> list[Any]:
        raise StoreUnavailable("MongoDB", "away")

    monkeypatch.setattr(TrackingStore, "acceptances", away)
    system.add("sale", "HD-2")
    assert await send_all(system) == "1 accepted"


async def test_a_code_used_again_for_other_content_is_a_conflict(
    system: System, accepted: str
) -> None:
    system.admin.set_options(duplicates="reject")
    system.change("sale", "HD-1", local_invoice_id="HD-1 of last year")
    system.add("sale", "HD-1", lines=2)
    # A person who sends it again as it is gets the same answer.
    for _ in range(2):
        assert await send_all(system) == "1 failed"
        assert failure(system) == "conflict"
        assert system.document("sale", "HD-1").national_id is None
        set_pending(system)
    # Also where the look-up could not say at first.
    fault = system.admin.add_fault("status", match={"operation": "lookup"}, status=503)
    system.admin.add_fault(
        "status", match={"operation": "create"}, status=409, body={"code": 409}, times=1
    )
    await send_all(system)
    assert system.document("sale", "HD-1").status == "PENDING_SYNC"
    system.admin.clear_faults(fault)
    set_pending(system, next_attempt_at=None)
    assert await send_all(system) == "1 failed"
    assert system.accepted("sale", "HD-1") == 1


async def test_a_document_whose_answer_was_lost_is_adopted_by_what_was_sent(
    system: System,
) -> None:
    system.admin.set_options(duplicates="reject")
    system.add("sale", "HD-1")
    system.admin.add_fault("reset", match={"operation": "create"}, times=1, after_store=True)
    system.admin.add_fault("status", match={"operation": "lookup"}, status=503, times=1)
    await send_all(system)
    system.change("sale", "HD-1", next_attempt_at=None)
    await send_all(system)
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"
    assert system.accepted("sale", "HD-1") == 1


async def test_a_row_changed_after_its_answer_was_lost_is_a_conflict(system: System) -> None:
    system.add("sale", "HD-1")
    system.admin.add_fault("reset", match={"operation": "create"}, times=1, after_store=True)
    lookup = system.admin.add_fault("status", match={"operation": "lookup"}, status=503)
    await send_all(system)
    assert system.document("sale", "HD-1").delivery.sent_digest is not None
    system.admin.clear_faults(lookup)
    correct(system)
    for _ in range(2):
        set_pending(system, next_attempt_at=None)
        assert await send_all(system) == "1 failed"
        assert failure(system) == "conflict"
    assert system.accepted("sale", "HD-1") == 1


async def test_an_old_national_id_on_a_pending_row_is_confirmed_by_a_look_up(
    system: System, accepted: str
) -> None:
    system.mongo.task_logs.delete_many({})
    forget(system)
    set_pending(system, national_invoice_id=accepted)
    assert await send_all(system) == "1 accepted"
    forget(system)
    system.mongo.task_logs.delete_many({})
    set_pending(system, national_invoice_id="QG-OF-ANOTHER")
    assert await send_all(system) == "1 failed"
    assert failure(system) == "conflict"
    assert system.accepted("sale", "HD-1") == 1


async def test_force_asks_the_api_whatever_is_on_record(system: System, accepted: str) -> None:
    (found,) = system.admin.documents(resource="hoa_don", code="HD-1")
    await sale(local_invoice_id="HD-1", force=True, return_state=True)
    assert system.accepted("sale", "HD-1") == 1
    assert system.admin.calls()[-1]["operation"] == "lookup"
    assert found["ma_co_so"]


async def test_a_row_that_changed_while_it_was_sent_is_noted(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system.add("sale", "EDITED")
    system.add("sale", "TAKEN")
    load = Documents.load

    def load_and_change(documents: Documents, *args: Any) -> list[Document]:
        loaded = load(documents, *args)
        header = system.tables.header(SALE)
        for local_id, values in (("EDITED", {}), ("TAKEN", {"status": "CANCELLED"})):
            system.change(
                "sale", local_id, updated_at=header.c.updated_at + timedelta(hours=1), **values
            )
        return loaded

    monkeypatch.setattr(Documents, "load", load_and_change)
    await send_all(system)
    assert system.statuses("sale") == {"EDITED": "SYNC_SUCCESS", "TAKEN": "CANCELLED"}
    notes = {log["local_id"]: " ".join(log["notes"]) for log in system.mongo.task_logs.find()}
    assert "bị sửa trong lúc gửi" in notes["EDITED"]
    assert "CANCELLED" in notes["TAKEN"]
    assert "EDITED: the outcome is recorded" in caplog.text
    (log,) = system.mongo.task_logs.find({"local_id": "EDITED"})
    assert any("bị sửa trong lúc gửi" in event.details for event in events_of_log(log))


def touch(system: System, local_id: str = "HD-1") -> None:
    """What an application does that notes each change of a row, an hour later."""
    column = system.tables.header(SALE).c.updated_at
    system.change("sale", local_id, updated_at=column + timedelta(hours=1))


async def found_changed() -> list[str]:
    """What `reconcile` lists."""
    repairs = Repairs()
    async with open_services() as services:
        await find_changed(services, repairs)
    return repairs.examples.get("accepted, and changed since: look at them", [])


async def test_rows_changed_after_their_acceptance_are_listed(
    system: System, accepted: str
) -> None:
    system.add("sale", "HD-2")
    await send_all(system)
    assert await found_changed() == []
    touch(system, "HD-2")
    correct(system)
    # A change that leaves no trace in the header is not looked for, one without effect no change.
    assert await found_changed() == []
    touch(system)
    assert await found_changed() == ["sale HD-1"]
    # What cannot be built is left out.
    with system.engine.begin() as connection:
        connection.execute(update(system.tables.details(SALE)).values(lot_number=" "))
    assert await found_changed() == []


async def test_a_row_changed_while_it_was_sent_is_listed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    load = Documents.load

    def load_and_correct(documents: Documents, *args: Any) -> list[Document]:
        loaded = load(documents, *args)
        touch(system)
        correct(system)
        return loaded

    monkeypatch.setattr(Documents, "load", load_and_correct)
    await send_all(system)
    assert await found_changed() == ["sale HD-1"]
