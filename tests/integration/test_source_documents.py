"""Documents and counts read from the source database."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest

from lib.models import Outcome, OutcomeKind, SyncStatus
from lib.pipelines import IMPORT, PIPELINES, SALE, Pipeline
from lib.source.deadlines import DeadlineBounds, DeadlineCount
from lib.source.dialects import local_in, local_now, utc_in
from tests.support.source import LEASE, PHARMACY, T0, Database

# Loading


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_load_gives_headers_and_lines_under_standard_names(
    db: Database, pipeline: Pipeline
) -> None:
    record_id = db.add(pipeline, "D-1", lines=3)
    db.add(pipeline, "D-2", created_at=T0 + timedelta(minutes=1), lines=0, unconfirmed=True)
    db.add(pipeline, "D-3", created_at=T0 + timedelta(minutes=2))
    db.claim(pipeline, limit=2)

    first, second = db.source.documents.load(pipeline, "token-1")

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
    assert db.source.documents.load(SALE, "nobody") == []


def test_load_and_save_take_no_more_statements_for_more_documents(db: Database) -> None:
    def statements(count: int) -> tuple[int, int]:
        token = f"token-{count}"
        for number in range(count):
            db.add(SALE, f"HD-{count}-{number}")
        assert len(db.claim(SALE, token=token, limit=count)) == count
        with db.statements() as loading:
            documents = db.source.documents.load(SALE, token)
        kinds = list(OutcomeKind)
        outcomes = [
            Outcome(document.ref, token, kinds[number % 3], message="m")
            for number, document in enumerate(documents)
        ]
        with db.statements() as saving:
            assert len(db.source.outcomes.save(outcomes).written) == count
        return len(loading), len(saving)

    statements(3)  # the first save looks at the columns as well
    few = statements(6)
    assert few == statements(60)
    assert few[0] == 2


# Looking


def test_find_gives_every_row_of_a_code(db: Database) -> None:
    ids = [db.add(SALE, "HD-1"), db.add(SALE, "HD-1", pharmacy_code="010010005678")]
    assert [document.ref.record_id for document in db.source.documents.find(SALE, "HD-1")] == ids
    (found,) = db.source.documents.find(SALE, "HD-1", "010010005678")
    assert found.ref.record_id == ids[1]
    assert (found.attempts, found.unconfirmed, found.lease_live) == (0, False, False)
    assert found.created_at == T0
    assert db.source.documents.find(SALE, "HD-9") == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("RETRYING", "RETRYING"),
        ("sync_success  ", SyncStatus.SUCCESS),
        ("Sync_Failed", SyncStatus.FAILED),
        (" ", ""),
    ],
)
def test_any_status_is_a_value(db: Database, written: str, read: str) -> None:
    db.add(SALE, "HD-1", status=written)
    (found,) = db.source.documents.find(SALE, "HD-1")
    assert found.status == read
    assert db.claim(SALE) == []


def test_get_takes_more_ids_than_a_statement_has_parameters(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    found = db.source.documents.get(SALE, [record_id, *range(10**6, 10**6 + 2500)])
    assert [document.ref.record_id for document in found] == [record_id]


def test_held_claims_are_grouped_by_token(db: Database) -> None:
    ids = db.add_many(SALE, 3)
    db.claim(SALE, limit=2)
    db.claim(SALE, token="token-2")
    db.expire(SALE, ids[2])

    expired, live = db.source.claims.held(SALE)

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
    db.add(SALE, "waiting", next_attempt_at=utc_in(3600), unconfirmed=True)
    expired = db.add(SALE, "expired", claim_token="c")
    db.expire(SALE, expired)
    db.add(SALE, "done", status="SYNC_SUCCESS")
    db.add(SALE, "bad", status="SYNC_FAILED")

    sale, receipts = db.source.counts.summary([SALE, IMPORT])

    assert (sale.pipeline, sale.pending, sale.waiting) == ("sale", 3, 1)
    assert (sale.in_flight, sale.batches, sale.unconfirmed) == (2, 2, 1)
    assert (sale.succeeded, sale.failed) == (1, 1)
    assert sale.oldest_pending_seconds is not None
    assert (receipts.pending, receipts.oldest_pending_seconds) == (0, None)
    assert [db.source.counts.batches(pipeline) for pipeline in (SALE, IMPORT)] == [2, 0]


def test_due_are_those_a_claim_would_take_counted_up_to_a_bound(db: Database) -> None:
    db.add(SALE, "held")
    db.claim(SALE)
    for number in range(5):
        db.add(SALE, f"free-{number}")
    db.add(SALE, "waiting", next_attempt_at=utc_in(3600))
    db.expire(SALE, db.add(SALE, "expired", claim_token="c"))
    db.add(SALE, "done", status="SYNC_SUCCESS")
    assert db.source.counts.due([SALE, IMPORT], 100) == {"sale": 6, "import": 0}
    assert db.source.counts.due([SALE], 4) == {"sale": 4}


def test_what_is_not_accepted_in_time_is_counted_by_shop(db: Database) -> None:
    today = date(2026, 11, 27)

    def add(local_id: str, shop: str, day: int, **values: object) -> None:
        morning = datetime.combine(date(2026, 11, day), time(9))
        dated = {"sale_date": morning, "created_at": morning}
        db.add(SALE, local_id, shop_pharmacy_code=shop, **dated | values)

    add("late", "S1", 26)
    add("late and failed", "S1", 25, status="SYNC_FAILED")
    add("soon", "S1", 27)
    add("soon elsewhere", "S2", 27)
    add("accepted", "S1", 26, status="SYNC_SUCCESS")
    add("long late", "S1", 2)
    add("on its way", "S2", 27, created_at=local_in(-60))
    midnight = datetime.combine(today, time.min)
    bounds = DeadlineBounds(
        oldest=midnight - timedelta(days=7),
        late=midnight,
        soon=midnight + timedelta(days=1),
        at=midnight + timedelta(days=1),
    )

    found = db.source.counts.deadlines([(SALE, bounds), (IMPORT, bounds)])

    assert sorted(found, key=lambda count: count.shop) == [
        DeadlineCount("sale", "S1", late=2, soon=1, failed=1),
        DeadlineCount("sale", "S2", late=0, soon=1, failed=0),
    ]


def test_pending_shops_are_those_with_documents_nobody_holds(db: Database) -> None:
    db.add(SALE, "held", shop_pharmacy_code="S0")
    db.claim(SALE)
    db.add(SALE, "HD-1", shop_pharmacy_code="S2")
    db.add(SALE, "HD-2", shop_pharmacy_code="S1", next_attempt_at=utc_in(3600))
    db.add(SALE, "HD-3", shop_pharmacy_code="S1")
    db.add(SALE, "HD-4", shop_pharmacy_code="S3", status="SYNC_FAILED")
    shops = {(shop.code, shop.pharmacy_code) for shop in db.source.counts.pending_shops(SALE)}
    assert shops == {("S2", PHARMACY), ("S1", PHARMACY)}


def test_a_large_backlog_of_one_shop_does_not_hold_up_another(db: Database) -> None:
    for number in range(30):
        db.add(SALE, f"BIG-{number}", shop_pharmacy_code="S1")
    for number in range(3):
        db.add(SALE, f"SMALL-{number}", shop_pharmacy_code="S2")
    claim = db.source.claims.claim(SALE, token="token", limit=10, lease=timedelta(minutes=5))
    shops = Counter(document.shop_pharmacy_code for document in claim.documents)
    assert shops == {"S1": 7, "S2": 3}


def test_no_room_of_a_batch_is_left_unused(db: Database) -> None:
    for shop, count in {"S1": 1, "S2": 2, "S3": 20}.items():
        for number in range(count):
            db.add(SALE, f"{shop}-{number}", shop_pharmacy_code=shop)
    claim = db.source.claims.claim(SALE, token="token", limit=20, lease=timedelta(minutes=5))
    shops = Counter(document.shop_pharmacy_code for document in claim.documents)
    assert shops == {"S1": 1, "S2": 2, "S3": 17}


def test_only_what_was_finished_lately_is_counted_where_asked(db: Database) -> None:
    db.add(SALE, "new", status="SYNC_SUCCESS", updated_at=local_now())
    db.add(SALE, "old", status="SYNC_SUCCESS", updated_at=datetime.fromisoformat("2020-01-01"))
    (recent,) = db.source.counts.summary([SALE], finished_within=timedelta(hours=24))
    (ever,) = db.source.counts.summary([SALE])
    assert (recent.succeeded, ever.succeeded) == (1, 2)


def test_successes_without_a_national_id_are_listed(db: Database) -> None:
    ids = [
        db.add(SALE, "HD-1", status="SYNC_SUCCESS"),
        db.add(SALE, "HD-2", status="SYNC_SUCCESS", national_invoice_id=""),
    ]
    db.add(SALE, "HD-3", status="SYNC_SUCCESS", national_invoice_id="Q")
    db.add(SALE, "HD-4")
    found = db.source.documents.successes_without_national_id(SALE, 10)
    assert [ref.record_id for ref in found] == ids
    assert len(db.source.documents.successes_without_national_id(SALE, 1)) == 1
