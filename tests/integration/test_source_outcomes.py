"""Outcomes saved in the source database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from lib.errors import StoreUnavailable
from lib.models import OutcomeKind, SyncStatus
from lib.pipelines import CANCELLATION, IMPORT, SALE
from lib.settings import SourceSettings
from lib.source.dialects import utc_in
from tests.support.source import T0, Database, open_database, outcome_of


def test_an_accepted_document_is_saved_with_its_national_id(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", unconfirmed=True, next_attempt_at=utc_in(-5))
    db.claim(SALE)

    saved = db.source.outcomes.save(
        [outcome_of(db, record_id, OutcomeKind.ACCEPTED, national_id="QG/1", message="Thành công")]
    )

    assert saved.written == {("sale", record_id)}
    row, delivery = db.row(SALE, record_id), db.delivery(SALE, record_id)
    assert (row["status"].strip(), row["national_invoice_id"]) == ("SYNC_SUCCESS", "QG/1")
    assert row["sync_response_message"] == "Thành công"
    assert delivery["claim_token"] is None
    assert delivery["lease_expires_at"] is None
    assert delivery["next_attempt_at"] is None
    assert delivery["unconfirmed"] is False
    assert row["updated_at"] > T0


def test_an_acceptance_without_a_national_id_keeps_the_old_one(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", national_invoice_id="Q1", sync_response_message="old")
    db.claim(SALE)
    db.source.outcomes.save([outcome_of(db, record_id, OutcomeKind.ACCEPTED)])
    row = db.row(SALE, record_id)
    assert (row["national_invoice_id"], row["sync_response_message"]) == ("Q1", "old")


def test_a_national_id_longer_than_its_column_is_kept_in_the_message(db: Database) -> None:
    long_id, first, second = "Q" * 120, *db.add_many(SALE, 2)
    db.claim(SALE)
    outcomes = [
        outcome_of(db, first, OutcomeKind.ACCEPTED, national_id=long_id, message="ok"),
        outcome_of(db, second, OutcomeKind.ACCEPTED, national_id="Q2"),
    ]
    assert len(db.source.outcomes.save(outcomes).written) == 2
    row = db.row(SALE, first)
    assert (row["status"].strip(), row["national_invoice_id"].strip("Q")) == ("SYNC_SUCCESS", "")
    assert long_id in row["sync_response_message"]
    assert db.source.outcomes.save(outcomes).written == {("sale", first), ("sale", second)}


def test_a_failed_document_is_saved_with_its_message(db: Database) -> None:
    record_id = db.add(CANCELLATION, "PX-1")
    db.claim(CANCELLATION)
    message = "Dòng 1: so_dklh không được để trống " + "x" * 5000
    outcome = outcome_of(
        db,
        record_id,
        OutcomeKind.FAILED,
        pipeline=CANCELLATION,
        message=message,
        unconfirmed=True,
    )
    assert db.source.outcomes.save([outcome]).written == {("cancellation", record_id)}
    (stored,) = db.source.documents.get(CANCELLATION, [record_id])
    assert stored.status == SyncStatus.FAILED
    assert stored.message in (message, message[:199] + "…")
    assert (stored.claim_token, stored.unconfirmed, stored.attempts) == (None, True, 1)


def test_a_released_document_stays_pending_until_its_next_attempt(db: Database) -> None:
    later, at_once, free_of_charge = db.add_many(SALE, 3)
    db.claim(SALE)
    db.source.outcomes.save(
        [
            outcome_of(db, later, OutcomeKind.RELEASED, retry_in=timedelta(hours=1), message="503"),
            outcome_of(db, at_once, OutcomeKind.RELEASED, unconfirmed=True),
            outcome_of(db, free_of_charge, OutcomeKind.RELEASED, costs_attempt=False),
        ]
    )
    stored = {
        document.ref.record_id: document
        for document in db.source.documents.get(SALE, [later, at_once])
    }
    assert stored[later].status == SyncStatus.PENDING
    assert stored[later].message == "503"
    assert stored[later].next_attempt_at is not None
    assert stored[at_once].next_attempt_at is None
    assert stored[at_once].unconfirmed is True
    assert db.source.documents.get(SALE, [free_of_charge])[0].attempts == 0
    assert db.claim(SALE, token="token-2") == [at_once, free_of_charge]


def test_a_holder_that_lost_its_claim_writes_nothing(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.expire(SALE, record_id)
    db.claim(SALE, token="token-2")
    before = db.row(SALE, record_id)

    for kind in OutcomeKind:
        outcome = outcome_of(db, record_id, kind, national_id="late", message="late")
        assert db.source.outcomes.save([outcome]).written == set()
    assert db.row(SALE, record_id) == before

    assert db.source.outcomes.save([outcome_of(db, record_id, OutcomeKind.FAILED, token="token-2")])


def test_outcomes_of_several_pipelines_and_tokens_are_saved_together(db: Database) -> None:
    sale, receipt, lost = db.add(SALE, "HD-1"), db.add(IMPORT, "PN-1"), db.add(SALE, "HD-2")
    assert db.claim(SALE, limit=1) == [sale]
    db.claim(IMPORT, token="token-2")
    db.claim(SALE, token="token-3")

    saved = db.source.outcomes.save(
        [
            outcome_of(db, sale, OutcomeKind.ACCEPTED, national_id="Q1"),
            outcome_of(db, receipt, OutcomeKind.FAILED, "token-2", pipeline=IMPORT),
            outcome_of(db, lost, OutcomeKind.ACCEPTED, "token-1", national_id="Q2"),
        ]
    )

    assert saved.written == {("sale", sale), ("import", receipt)}
    assert db.delivery(SALE, lost)["claim_token"] == "token-3"


def test_saving_the_same_outcomes_again_counts_as_written_and_changes_nothing(
    db: Database,
) -> None:
    accepted, failed = db.add_many(SALE, 2)
    db.claim(SALE)
    outcomes = [
        outcome_of(db, accepted, OutcomeKind.ACCEPTED, national_id="Q1", message="ok"),
        outcome_of(db, failed, OutcomeKind.FAILED, message="no"),
    ]
    first = db.source.outcomes.save(outcomes)
    before = [db.row(SALE, record) for record in (accepted, failed)]
    assert db.source.outcomes.save(outcomes) == first
    assert first.written == {("sale", accepted), ("sale", failed)}
    assert [db.row(SALE, record) for record in (accepted, failed)] == before


# Beside other software


@pytest.mark.parametrize("kind", [OutcomeKind.ACCEPTED, OutcomeKind.FAILED])
@pytest.mark.parametrize("theirs", ["CANCELLED", "SYNC_FAILED", "SYNC_SUCCESS"])
def test_a_status_that_other_software_wrote_meanwhile_is_kept(
    db: Database, kind: OutcomeKind, theirs: str
) -> None:
    changed, other = db.add_many(SALE, 2)
    db.claim(SALE)
    db.change(SALE, changed, status=theirs, sync_response_message="by the till")
    before = db.row(SALE, changed)

    outcomes = [outcome_of(db, i, kind, national_id="Q", message="ours") for i in (changed, other)]
    saved = db.source.outcomes.save(outcomes)

    assert db.row(SALE, changed) == before
    ours = {OutcomeKind.ACCEPTED: "SYNC_SUCCESS", OutcomeKind.FAILED: "SYNC_FAILED"}[kind]
    assert saved.overtaken == ({} if theirs == ours else {("sale", changed): theirs})
    assert saved.written == {("sale", changed), ("sale", other)}
    assert db.row(SALE, other)["status"].strip() == ours
    # What the platform said is on record, and the claim is over.
    delivery = db.delivery(SALE, changed)
    assert (delivery["claim_token"], delivery["state"]) == (None, kind.value)
    assert delivery["national_id"] == "Q"


def test_a_document_deleted_meanwhile_holds_up_no_other(db: Database) -> None:
    gone, other = db.add(SALE, "HD-1", lines=0), db.add(SALE, "HD-2")
    db.claim(SALE)
    outcomes = [outcome_of(db, i, OutcomeKind.ACCEPTED, national_id="Q") for i in (gone, other)]
    header = db.tables.header(SALE)
    with db.engine.begin() as connection:
        connection.execute(delete(header).where(header.c.id == gone))
        connection.execute(
            delete(db.tables.details(SALE)).where(db.tables.foreign_key(SALE) == gone)
        )
    saved = db.source.outcomes.save(outcomes)
    assert saved.overtaken == {("sale", gone): "deleted"}
    assert db.row(SALE, other)["status"].strip() == "SYNC_SUCCESS"
    assert db.delivery(SALE, gone)["national_id"] == "Q"


def test_a_row_that_is_locked_holds_up_no_other(db: Database) -> None:
    first, locked, last = db.add_many(SALE, 3)
    db.claim(SALE)
    outcomes = [
        outcome_of(db, i, OutcomeKind.ACCEPTED, national_id=f"Q{i}") for i in (first, locked, last)
    ]
    header = db.tables.header(SALE)
    url = db.engine.url.render_as_string(hide_password=False)
    impatient = open_database(url, SourceSettings(lock_timeout=1))
    with db.engine.begin() as till:
        till.execute(update(header).where(header.c.id == locked).values(pharmacy_code="79"))
        saved = impatient.source.outcomes.save(outcomes)
        till.rollback()
    impatient.source.dispose()

    assert saved.written == {("sale", first), ("sale", last)}
    (reason,) = saved.failed.values()
    assert saved.failed.keys() == {("sale", locked)}
    assert isinstance(reason, StoreUnavailable)
    assert db.delivery(SALE, locked)["claim_token"] == "token-1"

    again = db.source.outcomes.save(outcomes)
    assert (again.written, again.failed) == ({("sale", i) for i in (first, locked, last)}, {})
    assert db.row(SALE, locked)["national_invoice_id"] == f"Q{locked}"


#: A trigger that does not let one message in: by an error of its own, or as a constraint does.
_REFUSALS = {
    "mssql": {
        "raised": "THROW 50001, 'not this one', 1",
        "undone": "ROLLBACK TRANSACTION",
        "value": "DECLARE @n TINYINT = 300",
    },
    "postgresql": {
        "raised": "RAISE EXCEPTION 'not this one'",
        "undone": "RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation'",
        "value": "PERFORM 300::smallint * 300::smallint",
    },
}
_TRIGGER = {
    "mssql": 'CREATE TRIGGER refuse ON "SalesInvoices" AFTER UPDATE AS BEGIN SET NOCOUNT ON;'
    " IF EXISTS (SELECT 1 FROM inserted WHERE sync_response_message LIKE N'refused%')"
    " BEGIN {refusal}; END END",
    "postgresql": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF NEW.sync_response_message LIKE 'refused%' THEN {refusal}; END IF; RETURN NEW; END $$;"
    ' CREATE TRIGGER a_refuse BEFORE UPDATE ON "SalesInvoices"'
    " FOR EACH ROW EXECUTE FUNCTION refuse()",
}
_NO_TRIGGER = {"mssql": "DROP TRIGGER refuse", "postgresql": "DROP FUNCTION refuse CASCADE"}


@pytest.fixture(params=["raised", "undone", "value"])
def refusing(db: Database, request: pytest.FixtureRequest) -> Iterator[None]:
    """The database with a trigger that refuses a message, in several ways."""
    name = db.engine.dialect.name
    with db.engine.begin() as connection:
        refusal = _REFUSALS[name][request.param]
        connection.exec_driver_sql(_TRIGGER[name].format(refusal=refusal).replace("%", "%%"))
    yield
    with db.engine.begin() as connection:
        connection.exec_driver_sql(_NO_TRIGGER[name])


@pytest.mark.usefixtures("refusing")
def test_a_row_that_is_refused_holds_up_no_other(db: Database) -> None:
    first, refused, last = db.add_many(SALE, 3)
    db.claim(SALE)
    messages = {first: "ok", refused: "refused", last: "ok"}
    outcomes = [outcome_of(db, i, OutcomeKind.FAILED, message=m) for i, m in messages.items()]

    saved = db.source.outcomes.save(outcomes)

    assert saved.written == {("sale", first), ("sale", last)}
    assert saved.failed.keys() == {("sale", refused)}
    assert db.row(SALE, refused)["status"].strip() == "PENDING_SYNC"
    assert db.delivery(SALE, refused)["claim_token"] == "token-1"
    assert db.row(SALE, last)["status"].strip() == "SYNC_FAILED"


def test_save_of_nothing_writes_nothing(db: Database) -> None:
    assert db.source.outcomes.save([]).written == set()


def test_record_acceptance_saves_what_the_api_has_whoever_holds_it(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    (stored,) = db.source.documents.get(SALE, [record_id])

    assert db.source.corrections.record_acceptance(stored.ref, "Q1", "accepted") is True
    assert db.source.corrections.record_acceptance(stored.ref, "Q2", "again") is False

    row, delivery = db.row(SALE, record_id), db.delivery(SALE, record_id)
    assert (row["status"].strip(), row["national_invoice_id"]) == ("SYNC_SUCCESS", "Q1")
    assert delivery["claim_token"] is None


def test_record_acceptance_adds_a_missing_national_id(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", status="SYNC_SUCCESS")
    ref = db.source.documents.get(SALE, [record_id])[0].ref
    assert db.source.corrections.record_acceptance(ref, None, "accepted") is False
    assert db.source.corrections.record_acceptance(ref, "Q1", "accepted") is True
    assert db.row(SALE, record_id)["national_invoice_id"] == "Q1"


def test_requeue_makes_only_failed_documents_pending(db: Database) -> None:
    failed = db.add(SALE, "HD-1", status="SYNC_FAILED", attempts=8, next_attempt_at=utc_in(99))
    done = db.add(SALE, "HD-2", status="SYNC_SUCCESS")
    assert db.source.corrections.requeue(SALE, [failed, done, 10**6]) == 1
    (stored,) = db.source.documents.get(SALE, [failed])
    assert (stored.status, stored.attempts) == (SyncStatus.PENDING, 0)
    assert stored.next_attempt_at is None
    assert db.row(SALE, done)["status"].strip() == "SYNC_SUCCESS"
    assert db.source.corrections.requeue(SALE, [failed]) == 0
