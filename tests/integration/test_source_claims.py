"""Claims on the source database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest

from lib.errors import (
    AlreadySent,
    AmbiguousDocument,
    DocumentBusy,
    DocumentNotFound,
)
from lib.models import OutcomeKind, SyncStatus
from lib.pipelines import PIPELINES, SALE, Pipeline
from lib.source.dialects import utc_in
from tests.support.source import LEASE, PHARMACY, T0, Database, outcome_of

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

    claim = db.source.claims.claim(SALE, token="token-1", limit=1, lease=LEASE)

    (ref,) = claim.documents
    assert (ref.pipeline, ref.record_id, ref.local_id) == ("sale", record_id, "HD-1")
    assert (ref.pharmacy_code, ref.shop_pharmacy_code) == (PHARMACY, "SHOP02")
    (stored,) = db.source.documents.get(SALE, [record_id])
    assert stored.status == SyncStatus.PENDING
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
    db.source.claims.renew(SALE, "token-1", LEASE)
    db.expire(SALE, record_id)

    assert db.claim(SALE, token="token-2") == [record_id]

    (stored,) = db.source.documents.get(SALE, [record_id])
    assert (stored.claim_token, stored.attempts, stored.unconfirmed) == ("token-2", 1, True)
    assert stored.delivery.crashes == 1


@pytest.mark.parametrize("given_back", [True, False])
def test_a_holder_that_never_began_says_nothing_about_its_documents(
    db: Database, given_back: bool
) -> None:
    """No worker came, or its process could not start: as often as that happens."""
    record_id = db.add(SALE, "HD-1")
    for number in range(8):
        token = f"token-{number}"
        assert db.claim(SALE, token=token) == [record_id]
        if given_back:
            db.source.claims.release(
                SALE, token, unconfirmed=True, costs_attempt=False, vanished=True
            )
        else:
            db.expire(SALE, record_id)

    (stored,) = db.source.documents.get(SALE, [record_id])
    assert (stored.attempts, stored.unconfirmed, stored.delivery.crashes) == (
        0 if given_back else 1,
        False,
        0,
    )


def test_claim_keeps_the_unconfirmed_flag_of_a_released_document(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", unconfirmed=True)
    db.claim(SALE)
    assert db.source.documents.get(SALE, [record_id])[0].unconfirmed is True


def test_claim_waits_for_the_next_attempt(db: Database) -> None:
    db.add(SALE, "later", next_attempt_at=utc_in(3600))
    due = db.add(SALE, "due", next_attempt_at=utc_in(-1))
    assert db.claim(SALE) == [due]


def test_probes_are_those_that_were_not_tried_for_the_longest(db: Database) -> None:
    def put_back(local_id: str, due_since: float, **values: Any) -> int:
        return db.add(SALE, local_id, next_attempt_at=utc_in(-due_since), **values)

    lately, long_ago = put_back("HD-1", 5), put_back("HD-2", 500)
    waiting = put_back("HD-3", -500)
    untried = [db.add(SALE, f"HD-{n}", sale_date=T0 + timedelta(days=n)) for n in (6, 5)]
    elsewhere = put_back("HD-7", 50, shop_pharmacy_code="SHOP02")

    def probe(limit: int) -> set[int]:
        claim = db.source.claims.claim(
            SALE, token=f"token-{limit}", limit=limit, lease=LEASE, least_recent_first=True
        )
        return {ref.record_id for ref in claim.documents}

    assert probe(1) == {untried[1]}  # by its own date it is the older of the two
    assert probe(3) == {untried[0], long_ago, elsewhere}
    assert probe(9) == {lately}
    assert db.delivery(SALE, waiting)["claim_token"] is None


def test_claim_excludes_and_selects_shops(db: Database) -> None:
    ids = {shop: db.add(SALE, f"HD-{shop}", shop_pharmacy_code=shop) for shop in ("S1", "S2", "S3")}

    def claimed(**shops: Any) -> list[int]:
        claim = db.source.claims.claim(SALE, token="t", limit=9, lease=LEASE, **shops)
        db.source.claims.release(SALE, "t", unconfirmed=None, costs_attempt=False)
        return [ref.record_id for ref in claim.documents]

    assert claimed(exclude_shops={"S1", "S2"}) == [ids["S3"]]
    assert claimed(only_shops={"S2"}) == [ids["S2"]]
    assert claimed(only_shops={"S1", "S2"}, exclude_shops={"S1"}) == [ids["S2"]]
    assert claimed(only_shops=()) == []
    many = {f"X'{number}" for number in range(3000)}
    assert claimed(exclude_shops=many | {"S1"}) == [ids["S2"], ids["S3"]]


@pytest.mark.parametrize("spelled", ["SHOP01", "shop01", "Shop01  "])
def test_a_shop_is_excluded_in_every_spelling(db: Database, spelled: str) -> None:
    for number, shop in enumerate(["SHOP01", "shop01", "SHOP01 ", "SHOP02"]):
        db.add(SALE, f"HD-{number}", shop_pharmacy_code=shop)

    def claimed(**shops: Any) -> list[str]:
        claim = db.source.claims.claim(SALE, token="t", limit=9, lease=LEASE, **shops)
        db.source.claims.release(SALE, "t", unconfirmed=None, costs_attempt=False)
        return sorted(ref.local_id for ref in claim.documents)

    assert claimed(exclude_shops={spelled}) == ["HD-3"]
    assert claimed(only_shops={spelled}) == ["HD-0", "HD-1", "HD-2"]


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
    assert {db.delivery(SALE, record)["attempts"] for record in ids} == {1}


# Several rows of one code


def test_of_rows_with_one_code_only_the_lowest_pending_is_claimed(db: Database) -> None:
    first, second = db.add(SALE, "HD-1"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [first]
    assert db.claim(SALE, token="token-2") == []

    db.source.outcomes.save([outcome_of(db, first, OutcomeKind.FAILED, message="no")])
    assert db.claim(SALE, token="token-3") == [second]


@pytest.mark.parametrize("other", [" HD-1", "HD-1 ", " HD-1  "])
def test_blanks_around_a_code_make_no_other_code(db: Database, other: str) -> None:
    first, second = db.add(SALE, "HD-1"), db.add(SALE, other)
    assert db.claim(SALE) == [first]
    assert db.claim(SALE, token="token-2") == []

    db.source.outcomes.save([outcome_of(db, first, OutcomeKind.ACCEPTED, national_id="Q1")])
    assert db.row(SALE, second)["status"].strip() == "PENDING_SYNC"
    assert db.claim(SALE, token="token-3") == [second]


def test_the_same_local_id_of_two_pharmacies_is_two_documents(db: Database) -> None:
    ids = [db.add(SALE, "HD-1"), db.add(SALE, "HD-1", pharmacy_code="010010005678")]
    assert db.claim(SALE) == ids


def test_a_lower_row_made_pending_again_waits_for_the_one_in_flight(db: Database) -> None:
    lower, higher = db.add(SALE, "HD-1", status="SYNC_FAILED"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [higher]
    assert db.source.corrections.requeue(SALE, [lower]) == 1

    assert db.claim(SALE, token="token-2") == []

    db.source.outcomes.save([outcome_of(db, higher, OutcomeKind.ACCEPTED, national_id="Q")])
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
    record_id = db.add(SALE, "HD 1/a", status=status, attempts=7, next_attempt_at=utc_in(3600))
    db.add(SALE, "HD-2")

    assert db.claim_one(SALE, "HD 1/a") == record_id

    (stored,) = db.source.documents.get(SALE, [record_id])
    assert stored.status == SyncStatus.PENDING
    assert (stored.claim_token, stored.lease_live, stored.attempts) == ("person", True, 8)


def test_claim_one_takes_an_accepted_document_only_by_force(db: Database) -> None:
    record_id = db.add(SALE, "HD-1", status="SYNC_SUCCESS", national_invoice_id="Q1")
    with pytest.raises(AlreadySent, match="HD-1"):
        db.claim_one(SALE, "HD-1")
    assert db.delivery(SALE, record_id) == {}

    assert db.claim_one(SALE, "HD-1", force=True) == record_id
    (stored,) = db.source.documents.get(SALE, [record_id])
    assert (stored.status, stored.national_id) == (SyncStatus.PENDING, "Q1")
    assert stored.unconfirmed is False


def test_claim_one_names_what_is_not_there(db: Database) -> None:
    db.add(SALE, "HD-1")
    with pytest.raises(DocumentNotFound, match=r"Sale invoice 'HD-9'"):
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

    db.source.claims.renew(SALE, "token-1", LEASE)
    db.expire(SALE, record_id)
    assert db.claim_one(SALE, "HD-1") == record_id
    assert db.source.documents.get(SALE, [record_id])[0].unconfirmed is True


def test_claim_one_refuses_while_another_row_of_the_code_is_held(db: Database) -> None:
    done, pending = db.add(SALE, "HD-1", status="SYNC_SUCCESS"), db.add(SALE, "HD-1")
    assert db.claim(SALE) == [pending]
    with pytest.raises(DocumentBusy):
        db.claim_one(SALE, "HD-1", force=True)
    assert db.delivery(SALE, done) == {}


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


# Renewing and releasing


def test_renew_extends_what_is_still_held(db: Database) -> None:
    held, lost, done = db.add_many(SALE, 3)
    db.claim(SALE)
    db.expire(SALE, held, lost)
    db.change(SALE, lost, claim_token="token-2")
    db.source.outcomes.save([outcome_of(db, done, OutcomeKind.ACCEPTED, national_id="Q")])

    assert db.source.claims.renew(SALE, "token-1", LEASE) == 1

    assert db.source.documents.get(SALE, [held])[0].lease_live
    assert not db.source.documents.get(SALE, [lost])[0].lease_live
    assert db.source.claims.renew(SALE, "nobody", LEASE) == 0


@pytest.mark.parametrize(
    ("unconfirmed", "costs_attempt", "flag", "attempts"),
    [(None, False, False, 4), (True, True, True, 5), (False, True, False, 5)],
)
def test_release_claim_gives_everything_back(
    db: Database, unconfirmed: bool | None, costs_attempt: bool, flag: bool, attempts: int
) -> None:
    ids = [db.add(SALE, f"HD-{n}", attempts=4) for n in range(2)]
    db.claim(SALE)

    released = db.source.claims.release(
        SALE, "token-1", unconfirmed=unconfirmed, costs_attempt=costs_attempt
    )

    assert [ref.record_id for ref in released] == ids
    for stored in db.source.documents.get(SALE, ids):
        assert (stored.status, stored.claim_token) == (SyncStatus.PENDING, None)
        assert (stored.unconfirmed, stored.attempts) == (flag, attempts)
    assert db.source.claims.release(SALE, "token-1", unconfirmed=None, costs_attempt=False) == []
    assert db.claim(SALE, token="token-2") == ids


def test_attempts_never_fall_below_zero(db: Database) -> None:
    record_id = db.add(SALE, "HD-1")
    db.claim(SALE)
    db.change(SALE, record_id, attempts=0)
    db.source.claims.release(SALE, "token-1", unconfirmed=None, costs_attempt=False)
    assert db.source.documents.get(SALE, [record_id])[0].attempts == 0
