"""The source store against real databases: PostgreSQL always, SQL Server where there is one.

Set TEST_SQLSERVER_URL to the SQLAlchemy URL of an empty SQL Server database to run both.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import (
    Connection,
    Engine,
    UniqueConstraint,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.schema import DropConstraint

from deployments.migrations import BUSINESS, SYNC, migrate, unmigrate
from lib.errors import (
    AlreadySent,
    AmbiguousDocument,
    ConfigurationError,
    DocumentBusy,
    DocumentNotFound,
    StoreUnavailable,
)
from lib.models import Outcome, OutcomeKind, SyncStatus
from lib.pipelines import CANCELLATION, IMPORT, PIPELINES, SALE, Pipeline
from lib.settings import SourceSettings
from lib.source.accounts import ShopAccount, StoredPassword
from lib.source.dialects import local_now, utc_in
from lib.source.engine import create_source_engine, translate_errors
from lib.source.store import Source, open_source
from lib.source.tables import SourceTables, build_tables
from lib.source.transactions import Transactions

LEASE = timedelta(minutes=5)
PHARMACY = "790760001234"
T0 = datetime(2026, 11, 2, 8, 30)  # noqa: DTZ001 - business columns hold local time

_HEADER_VALUES: dict[str, dict[str, Any]] = {
    "import": {"receipt_date": T0, "receipt_type": 1},
    "sale": {"sale_date": T0, "customer_name": "Phạm Văn Đức"},
    "cancellation": {"issue_date": T0, "issue_type": 3, "notes": "Hủy thuốc hết hạn"},
}
_LINE: dict[str, Any] = {
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "production_date": None,
    "expiry_date": date(2028, 3, 31),
    "registration_number": "VD-31422-19",
    "quantity": Decimal(20),
    "unit_price": Decimal("500.25"),
    "unit": "Viên",
}
_SALE_LINE = {
    "concentration": "500mg",
    "dosage": "1 viên/lần, ngày 3 lần",
    "line_total": Decimal(10005),
    "conversion_ratio": Decimal(1),
}


@dataclass(frozen=True)
class Database:
    """A database with its tables and a store on it; makes and reads rows past the store."""

    engine: Engine
    tables: SourceTables
    store: Source

    def add(self, pipeline: Pipeline, local_id: str, *, lines: int = 1, **values: Any) -> int:
        """A document; its record id."""
        header = self.tables.header(pipeline)
        row = {
            pipeline.local_id_column: local_id,
            "pharmacy_code": PHARMACY,
            "shop_pharmacy_code": "SHOP01",
            "status": "PENDING_SYNC",
            "created_at": T0,
            "updated_at": T0,
        }
        row |= _HEADER_VALUES[pipeline.name] | values
        line = _LINE | (_SALE_LINE if pipeline is SALE else {})
        with self.engine.begin() as connection:
            key = connection.execute(insert(header).values(row)).inserted_primary_key
            assert key is not None
            record_id = int(key[0])
            for number in range(lines):
                connection.execute(
                    insert(self.tables.details(pipeline)).values(
                        line
                        | {
                            pipeline.foreign_key_column: record_id,
                            "lot_number": f"L{number + 1}",
                        }
                    )
                )
        return record_id

    def add_many(self, pipeline: Pipeline, count: int) -> list[int]:
        return [self.add(pipeline, f"DOC-{number:05}") for number in range(count)]

    def change(self, pipeline: Pipeline, record_id: int, **values: Any) -> None:
        header = self.tables.header(pipeline)
        with self.engine.begin() as connection:
            connection.execute(update(header).where(header.c.id == record_id).values(values))

    def expire(self, pipeline: Pipeline, *record_ids: int) -> None:
        for record_id in record_ids:
            self.change(pipeline, record_id, sync_lease_expires_at=utc_in(-60))

    def row(self, pipeline: Pipeline, record_id: int) -> dict[str, Any]:
        header = self.tables.header(pipeline)
        with self.engine.connect() as connection:
            row = connection.execute(select(header).where(header.c.id == record_id)).one()
        return {column.key: row._mapping[column] for column in header.c}

    def claim(self, pipeline: Pipeline, token: str = "token-1", limit: int = 100) -> list[int]:
        """Record ids of a claim, in its order."""
        claim = self.store.claims.claim(pipeline, token=token, limit=limit, lease=LEASE)
        assert (claim.token, claim.pipeline) == (token, pipeline.name)
        return [ref.record_id for ref in claim.documents]

    def claim_one(self, pipeline: Pipeline, local_id: str, **options: Any) -> int:
        claim = self.store.claims.claim_one(
            pipeline, local_id=local_id, lease=LEASE, **({"token": "person"} | options)
        )
        return claim.documents[0].record_id

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        seen: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        event.listen(self.engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self.engine, "before_cursor_execute", note)


def _database(url: str, settings: SourceSettings) -> Database:
    tables = build_tables(settings)
    engine = create_source_engine(url, settings)
    return Database(engine, tables, open_source(engine, tables, sleep=lambda _: None))


@pytest.fixture(scope="module", params=["postgresql", "mssql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "mssql":
        url = os.environ.get("TEST_SQLSERVER_URL", "")
        if not url:
            pytest.skip("TEST_SQLSERVER_URL is not set")
    else:
        url = request.getfixturevalue("postgres").create_database("source_store")
    settings = SourceSettings()
    migrate(url, BUSINESS, settings=settings)
    database = _database(url, settings)
    _allow_duplicates(database)
    migrate(url, SYNC, settings=settings)
    yield database
    if request.param == "mssql":
        with database.engine.begin() as connection:
            connection.execute(delete(database.tables.accounts))
    database.store.dispose()
    if request.param == "mssql":
        unmigrate(url, SYNC, BUSINESS, settings=settings)


def _allow_duplicates(database: Database) -> None:
    """Real installations have no unique key on the documents' codes."""
    with database.engine.begin() as connection:
        for pipeline in PIPELINES.values():
            header = database.tables.header(pipeline)
            key = UniqueConstraint(
                header.c.pharmacy_code,
                database.tables.local_id(pipeline),
                name=f"uq_{header.name}_code",
            )
            connection.execute(DropConstraint(key))
            header.constraints.discard(key)


@pytest.fixture
def db(database: Database) -> Database:
    """The database without rows."""
    with database.engine.begin() as connection:
        for table in reversed(database.tables.metadata.sorted_tables):
            connection.execute(delete(table))
    return database


def _outcome(
    db: Database, record_id: int, kind: OutcomeKind, token: str = "token-1", **values: Any
) -> Outcome:
    pipeline = values.pop("pipeline", SALE)
    ref = db.store.documents.get(pipeline, [record_id])[0].ref
    return Outcome(ref=ref, claim_token=token, kind=kind, **values)


# Claiming a batch


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_claim_takes_pending_documents_oldest_first(db: Database, pipeline: Pipeline) -> None:
    newer = db.add(pipeline, "B", created_at=T0 + timedelta(hours=1))
    older = db.add(pipeline, "A", created_at=T0)
    same_age = db.add(pipeline, "C", created_at=T0 + timedelta(hours=1))
    db.add(pipeline, "done", status="SYNC_SUCCESS", created_at=T0 - timedelta(days=1))
    db.add(pipeline, "bad", status="SYNC_FAILED", created_at=T0 - timedelta(days=1))

    assert db.claim(pipeline, limit=2) == [older, newer]
    assert db.claim(pipeline, token="token-2") == [same_age]


def test_claim_writes_token_lease_and_attempt(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", shop_pharmacy_code="SHOP02")

    claim = db.store.claims.claim(SALE, token="token-1", limit=1, lease=LEASE)

    (ref,) = claim.documents
    assert (ref.pipeline, ref.record_id, ref.local_id) == ("sale", record_id, "HD-1")
    assert (ref.pharmacy_code, ref.shop_pharmacy_code) == (PHARMACY, "SHOP02")
    (stored,) = db.store.documents.get(SALE, [record_id])
    assert stored.status is SyncStatus.PENDING
    assert stored.claim_token == "token-1"
    assert stored.lease_live
    assert stored.lease_expires_at is not None
    assert stored.lease_expires_at.tzinfo is UTC
    assert stored.attempts == 1
    assert stored.unconfirmed is False


def test_claim_leaves_documents_under_a_live_lease_alone(db: Database) -> None:
    db.add_many(SALE, 2)
    assert len(db.claim(SALE)) == 2
    assert db.claim(SALE, token="token-2") == []


def test_claim_takes_over_an_expired_lease_as_unconfirmed(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.expire(SALE, record_id)

    assert db.claim(SALE, token="token-2") == [record_id]

    (stored,) = db.store.documents.get(SALE, [record_id])
    assert (stored.claim_token, stored.attempts, stored.unconfirmed) == ("token-2", 1, True)


def test_claim_keeps_the_unconfirmed_flag_of_a_released_document(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", sync_unconfirmed=True)
    db.claim(SALE)
    assert db.store.documents.get(SALE, [record_id])[0].unconfirmed is True


def test_claim_waits_for_the_next_attempt(db: Database) -> None:
    db.add(SALE, "later", sync_next_attempt_at=utc_in(3600))
    due = db.add(SALE, "due", sync_next_attempt_at=utc_in(-1))
    assert db.claim(SALE) == [due]


def test_claim_excludes_and_selects_shops(db: Database) -> None:
    ids = {shop: db.add(SALE, f"HD-{shop}", shop_pharmacy_code=shop) for shop in ("S1", "S2", "S3")}

    def claimed(**shops: Any) -> list[int]:
        claim = db.store.claims.claim(SALE, token="t", limit=9, lease=LEASE, **shops)
        db.store.claims.release(SALE, "t", unconfirmed=None, costs_attempt=False)
        return [ref.record_id for ref in claim.documents]

    assert claimed(exclude_shops={"S1", "S2"}) == [ids["S3"]]
    assert claimed(only_shops={"S2"}) == [ids["S2"]]
    assert claimed(only_shops={"S1", "S2"}, exclude_shops={"S1"}) == [ids["S2"]]
    assert claimed(only_shops=()) == []
    many = {f"X'{number}" for number in range(3000)}
    assert claimed(exclude_shops=many | {"S1"}) == [ids["S2"], ids["S3"]]


def test_claim_of_nothing_is_empty(db: Database) -> None:
    assert db.claim(SALE) == []
    db.add(SALE, "HD-1")
    assert db.claim(SALE, limit=0) == []


def test_claimers_racing_in_threads_claim_nothing_twice(db: Database) -> None:
    ids = set(db.add_many(SALE, 120))
    start = threading.Barrier(4)

    def claimer(name: str) -> list[int]:
        start.wait(timeout=30)
        taken: list[int] = []
        number = 0
        while batch := db.claim(SALE, token=f"{name}-{number}", limit=7):
            assert len(batch) <= 7
            taken += batch
            number += 1
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [record for batch in pool.map(claimer, "abcd") for record in batch]

    assert len(taken) == len(set(taken))
    rest = db.claim(SALE, token="rest", limit=1000)  # what all of them passed over as locked
    assert sorted([*taken, *rest]) == sorted(ids)
    assert {db.row(SALE, record)["sync_attempts"] for record in ids} == {1}


# Several rows of one code


def test_of_rows_with_one_code_only_the_lowest_pending_is_claimed(db: Database) -> None:
    first, second = db.add(SALE, "HD-1"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [first]
    assert db.claim(SALE, token="token-2") == []

    db.store.outcomes.save([_outcome(db, first, OutcomeKind.FAILED, message="no")])
    assert db.claim(SALE, token="token-3") == [second]


def test_the_same_local_id_of_two_pharmacies_is_two_documents(db: Database) -> None:
    ids = [db.add(SALE, "HD-1"), db.add(SALE, "HD-1", pharmacy_code="010010005678")]
    assert db.claim(SALE) == ids


def test_a_lower_row_made_pending_again_waits_for_the_one_in_flight(db: Database) -> None:
    lower, higher = db.add(SALE, "HD-1", status="SYNC_FAILED"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [higher]
    assert db.store.outcomes.requeue(SALE, [lower]) == 1

    assert db.claim(SALE, token="token-2") == []

    db.store.outcomes.save([_outcome(db, higher, OutcomeKind.ACCEPTED, national_id="Q")])
    assert db.claim(SALE, token="token-3") == [lower]


def test_racing_claimers_never_hold_two_rows_of_one_code(db: Database) -> None:
    lowest = [db.add(SALE, f"HD-{number}") for number in range(25)]
    for number in range(25):
        db.add(SALE, f"HD-{number}")
    start = threading.Barrier(3)

    def claimer(name: str) -> list[int]:
        start.wait(timeout=30)
        return [r for n in range(12) for r in db.claim(SALE, token=f"{name}-{n}", limit=4)]

    with ThreadPoolExecutor(3) as pool:
        taken = [record for batch in pool.map(claimer, "abc") for record in batch]
    taken += db.claim(SALE, token="rest", limit=1000)
    assert sorted(taken) == sorted(lowest)


# Claiming one document for a person


@pytest.mark.parametrize("status", ["PENDING_SYNC", "SYNC_FAILED", "SYNC_DEAD_LETTER"])
def test_claim_one_takes_a_document_of_any_status(db: Database, status: str) -> None:
    record_id = db.add(
        SALE, "HD 1/a", status=status, sync_attempts=7, sync_next_attempt_at=utc_in(3600)
    )
    db.add(SALE, "HD-2")

    assert db.claim_one(SALE, "HD 1/a") == record_id

    (stored,) = db.store.documents.get(SALE, [record_id])
    assert stored.status is SyncStatus.PENDING
    assert (stored.claim_token, stored.lease_live, stored.attempts) == ("person", True, 8)


def test_claim_one_takes_an_accepted_document_only_by_force(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", status="SYNC_SUCCESS", national_invoice_id="Q1")
    with pytest.raises(AlreadySent, match="HD-1"):
        db.claim_one(SALE, "HD-1")
    assert db.row(SALE, record_id)["sync_claim_token"] is None

    assert db.claim_one(SALE, "HD-1", force=True) == record_id
    (stored,) = db.store.documents.get(SALE, [record_id])
    assert (stored.status, stored.national_id) == (SyncStatus.PENDING, "Q1")
    assert stored.unconfirmed is False


def test_claim_one_names_what_is_not_there(db: Database) -> None:
    db.add(SALE, "HD-1")
    with pytest.raises(DocumentNotFound, match=r"sale.*'HD-9'"):
        db.claim_one(SALE, "HD-9")
    with pytest.raises(DocumentNotFound, match=r"HD-1.*elsewhere"):
        db.claim_one(SALE, "HD-1", pharmacy_code="elsewhere")


def test_claim_one_asks_for_the_pharmacy_when_several_have_the_code(db: Database) -> None:
    db.add(SALE, "HD-1")
    other = db.add(SALE, "HD-1", pharmacy_code="010010005678")
    with pytest.raises(AmbiguousDocument, match=f"010010005678, {PHARMACY}"):
        db.claim_one(SALE, "HD-1")
    assert db.claim_one(SALE, "HD-1", pharmacy_code="010010005678") == other


def test_claim_one_refuses_a_document_that_somebody_holds(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    with pytest.raises(DocumentBusy, match="HD-1"):
        db.claim_one(SALE, "HD-1", force=True)

    db.expire(SALE, record_id)
    assert db.claim_one(SALE, "HD-1") == record_id
    assert db.store.documents.get(SALE, [record_id])[0].unconfirmed is True


def test_claim_one_refuses_while_another_row_of_the_code_is_held(db: Database) -> None:
    done, pending = db.add(SALE, "HD-1", status="SYNC_SUCCESS"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [pending]
    with pytest.raises(DocumentBusy):
        db.claim_one(SALE, "HD-1", force=True)
    assert db.row(SALE, done)["sync_claim_token"] is None


def test_claim_one_prefers_the_lowest_pending_row_of_a_code(db: Database) -> None:
    db.add(SALE, "HD-1", status="SYNC_FAILED")
    pending = db.add(SALE, "HD-1")
    db.add(SALE, "HD-1")
    assert db.claim_one(SALE, "HD-1") == pending


def test_one_of_two_people_claiming_the_same_document_is_told_it_is_busy(db: Database) -> None:
    db.add(SALE, "HD-1")
    start = threading.Barrier(2)

    def person(name: str) -> str:
        start.wait(timeout=30)
        try:
            db.claim_one(SALE, "HD-1", token=name)
        except DocumentBusy:
            return "busy"
        return "claimed"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(person, ["one", "two"])) == ["busy", "claimed"]


# Loading


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_load_gives_headers_and_lines_under_standard_names(
    db: Database, pipeline: Pipeline
) -> None:
    record_id = db.add(pipeline, "D-1", lines=3)
    db.add(pipeline, "D-2", created_at=T0 + timedelta(minutes=1), lines=0, sync_unconfirmed=True)
    db.add(pipeline, "D-3", created_at=T0 + timedelta(minutes=2))
    db.claim(pipeline, limit=2)

    first, second = db.store.documents.load(pipeline, "token-1")

    assert (first.ref.record_id, first.ref.local_id) == (record_id, "D-1")
    assert (first.claim_token, first.attempts, first.unconfirmed) == ("token-1", 1, False)
    assert first.header[pipeline.local_id_column] == "D-1"
    assert first.header[pipeline.date_column] == T0
    assert not any(name.startswith("sync_claim") for name in first.header)
    assert [line["lot_number"] for line in first.lines] == ["L1", "L2", "L3"]
    assert first.lines[0]["drug_name"] == "Paracetamol Sao Khuê 500mg"
    assert first.lines[0]["unit_price"] == Decimal("500.25")
    assert first.lines[0]["expiry_date"] == date(2028, 3, 31)
    assert (second.ref.local_id, list(second.lines), second.unconfirmed) == ("D-2", [], True)


def test_load_of_an_unknown_token_is_empty(db: Database) -> None:
    db.add(SALE, "HD-1")
    assert db.store.documents.load(SALE, "nobody") == []


def test_load_and_save_take_no_more_statements_for_more_documents(db: Database) -> None:
    def statements(count: int) -> tuple[int, int]:
        token = f"token-{count}"
        for number in range(count):
            db.add(SALE, f"HD-{count}-{number}")
        assert len(db.claim(SALE, token=token, limit=count)) == count
        with db.statements() as loading:
            documents = db.store.documents.load(SALE, token)
        kinds = list(OutcomeKind)
        outcomes = [
            Outcome(document.ref, token, kinds[number % 3], message="m")
            for number, document in enumerate(documents)
        ]
        with db.statements() as saving:
            assert len(db.store.outcomes.save(outcomes)) == count
        return len(loading), len(saving)

    few = statements(6)
    assert few == statements(60)
    assert few[0] == 2


# Renewing and releasing


def test_renew_extends_what_is_still_held(db: Database) -> None:
    held, lost, done = db.add_many(SALE, 3)
    db.claim(SALE)
    db.expire(SALE, held, lost)
    db.change(SALE, lost, sync_claim_token="token-2")
    db.store.outcomes.save([_outcome(db, done, OutcomeKind.ACCEPTED, national_id="Q")])

    assert db.store.claims.renew(SALE, "token-1", LEASE) == 1

    assert db.store.documents.get(SALE, [held])[0].lease_live
    assert not db.store.documents.get(SALE, [lost])[0].lease_live
    assert db.store.claims.renew(SALE, "nobody", LEASE) == 0


@pytest.mark.parametrize(
    ("unconfirmed", "costs_attempt", "flag", "attempts"),
    [(None, False, False, 4), (True, True, True, 5), (False, True, False, 5)],
)
def test_release_claim_gives_everything_back(
    db: Database, unconfirmed: bool | None, costs_attempt: bool, flag: bool, attempts: int
) -> None:
    ids = [db.add(SALE, f"HD-{n}", sync_attempts=4) for n in range(2)]
    db.claim(SALE)

    released = db.store.claims.release(
        SALE, "token-1", unconfirmed=unconfirmed, costs_attempt=costs_attempt
    )

    assert [ref.record_id for ref in released] == ids
    for stored in db.store.documents.get(SALE, ids):
        assert (stored.status, stored.claim_token) == (SyncStatus.PENDING, None)
        assert (stored.unconfirmed, stored.attempts) == (flag, attempts)
    assert db.store.claims.release(SALE, "token-1", unconfirmed=None, costs_attempt=False) == []
    assert db.claim(SALE, token="token-2") == ids


def test_release_claim_can_leave_live_leases_alone(db: Database) -> None:
    live, expired = db.add_many(SALE, 2)
    db.claim(SALE)
    db.expire(SALE, expired)
    released = db.store.claims.release(
        SALE, "token-1", unconfirmed=True, costs_attempt=True, only_expired=True
    )
    assert [ref.record_id for ref in released] == [expired]
    assert db.row(SALE, live)["sync_claim_token"] == "token-1"


def test_attempts_never_fall_below_zero(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.change(SALE, record_id, sync_attempts=0)
    db.store.claims.release(SALE, "token-1", unconfirmed=None, costs_attempt=False)
    assert db.store.documents.get(SALE, [record_id])[0].attempts == 0


# Saving outcomes


def test_an_accepted_document_is_saved_with_its_national_id(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", sync_unconfirmed=True, sync_next_attempt_at=utc_in(-5))
    db.claim(SALE)

    saved = db.store.outcomes.save(
        [_outcome(db, record_id, OutcomeKind.ACCEPTED, national_id="QG/1", message="Thành công")]
    )

    assert saved == {("sale", record_id)}
    row = db.row(SALE, record_id)
    assert (row["status"], row["national_invoice_id"]) == ("SYNC_SUCCESS", "QG/1")
    assert row["sync_response_message"] == "Thành công"
    assert row["sync_claim_token"] is None
    assert row["sync_lease_expires_at"] is None
    assert row["sync_next_attempt_at"] is None
    assert row["sync_unconfirmed"] is False
    assert row["updated_at"] > T0


def test_an_acceptance_without_a_national_id_keeps_the_old_one(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", national_invoice_id="Q1", sync_response_message="old")
    db.claim(SALE)
    db.store.outcomes.save([_outcome(db, record_id, OutcomeKind.ACCEPTED)])
    row = db.row(SALE, record_id)
    assert (row["national_invoice_id"], row["sync_response_message"]) == ("Q1", "old")


def test_a_national_id_longer_than_its_column_is_kept_in_the_message(db: Database) -> None:
    long_id, first, second = "Q" * 120, *db.add_many(SALE, 2)
    db.claim(SALE)
    outcomes = [
        _outcome(db, first, OutcomeKind.ACCEPTED, national_id=long_id, message="ok"),
        _outcome(db, second, OutcomeKind.ACCEPTED, national_id="Q2"),
    ]
    assert len(db.store.outcomes.save(outcomes)) == 2
    row = db.row(SALE, first)
    assert (row["status"], row["national_invoice_id"]) == ("SYNC_SUCCESS", "Q" * 100)
    assert long_id in row["sync_response_message"]
    assert db.store.outcomes.save(outcomes) == {("sale", first), ("sale", second)}


def test_a_failed_document_is_saved_with_its_message(db: Database) -> None:
    record_id = db.add(CANCELLATION, "PX-1")
    db.claim(CANCELLATION)
    message = "Dòng 1: so_dklh không được để trống " + "x" * 5000
    outcome = _outcome(
        db,
        record_id,
        OutcomeKind.FAILED,
        pipeline=CANCELLATION,
        message=message,
        unconfirmed=True,
    )
    assert db.store.outcomes.save([outcome]) == {("cancellation", record_id)}
    (stored,) = db.store.documents.get(CANCELLATION, [record_id])
    assert (stored.status, stored.message) == (SyncStatus.FAILED, message)
    assert (stored.claim_token, stored.unconfirmed, stored.attempts) == (None, True, 1)


def test_a_released_document_stays_pending_until_its_next_attempt(db: Database) -> None:
    later, at_once, free_of_charge = db.add_many(SALE, 3)
    db.claim(SALE)
    db.store.outcomes.save(
        [
            _outcome(db, later, OutcomeKind.RELEASED, retry_in=timedelta(hours=1), message="503"),
            _outcome(db, at_once, OutcomeKind.RELEASED, unconfirmed=True),
            _outcome(db, free_of_charge, OutcomeKind.RELEASED, costs_attempt=False),
        ]
    )
    stored = {
        document.ref.record_id: document
        for document in db.store.documents.get(SALE, [later, at_once])
    }
    assert stored[later].status is SyncStatus.PENDING
    assert stored[later].message == "503"
    assert stored[later].next_attempt_at is not None
    assert stored[at_once].next_attempt_at is None
    assert stored[at_once].unconfirmed is True
    assert db.store.documents.get(SALE, [free_of_charge])[0].attempts == 0
    assert db.claim(SALE, token="token-2") == [at_once, free_of_charge]


def test_a_holder_that_lost_its_claim_writes_nothing(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.expire(SALE, record_id)
    db.claim(SALE, token="token-2")
    before = db.row(SALE, record_id)

    for kind in OutcomeKind:
        outcome = _outcome(db, record_id, kind, national_id="late", message="late")
        assert db.store.outcomes.save([outcome]) == set()
    assert db.row(SALE, record_id) == before

    assert db.store.outcomes.save([_outcome(db, record_id, OutcomeKind.FAILED, token="token-2")])


def test_outcomes_of_several_pipelines_and_tokens_are_saved_together(db: Database) -> None:
    sale, receipt, lost = db.add(SALE, "HD-1"), db.add(IMPORT, "PN-1"), db.add(SALE, "HD-2")
    assert db.claim(SALE, limit=1) == [sale]
    db.claim(IMPORT, token="token-2")
    db.claim(SALE, token="token-3")

    saved = db.store.outcomes.save(
        [
            _outcome(db, sale, OutcomeKind.ACCEPTED, national_id="Q1"),
            _outcome(db, receipt, OutcomeKind.FAILED, "token-2", pipeline=IMPORT),
            _outcome(db, lost, OutcomeKind.ACCEPTED, "token-1", national_id="Q2"),
        ]
    )

    assert saved == {("sale", sale), ("import", receipt)}
    assert db.row(SALE, lost)["sync_claim_token"] == "token-3"


def test_saving_the_same_outcomes_again_counts_as_written_and_changes_nothing(
    db: Database,
) -> None:
    accepted, failed = db.add_many(SALE, 2)
    db.claim(SALE)
    outcomes = [
        _outcome(db, accepted, OutcomeKind.ACCEPTED, national_id="Q1", message="ok"),
        _outcome(db, failed, OutcomeKind.FAILED, message="no"),
    ]
    first = db.store.outcomes.save(outcomes)
    before = [db.row(SALE, record) for record in (accepted, failed)]
    assert db.store.outcomes.save(outcomes) == first == {("sale", accepted), ("sale", failed)}
    assert [db.row(SALE, record) for record in (accepted, failed)] == before


def test_save_of_nothing_writes_nothing(db: Database) -> None:
    assert db.store.outcomes.save([]) == set()


def test_record_acceptance_saves_what_the_api_has_whoever_holds_it(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    (stored,) = db.store.documents.get(SALE, [record_id])

    assert db.store.outcomes.record_acceptance(stored.ref, "Q1", "accepted") is True
    assert db.store.outcomes.record_acceptance(stored.ref, "Q2", "again") is False

    row = db.row(SALE, record_id)
    assert (row["status"], row["national_invoice_id"]) == ("SYNC_SUCCESS", "Q1")
    assert row["sync_claim_token"] is None


def test_record_acceptance_adds_a_missing_national_id(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", status="SYNC_SUCCESS")
    ref = db.store.documents.get(SALE, [record_id])[0].ref
    assert db.store.outcomes.record_acceptance(ref, None, "accepted") is False
    assert db.store.outcomes.record_acceptance(ref, "Q1", "accepted") is True
    assert db.row(SALE, record_id)["national_invoice_id"] == "Q1"


def test_requeue_makes_only_failed_documents_pending(db: Database) -> None:
    failed = db.add(
        SALE, "HD-1", status="SYNC_FAILED", sync_attempts=8, sync_next_attempt_at=utc_in(99)
    )
    done = db.add(SALE, "HD-2", status="SYNC_SUCCESS")
    assert db.store.outcomes.requeue(SALE, [failed, done, 10**6]) == 1
    (stored,) = db.store.documents.get(SALE, [failed])
    assert (stored.status, stored.attempts) == (SyncStatus.PENDING, 0)
    assert stored.next_attempt_at is None
    assert db.row(SALE, done)["status"] == "SYNC_SUCCESS"
    assert db.store.outcomes.requeue(SALE, [failed]) == 0


# Looking


def test_find_gives_every_row_of_a_code(db: Database) -> None:
    ids = [db.add(SALE, "HD-1"), db.add(SALE, "HD-1", pharmacy_code="010010005678")]
    assert [document.ref.record_id for document in db.store.documents.find(SALE, "HD-1")] == ids
    (found,) = db.store.documents.find(SALE, "HD-1", "010010005678")
    assert found.ref.record_id == ids[1]
    assert (found.attempts, found.unconfirmed, found.lease_live) == (0, False, False)
    assert found.created_at == T0
    assert db.store.documents.find(SALE, "HD-9") == []


def test_find_names_a_status_that_is_unknown(db: Database) -> None:
    db.add(SALE, "HD-1", status="RETRYING")
    with pytest.raises(ConfigurationError, match=r"HD-1.*RETRYING"):
        db.store.documents.find(SALE, "HD-1")


def test_get_takes_more_ids_than_a_statement_has_parameters(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    found = db.store.documents.get(SALE, [record_id, *range(10**6, 10**6 + 2500)])
    assert [document.ref.record_id for document in found] == [record_id]


def test_held_claims_are_grouped_by_token(db: Database) -> None:
    ids = db.add_many(SALE, 3)
    db.claim(SALE, limit=2)
    db.claim(SALE, token="token-2")
    db.expire(SALE, ids[2])

    expired, live = db.store.claims.held(SALE)

    assert (expired.token, expired.documents, expired.pipeline) == ("token-2", 1, "sale")
    assert expired.lease_seconds_left < 0
    assert (live.token, live.documents) == ("token-1", 2)
    assert 0 < live.lease_seconds_left <= LEASE.total_seconds()


def test_summary_counts_every_document_once(db: Database) -> None:
    db.add(SALE, "flight-1")
    db.add(SALE, "flight-2")
    db.claim(SALE, token="a", limit=1)
    db.claim(SALE, token="b", limit=1)
    db.add(SALE, "free")
    db.add(SALE, "waiting", sync_next_attempt_at=utc_in(3600), sync_unconfirmed=True)
    expired = db.add(SALE, "expired", sync_claim_token="c")
    db.expire(SALE, expired)
    db.add(SALE, "done", status="SYNC_SUCCESS")
    db.add(SALE, "bad", status="SYNC_FAILED")

    sale, receipts = db.store.counts.summary([SALE, IMPORT])

    assert (sale.pipeline, sale.pending, sale.waiting) == ("sale", 3, 1)
    assert (sale.in_flight, sale.batches, sale.unconfirmed) == (2, 2, 1)
    assert (sale.succeeded, sale.failed) == (1, 1)
    assert sale.oldest_pending_seconds is not None
    assert (receipts.pending, receipts.oldest_pending_seconds) == (0, None)


def test_pending_shops_are_those_with_documents_nobody_holds(db: Database) -> None:
    db.add(SALE, "held", shop_pharmacy_code="S0")
    db.claim(SALE)
    db.add(SALE, "HD-1", shop_pharmacy_code="S2")
    db.add(SALE, "HD-2", shop_pharmacy_code="S1", sync_next_attempt_at=utc_in(3600))
    db.add(SALE, "HD-3", shop_pharmacy_code="S1")
    db.add(SALE, "HD-4", shop_pharmacy_code="S3", status="SYNC_FAILED")
    shops = {(shop.code, shop.pharmacy_code) for shop in db.store.counts.pending_shops(SALE)}
    assert shops == {("S2", PHARMACY), ("S1", PHARMACY)}


def test_a_large_backlog_of_one_shop_does_not_hold_up_another(db: Database) -> None:
    for number in range(30):
        db.add(SALE, f"BIG-{number}", shop_pharmacy_code="S1")
    for number in range(3):
        db.add(SALE, f"SMALL-{number}", shop_pharmacy_code="S2")
    claim = db.store.claims.claim(SALE, token="token", limit=10, lease=timedelta(minutes=5))
    shops = Counter(document.shop_pharmacy_code for document in claim.documents)
    assert shops == {"S1": 7, "S2": 3}


def test_no_room_of_a_batch_is_left_unused(db: Database) -> None:
    for shop, count in {"S1": 1, "S2": 2, "S3": 20}.items():
        for number in range(count):
            db.add(SALE, f"{shop}-{number}", shop_pharmacy_code=shop)
    claim = db.store.claims.claim(SALE, token="token", limit=20, lease=timedelta(minutes=5))
    shops = Counter(document.shop_pharmacy_code for document in claim.documents)
    assert shops == {"S1": 1, "S2": 2, "S3": 17}


def test_only_what_was_finished_lately_is_counted_where_asked(db: Database) -> None:
    db.add(SALE, "new", status="SYNC_SUCCESS", updated_at=local_now())
    db.add(SALE, "old", status="SYNC_SUCCESS", updated_at=datetime.fromisoformat("2020-01-01"))
    (recent,) = db.store.counts.summary([SALE], finished_within=timedelta(hours=24))
    (ever,) = db.store.counts.summary([SALE])
    assert (recent.succeeded, ever.succeeded) == (1, 2)


def test_successes_without_a_national_id_are_listed(db: Database) -> None:
    ids = [
        db.add(SALE, "HD-1", status="SYNC_SUCCESS"),
        db.add(SALE, "HD-2", status="SYNC_SUCCESS", national_invoice_id=""),
    ]
    db.add(SALE, "HD-3", status="SYNC_SUCCESS", national_invoice_id="Q")
    db.add(SALE, "HD-4")
    found = db.store.documents.successes_without_national_id(SALE, 10)
    assert [ref.record_id for ref in found] == ids
    assert len(db.store.documents.successes_without_national_id(SALE, 1)) == 1


def test_accounts_are_read_with_their_passwords_hidden(db: Database) -> None:
    base = {
        "shop_pharmacy_code": "SHOP01",
        "pharmacy_code": PHARMACY,
        "password": "bí mật",
        "shop_name": "Nhà thuốc Hoa Sen Xanh",
        "address": "1",
        "phone_number": "1",
    }
    with db.engine.begin() as connection:
        connection.execute(
            insert(db.tables.accounts),
            [
                base | {"account": "demo_a", "status": 1},
                base | {"account": "demo_b", "status": 0},
            ],
        )
    first, second = db.store.accounts.all()
    assert (first.username, first.active, second.active) == ("demo_a", True, False)
    assert (first.shop_pharmacy_code, first.pharmacy_code) == ("SHOP01", PHARMACY)
    assert first.password.get_secret_value() == "bí mật"
    assert "bí mật" not in repr(first)


def _add_account(db: Database, password: str) -> ShopAccount:
    with db.engine.begin() as connection:
        connection.execute(
            insert(db.tables.accounts),
            {
                "shop_pharmacy_code": "SHOP01",
                "pharmacy_code": PHARMACY,
                "account": "demo",
                "password": password,
                "shop_name": "-",
                "address": "-",
                "phone_number": "-",
                "status": 1,
            },
        )
    (account,) = db.store.accounts.all()
    return account


def test_a_password_is_written_in_another_form_and_read_back(db: Database) -> None:
    account = _add_account(db, "bí mật")
    sealed = StoredPassword(SecretStr(""), "gAAAA")
    assert db.store.accounts.change_password(account, lambda _: sealed) == sealed
    (changed,) = db.store.accounts.all()
    assert (changed.password.get_secret_value(), changed.encrypted_password) == ("", "gAAAA")
    assert changed.updated_at == account.updated_at
    assert "gAAAA" not in repr(changed)


def test_what_is_changed_is_what_is_stored_now(db: Database) -> None:
    account = _add_account(db, "old")
    with db.engine.begin() as connection:
        connection.execute(update(db.tables.accounts).values(password="new"))
    seen: list[str] = []

    def change(stored: StoredPassword) -> StoredPassword:
        seen.append(stored.plain.get_secret_value())
        return stored

    db.store.accounts.change_password(account, change)
    assert seen == ["new"]


def test_a_password_that_does_not_fit_changes_nothing(db: Database) -> None:
    account = _add_account(db, "secret-1")
    for wanted in (
        StoredPassword(SecretStr("x" * 51), None),
        StoredPassword(SecretStr(""), "x" * 401),
    ):
        with pytest.raises(ConfigurationError, match="SHOP01") as error:
            db.store.accounts.change_password(account, lambda _, wanted=wanted: wanted)
        assert "x" * 51 not in str(error.value)
    assert db.store.accounts.all() == [account]


def test_an_account_that_is_gone_has_no_password(db: Database) -> None:
    account = _add_account(db, "secret-1")
    with db.engine.begin() as connection:
        connection.execute(delete(db.tables.accounts))
    assert db.store.accounts.change_password(account, lambda stored: stored) is None


# Trouble


def test_transactions_that_deadlock_are_run_again(db: Database) -> None:
    ids = db.add_many(SALE, 2)
    header = db.tables.header(SALE)
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def worker(name: str, order: Sequence[int]) -> None:
        def work(connection: Connection) -> None:
            first_run = name not in runs
            runs.append(name)
            for number, record_id in enumerate(order):
                connection.execute(
                    update(header)
                    .where(header.c.id == record_id)
                    .values(sync_response_message=name)
                )
                if first_run and number == 0:
                    both_hold_one.wait(timeout=30)

        Transactions(db.engine, sleep=lambda _: None).run(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(worker, "a", ids), pool.submit(worker, "b", ids[::-1])]:
            done.result(timeout=60)
    assert len(runs) == 3
    assert len({db.row(SALE, record)["sync_response_message"] for record in ids}) == 1


def test_a_missing_column_is_a_configuration_error(db: Database) -> None:
    settings = SourceSettings(columns={"SalesInvoices": {"sale_date": "ngay_ban"}})
    store = open_source(db.engine, build_tables(settings))
    db.add(SALE, "HD-1")
    with pytest.raises(ConfigurationError, match="ngay_ban"):
        store.documents.load(SALE, "token-1")


def test_a_database_that_is_away_is_unavailable(db: Database) -> None:
    url = db.engine.url.set(port=1)
    store = _database(
        url.render_as_string(hide_password=False), SourceSettings(connect_timeout=2)
    ).store
    with pytest.raises(StoreUnavailable, match="source database"):
        store.ping()
    store.dispose()


def test_a_statement_that_takes_too_long_is_unavailable(postgres: Any) -> None:
    engine = create_source_engine(
        postgres.create_database("slow"), SourceSettings(statement_timeout=1)
    )
    with pytest.raises(StoreUnavailable):
        Transactions(engine).run(lambda c: c.execute(text("SELECT pg_sleep(60)")))
    engine.dispose()


def test_who_stands_still_in_a_transaction_loses_it(postgres: Any) -> None:
    url = postgres.create_database("idle")
    engine = create_source_engine(url, SourceSettings(statement_timeout=1))
    patient = create_source_engine(url, SourceSettings())
    with patient.begin() as connection:
        connection.execute(text("CREATE TABLE work (id integer)"))
        connection.execute(text("INSERT INTO work VALUES (1)"))
    with engine.connect() as standing, patient.begin() as waiting:
        standing.execute(text("UPDATE work SET id = 2"))
        waiting.execute(text("UPDATE work SET id = 3"))  # waits for the lock
        with pytest.raises(StoreUnavailable), translate_errors():
            standing.execute(text("SELECT 1"))
    with patient.begin() as connection:
        assert connection.execute(text("SELECT id FROM work")).scalar_one() == 3
    engine.dispose()
    patient.dispose()


def test_renamed_tables_and_columns_are_used_throughout(postgres: Any) -> None:
    settings = SourceSettings(
        db_schema="duoc",
        tables={"SalesInvoices": "HoaDon", "SalesInvoiceDetails": "HoaDonChiTiet"},
        columns={
            "SalesInvoices": {
                "id": "ma",
                "local_invoice_id": "ma_hoa_don",
                "national_invoice_id": "ma_hoa_don_quoc_gia",
                "status": "trang_thai",
                "sync_claim_token": "khoa",
            },
            "SalesInvoiceDetails": {"sales_invoice_id": "ma_hd", "drug_code": "ma_thuoc"},
        },
    )
    url = postgres.create_database("renamed")
    engine = create_source_engine(url, settings)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA duoc"))
    engine.dispose()
    migrate(url, BUSINESS, SYNC, settings=settings)
    db = _database(url, settings)
    record_id = db.add(SALE, "HD-1")

    assert db.claim(SALE) == [record_id]
    (document,) = db.store.documents.load(SALE, "token-1")
    assert document.header["local_invoice_id"] == "HD-1"
    assert document.lines[0]["drug_code"] == "DQG00010421"
    assert db.store.claims.renew(SALE, "token-1", LEASE) == 1
    db.store.outcomes.save([_outcome(db, record_id, OutcomeKind.ACCEPTED, national_id="Q1")])
    with db.engine.connect() as connection:
        row = connection.execute(text('SELECT * FROM duoc."HoaDon"')).mappings().one()
    assert (row["ma"], row["ma_hoa_don"], row["ma_hoa_don_quoc_gia"]) == (record_id, "HD-1", "Q1")
    assert (row["trang_thai"], row["khoa"]) == ("SYNC_SUCCESS", None)
    db.store.dispose()
