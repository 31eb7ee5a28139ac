"""Rows as real databases have them: no dates, unreadable values, traces of another sender."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from lib.errors import InvalidDocument
from lib.models import Document, SyncStatus
from lib.pipelines import PIPELINES, SALE, Pipeline
from lib.platforms.dqg.payloads import build_payload
from lib.settings import ApiSettings
from lib.source.dialects import utc_in
from tests.support.source import LEASE, T0, Database

#: What an empty text becomes in a DATETIME column.
YEAR_1900 = datetime(1900, 1, 1)  # noqa: DTZ001 - business columns hold local time
DAY = timedelta(days=1)
#: What a call may take.
CALL = timedelta(minutes=2)


def test_a_row_that_cannot_be_read_fails_alone(db: Database) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQL Server holds no such date")
    good, bad, after = db.add(SALE, "HD-1"), db.add(SALE, "HD-2", lines=3), db.add(SALE, "HD-3")
    with db.engine.begin() as connection:
        connection.execute(text('UPDATE "SalesInvoiceDetails" SET unit_price = 500'))
        connection.execute(
            text(
                """UPDATE "SalesInvoiceDetails" SET expiry_date = '20280-03-31'"""
                " WHERE sales_invoice_id = :bad AND lot_number = 'L2'"
            ),
            {"bad": bad},
        )
    assert db.claim(SALE) == [good, bad, after]

    documents = {document.ref.record_id: document for document in _load(db)}

    assert list(documents) == [good, bad, after]
    assert [line["lot_number"] for line in documents[bad].lines] == ["L1", "L2", "L3"]
    today = datetime(2026, 11, 3, tzinfo=UTC).date()
    for record_id in (good, after):
        assert build_payload(documents[record_id], ApiSettings(), today)
    with pytest.raises(InvalidDocument) as caught:
        build_payload(documents[bad], ApiSettings(), today)
    (error,) = caught.value.field_errors
    assert (error.field, error.line) == ("han_dung", 2)
    assert "cannot be read from the database" in error.reason


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_a_document_from_1900_is_the_oldest(db: Database, pipeline: Pipeline) -> None:
    young = db.add(pipeline, "B", shop_pharmacy_code="SHOP02", **{pipeline.date_column: T0 - DAY})
    created, dated = (
        db.add(pipeline, "C", created_at=YEAR_1900),
        db.add(pipeline, "D", created_at=YEAR_1900, **{pipeline.date_column: YEAR_1900}),
    )
    _all_counts(db, pipeline, pending=3)
    assert [shop.code.strip() for shop in db.source.counts.pending_shops(pipeline)] == [
        "SHOP01",
        "SHOP02",
    ]
    assert db.claim(pipeline) == [dated, young, created]
    assert {d.ref.record_id for d in _load(db, pipeline)} == {dated, created, young}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_a_document_without_dates_is_the_newest(
    db: Database, pipeline: Pipeline, is_odd: bool
) -> None:
    if not is_odd:
        pytest.skip("its columns refuse NULL")
    undated = db.add(pipeline, "A", created_at=None, **{pipeline.date_column: None})
    never_created = db.add(pipeline, "B", created_at=None)
    whole, other_shop = (
        db.add(pipeline, "C"),
        db.add(pipeline, "D", shop_pharmacy_code="SHOP02", created_at=None),
    )
    _all_counts(db, pipeline, pending=4)
    assert len(db.source.counts.pending_shops(pipeline)) == 2

    assert db.claim(pipeline) == [whole, never_created, other_shop, undated]
    documents = _load(db, pipeline)
    assert documents[-1].ref.record_id == undated
    assert {d.ref.record_id for d in documents} == {whole, never_created, other_shop, undated}


def test_a_document_without_codes_stops_no_other(db: Database, is_odd: bool) -> None:
    if not is_odd:
        pytest.skip("its columns refuse NULL")
    db.add(SALE, "HD-1", shop_pharmacy_code=None)
    nameless = db.add(SALE, "HD-2", pharmacy_code=None)
    whole = db.add(SALE, "HD-3")
    _all_counts(db, SALE, pending=3)
    assert db.claim(SALE) == [nameless, whole]
    assert {d.ref.record_id: d.ref.pharmacy_code for d in _load(db)}[nameless] == ""


# What another sender left


def test_a_pending_document_with_a_national_id_was_sent_once(db: Database) -> None:
    ours = db.add(SALE, "HD-1")
    theirs = db.add(SALE, "HD-2", national_invoice_id="CU-2024-77 ")
    blank = db.add(SALE, "HD-3", national_invoice_id=" ")
    assert db.claim(SALE) == [ours, theirs, blank]
    found = {d.ref.record_id: (d.unconfirmed, d.national_id) for d in _load(db)}
    assert found == {
        ours: (False, None),
        theirs: (True, "CU-2024-77"),
        blank: (False, None),
    }


# About to be sent


def test_what_is_about_to_be_sent_is_noted_once(db: Database) -> None:
    first, second = db.add_many(SALE, 2)
    db.claim(SALE)
    digests = {first: "a" * 64, second: None}
    for _ in range(2):
        assert db.source.claims.mark_sending(SALE, "token-1", digests, CALL) == {first, second}
        rows = [db.delivery(SALE, record_id) for record_id in (first, second)]
        assert [(row["unconfirmed"], row["sent_digest"]) for row in rows] == [
            (True, "a" * 64),
            (True, None),
        ]
        assert [row["attempts"] for row in rows] == [1, 1]
    assert db.source.claims.mark_sending(SALE, "token-1", {}, CALL) == set()


def test_nothing_is_sent_without_a_live_claim(db: Database) -> None:
    held, over, lost, done = db.add_many(SALE, 4)
    db.claim(SALE)
    db.expire(SALE, over)
    db.change(SALE, lost, claim_token="token-2")
    db.change(SALE, done, claim_token=None, lease_expires_at=None)

    digests = dict.fromkeys([held, over, lost, done, 10**6], "a" * 64)
    assert db.source.claims.mark_sending(SALE, "token-1", digests, CALL) == {held}

    for record_id in (over, lost, done):
        row = db.delivery(SALE, record_id)
        assert (row["unconfirmed"], row["sent_digest"]) == (False, None)


def test_a_renewed_lease_lets_documents_be_sent_again(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.change(SALE, record_id, lease_expires_at=utc_in(-60))
    assert db.source.claims.mark_sending(SALE, "token-1", {record_id: None}, CALL) == set()
    assert db.source.claims.renew(SALE, "token-1", LEASE) == 1
    assert db.source.claims.mark_sending(SALE, "token-1", {record_id: None}, CALL) == {record_id}


def _load(db: Database, pipeline: Pipeline = SALE) -> list[Document]:
    return db.source.documents.load(pipeline, "token-1")


def _all_counts(db: Database, pipeline: Pipeline, *, pending: int) -> None:
    """Every count answers, and none leaves a document out."""
    counts = db.source.counts
    (summary,) = counts.summary([pipeline], finished_within=DAY)
    assert summary.pending == pending
    assert sum(shop.pending for shop in counts.shop_summaries([pipeline])) == pending
    assert counts.finished([pipeline], DAY)[pipeline.name].succeeded == 0
    assert counts.foreign_statuses([pipeline]) == []
    found = db.source.documents.find(pipeline, "HD-1")
    assert all(document.status == SyncStatus.PENDING for document in found)
