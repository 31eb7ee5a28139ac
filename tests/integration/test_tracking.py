"""The log in MongoDB: entries, failures, and what happens while it is away."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from traceback import format_exception
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from lib.errors import FieldError, InvalidDocument, StoreUnavailable
from lib.models import Acceptance, Attempt, Claim, LogStatus, Outcome, OutcomeKind, Payload
from lib.record import Record
from lib.settings import Language, MongoSettings, SyncSettings
from lib.sync.outcomes import accepted, failed
from lib.tracking.failures import FailureLog, FailureState
from lib.tracking.mongo import mongo_errors
from lib.tracking.persons import Persons
from lib.tracking.task_logs import TaskLogReader
from lib.tracking.writer import TrackingStore
from tests.support.records import make_record, make_ref

pytestmark = pytest.mark.anyio

SYNC = SyncSettings(write_batch_delay=0.001)
AN_HOUR = timedelta(hours=1)


class Clock:
    """Ahead of the server's by as much as a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def open_store(url: str, name: str, clock: Clock, **settings: Any) -> TrackingStore:
    values: dict[str, Any] = {"url": url, "database": name, "timeout": 2} | settings
    return TrackingStore(MongoSettings(**values), SYNC, clock=clock)


@pytest.fixture
async def store(
    mongo_url: str, mongo_database_name: str, clock: Clock
) -> AsyncIterator[TrackingStore]:
    async with open_store(mongo_url, mongo_database_name, clock) as store:
        await store.ensure_indexes()
        yield store


@pytest.fixture
async def database(mongo_url: str, mongo_database_name: str) -> AsyncIterator[Any]:
    async with AsyncMongoClient(mongo_url, tz_aware=True) as client:
        yield client[mongo_database_name]


def make_claim(*record_ids: int, token: str = "token-1") -> Claim:
    return Claim(token, "sale", tuple(make_ref(record_id) for record_id in record_ids))


def failure_of(record: Record) -> Outcome:
    record.payload = Payload(
        "hoa_don",
        "790760001234",
        "HD-1",
        {"ma_hoa_don": "HD-1", "ho_ten_khach_hang": "Nguyễn Thị Mai"},
    )
    error = InvalidDocument([FieldError("so_lo", 1, "is blank")], Language.ENGLISH)
    outcome = failed(record.document, error, SYNC, unconfirmed=False, outage=False)
    return outcome


async def test_a_dispatch_opens_one_entry_a_document(store: TrackingStore, database: Any) -> None:
    assert await store.dispatched(make_claim(1, 2))
    rows = await database.task_logs.find().to_list()
    assert sorted(row["record_id"] for row in rows) == [1, 2]
    assert {row["status"] for row in rows} == {"PENDING"}
    assert {row["shop_pharmacy_code"] for row in rows} == {"SHOP01"}


async def test_entries_have_the_claim_and_the_record_as_their_id(
    store: TrackingStore, database: Any
) -> None:
    await store.dispatched(make_claim(1, 2))
    await store.finished(make_record(2), failure_of(make_record(2)))
    rows = await database.task_logs.find().to_list()
    assert {(row["_id"], row["claim_token"], row["record_id"]) for row in rows} == {
        ("token-1/1", "token-1", 1),
        ("token-1/2", "token-1", 2),
    }
    assert (await database.sync_failures.find_one())["_id"] == "token-1/2"


async def test_a_lost_claim_closes_its_own_entry_and_no_other(
    store: TrackingStore, database: Any
) -> None:
    await store.dispatched(make_claim(1, 2))
    await store.dispatched(make_claim(1, token="token-2"))
    store.lost(make_record(1))
    # Writes keep their order: once this one is durable, so is the one before.
    await store.dispatched(make_claim(9))
    rows = {row["_id"]: row for row in await database.task_logs.find().to_list()}
    assert rows["token-1/1"]["status"] == "RELEASED"
    assert rows["token-1/1"]["closed_at"]
    assert "tiến trình khác" in rows["token-1/1"]["message"]
    assert rows["token-1/2"]["status"] == rows["token-2/1"]["status"] == "PENDING"


async def test_a_lost_claim_hides_no_acceptance_and_makes_no_entry(
    store: TrackingStore, database: Any
) -> None:
    await store.accepted(make_record(1), Acceptance("QG-1", "ok", 200))
    store.lost(make_record(1))
    store.lost(make_record(2))
    await store.dispatched(make_claim(9))
    rows = {row["_id"]: row["status"] for row in await database.task_logs.find().to_list()}
    assert rows == {"token-1/1": "ACCEPTED", "token-1/9": "PENDING"}


async def test_the_run_of_a_claim_is_noted_with_each_of_its_documents(
    store: TrackingStore, database: Any
) -> None:
    claim, other = make_claim(1, 2), make_claim(3, token="token-2")
    await store.dispatched(claim)
    await store.dispatched(other)
    await store.run_created(claim, "batch-run")
    # Writes keep their order: once this one is durable, so is the one before.
    await store.dispatched(other)
    rows = await database.task_logs.find().to_list()
    assert {row["record_id"]: row.get("flow_run_id") for row in rows} == {
        1: "batch-run",
        2: "batch-run",
        3: None,
    }


async def test_a_repeated_dispatch_does_not_reset_what_has_happened_since(
    store: TrackingStore, database: Any
) -> None:
    claim = make_claim(1)
    await store.dispatched(claim)
    record = make_record(1)
    record.run_id = "run"
    store.started(record, "batch-run")
    await store.dispatched(claim)
    row = await database.task_logs.find_one()
    assert (row["status"], row["record_run_id"], row["flow_run_id"]) == (
        "RUNNING",
        "run",
        "batch-run",
    )


async def test_an_acceptance_is_kept_with_its_attempts_and_then_closed(
    store: TrackingStore, database: Any
) -> None:
    record = make_record(1)
    record.attempts.append(Attempt(datetime.now(UTC), "submit", 12.5, 200, None, "dqg-2018"))
    acceptance = Acceptance("QG-1", "ok", 200)
    assert await store.accepted(record, acceptance)
    row = await database.task_logs.find_one()
    assert (row["status"], row["national_id"]) == ("ACCEPTED", "QG-1")
    assert row["attempts"][0]["http_status"] == 200
    await store.finished(record, accepted(record.document, acceptance, Language.ENGLISH))
    assert (await database.task_logs.find_one())["status"] == "SUCCESS"


async def test_a_failure_keeps_payload_reason_and_fields(
    store: TrackingStore, database: Any
) -> None:
    record = make_record(1)
    await store.finished(record, failure_of(record))
    row = await database.sync_failures.find_one()
    assert row["payload"] == {"ma_hoa_don": "HD-1", "ho_ten_khach_hang": "***"}
    assert row["field_errors"] == [{"field": "so_lo", "line": 1, "reason": "is blank"}]
    assert (row["state"], row["error_class"], row["local_id"]) == ("open", "invalid", "HD-1")
    assert (await database.task_logs.find_one())["status"] == "FAILED"


async def test_a_person_is_found_and_erased_where_names_are_kept(
    mongo_url: str, mongo_database_name: str, clock: Clock, database: Any
) -> None:
    async with open_store(
        mongo_url, mongo_database_name, clock, mask_personal_names=False
    ) as store:
        record = make_record(1)
        await store.finished(record, failure_of(record))
    row = await database.sync_failures.find_one()
    assert row["payload"]["ho_ten_khach_hang"] == "Nguyễn Thị Mai"

    persons = Persons(database)
    assert await persons.find("Nguyễn Thị") == []
    decomposed = unicodedata.normalize("NFD", " nguyễn thị MAI ")
    assert [ref.local_id for ref in await persons.find(decomposed)] == ["HD-1"]
    assert await persons.erase(decomposed) == 1
    assert await persons.erase(decomposed) == 0
    row = await database.sync_failures.find_one()
    assert row["payload"] == {"ma_hoa_don": "HD-1", "ho_ten_khach_hang": "***"}


async def test_a_changed_retention_takes_effect(
    mongo_url: str, mongo_database_name: str, clock: Clock, database: Any
) -> None:
    for days in (30, 7, 60):
        async with open_store(
            mongo_url, mongo_database_name, clock, task_log_days=days, failure_days=days
        ) as store:
            await store.ensure_indexes()
        for name in ("task_logs", "sync_failures", "audit"):
            indexes = (await database[name].index_information()).values()
            (seconds,) = [i["expireAfterSeconds"] for i in indexes if "expireAfterSeconds" in i]
            assert seconds == days * 86_400


async def test_entries_are_found_by_status_and_age(store: TrackingStore, clock: Clock) -> None:
    await store.accepted(make_record(1), Acceptance("QG-1", "ok"))
    assert await store.entries(LogStatus.ACCEPTED, older_than=AN_HOUR) == []
    clock.ahead = timedelta(hours=2)
    (entry,) = await store.entries(LogStatus.ACCEPTED, older_than=AN_HOUR)
    assert (entry.ref, entry.national_id) == (make_ref(1), "QG-1")
    assert await store.entries(LogStatus.RUNNING, older_than=AN_HOUR) == []


async def test_failures_are_settled_once(store: TrackingStore, database: Any) -> None:
    for number in (1, 2):
        record = make_record(number)
        await store.finished(record, failure_of(record))
    refs = [make_ref(1), make_ref(2)]
    assert (
        await store.record_decision(refs, state=FailureState.RESOLVED, by="someone", why="by hand")
        == 2
    )
    assert (
        await store.record_decision(refs, state=FailureState.RESOLVED, by="other", why="again") == 0
    )
    row = await database.sync_failures.find_one({"record_id": 1})
    assert (row["state"], row["settled_by"], row["settled_why"]) == (
        "resolved",
        "someone",
        "by hand",
    )
    assert [page async for page in FailureLog(store.database).unsettled_documents()] == []


async def test_last_activity_is_the_latest_of_a_claim(store: TrackingStore) -> None:
    assert await TaskLogReader(store.database).last_activity("token-1") is None
    await store.dispatched(make_claim(1, 2))
    seen = await TaskLogReader(store.database).last_activity("token-1")
    assert seen is not None
    assert abs(seen - datetime.now(UTC)) < AN_HOUR


async def test_indexes_may_be_created_again(store: TrackingStore, database: Any) -> None:
    await store.ensure_indexes()
    indexes = await database.task_logs.index_information()
    assert any(index.get("unique") for index in indexes.values())
    assert any("expireAfterSeconds" in index for index in indexes.values())


async def test_while_mongodb_is_away_writes_wait_and_are_made_later(
    store: TrackingStore, database: Any, mongo_url: str, mongo_database_name: str, clock: Clock
) -> None:
    away = open_store("mongodb://127.0.0.1:1", mongo_database_name, clock, timeout=0.2)
    record = make_record(1)
    async with away:
        assert not await away.accepted(record, Acceptance("QG-1", "ok"))
        with pytest.raises(StoreUnavailable):
            await away.ping()
        # MongoDB comes back: the same store object reaches it from here on.
        away._writes.database = store._writes.database
    row = await database.task_logs.find_one()
    assert (row["status"], row["national_id"]) == ("ACCEPTED", "QG-1")


async def test_a_failure_that_is_written_late_opens_nothing_that_a_later_one_has_superseded(
    store: TrackingStore, database: Any, mongo_database_name: str, clock: Clock
) -> None:
    late, other = make_record(1, token="token-1"), make_record(2, token="token-1")
    again = make_record(1, token="token-2")
    away = open_store("mongodb://127.0.0.1:1", mongo_database_name, clock, timeout=0.2)
    async with away:
        assert not await away.finished(late, failure_of(late))
        assert not await away.finished(other, failure_of(other))
        clock.ahead = timedelta(minutes=1)
        await store.finished(again, failure_of(again))
        away._writes.database = store._writes.database
    rows = await database.sync_failures.find().to_list()
    assert {(row["claim_token"], row["record_id"]): row["state"] for row in rows} == {
        ("token-1", 1): "superseded",
        ("token-2", 1): "open",
        ("token-1", 2): "open",
    }


async def test_the_buffer_is_bounded_and_keeps_the_newest(
    store: TrackingStore, database: Any, mongo_database_name: str, clock: Clock
) -> None:
    away = open_store(
        "mongodb://127.0.0.1:1", mongo_database_name, clock, timeout=0.2, buffer_size=2
    )
    async with away:
        for number in (1, 2, 3):
            assert not await away.accepted(make_record(number), Acceptance("QG", "ok"))
        away._writes.database = store._writes.database
    rows = await database.task_logs.find().to_list()
    assert sorted(row["record_id"] for row in rows) == [2, 3]


async def test_outcome_kinds_map_to_log_statuses(store: TrackingStore, database: Any) -> None:
    record = make_record(1)
    released = Outcome(record.ref, "token-1", OutcomeKind.RELEASED, message="again")
    await store.finished(record, released)
    assert (await database.task_logs.find_one())["status"] == "RELEASED"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"ghi_chu": "x" * (17 << 20)}, "left out: too large or not writable"),
        ({"don_gia": 2**63, "so_luong": [-(2**64), 1]}, None),
        ({"ghi_chu": "nửa \ud83d ký tự"}, None),
    ],
    ids=["too large", "too many bits", "half a character"],
)
async def test_what_mongodb_cannot_take_is_cut_and_the_others_are_written(
    store: TrackingStore, database: Any, body: dict[str, Any], kept: str | None
) -> None:
    records = [make_record(number) for number in (1, 2)]
    outcomes = [failure_of(record) for record in records]
    records[0].payload = Payload("hoa_don", "7907", "HD-1", body)

    written = await asyncio.gather(
        *(
            store.finished(record, outcome)
            for record, outcome in zip(records, outcomes, strict=True)
        )
    )

    assert written == [True, True]
    failures = {row["record_id"]: row async for row in database.sync_failures.find()}
    assert set(failures) == {1, 2}
    assert failures[1]["error"] == outcomes[0].message
    if kept:
        assert failures[1]["payload"] == kept
    else:
        assert set(failures[1]["payload"]) == set(body)
    assert await database.task_logs.count_documents({"status": "FAILED"}) == 2


async def test_a_write_that_mongodb_refuses_is_left_out_and_not_quoted(
    store: TrackingStore, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # An operator's own index forbids a second failure of one pipeline.
    await database.sync_failures.create_index("pipeline", unique=True)
    first, second = make_record(1), make_record(2)
    other = make_record(3, pipeline="import")
    await store.finished(first, failure_of(first))
    await asyncio.gather(*(store.finished(r, failure_of(r)) for r in (second, other)))
    assert await store.accepted(make_record(4), Acceptance("QG-4", "ok"))
    rows = await database.sync_failures.find().to_list()
    assert {(row["pipeline"], row["record_id"]) for row in rows} == {("sale", 1), ("import", 3)}
    assert await database.task_logs.count_documents({"status": "FAILED"}) == 3
    assert "refused a write to sync_failures" in caplog.text
    assert "Nguyễn Thị Mai" not in caplog.text


async def test_what_mongodb_refuses_counts_as_its_absence_and_is_not_quoted(database: Any) -> None:
    await database.task_logs.insert_one({"record_id": 1})
    refused = {"record_id": {"$plantedName": 1}}
    with pytest.raises(StoreUnavailable, match="OperationFailure") as caught, mongo_errors():
        await database.task_logs.find(refused).to_list()
    assert "plantedName" not in "".join(format_exception(caught.value))
