"""The stores' answers about a day's documents, put side by side."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lib.daily_close.compare import choose_sample, compare, spread, state_of
from lib.daily_close.result import (
    ApiState,
    BadScope,
    DailyClose,
    Kind,
    Note,
    NoteKind,
    Scope,
    State,
    make_scope,
)
from lib.models import Acceptance
from lib.platforms.platform import Lookup
from lib.source.daily import DailyDocument
from lib.tracking.task_logs import LoggedDocument
from lib.words.documents import BY_HAND
from lib.words.language import Language, translate
from tasks.artifacts import description_of
from tests.support.records import make_ref

DAY = date(2026, 11, 2)
LOGGED = LoggedDocument(sent=True, accepted=True, national_ids=frozenset({"QG-1"}))
REFUSED = LoggedDocument(sent=True)


def make_document(record_id: int = 1, **values: Any) -> DailyDocument:
    """An accepted one; `values` replace single values of it and of its reference."""
    ref = {
        name: values.pop(name)
        for name in ("pipeline", "local_id", "shop", "pharmacy_code")
        if name in values
    }
    return DailyDocument(
        **{
            "ref": make_ref(record_id, **ref),
            "day": DAY,
            "status": "SYNC_SUCCESS",
            "national_id": f"QG-{record_id}",
            "message": "accepted",
            "live": False,
            "unconfirmed": False,
            "lines": 2,
            "amount": Decimal("10000.00"),
        }
        | values
    )


def kinds(
    document: DailyDocument, *, log: LoggedDocument | None = LOGGED, answers: Any = None
) -> list[Kind]:
    logged = {} if log is None else {document.ref.pipeline: {document.ref.record_id: log}}
    asked = {} if answers is None else {document.ref: answers}
    (closed,) = compare([document], logged, asked)
    return [difference.kind for difference in closed.differences]


def make_close(*documents: DailyDocument, logged: bool = True) -> DailyClose:
    logs = {
        "sale": {
            d.ref.record_id: LoggedDocument(
                sent=True,
                accepted=d.status == "SYNC_SUCCESS",
                national_ids=frozenset({d.national_id} - {None}),
            )
            for d in documents
        }
    }
    return DailyClose(Scope(DAY, DAY), compare(documents, logs if logged else None, {}))


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, State.ACCEPTED),
        ({"status": "SYNC_FAILED"}, State.FAILED),
        ({"status": "PENDING_SYNC"}, State.PENDING),
        ({"status": "PENDING_SYNC", "live": True, "unconfirmed": True}, State.IN_FLIGHT),
        ({"status": "PENDING_SYNC", "unconfirmed": True}, State.UNCONFIRMED),
        ({"status": "CANCELLED"}, State.UNKNOWN),
    ],
)
def test_where_a_document_stands(values: dict[str, Any], state: State) -> None:
    assert state_of(make_document(**values)) is state


def test_stores_that_say_the_same_differ_in_nothing() -> None:
    assert kinds(make_document(), answers=Acceptance("QG-1", "")) == []
    assert kinds(make_document(), answers=Acceptance(None, "")) == []
    assert kinds(make_document(status="SYNC_FAILED"), log=REFUSED, answers=Lookup.ABSENT) == []
    assert kinds(make_document(status="PENDING_SYNC"), log=None) == []


@pytest.mark.parametrize(
    ("values", "log", "kind"),
    [
        ({"national_id": None}, LoggedDocument(accepted=True), Kind.NO_NATIONAL_ID),
        ({}, None, Kind.NOT_LOGGED),
        ({}, REFUSED, Kind.LOGGED_OTHERWISE),
        ({"national_id": "QG-9"}, LOGGED, Kind.LOGGED_ID_DIFFERS),
        ({"status": "SYNC_FAILED"}, LOGGED, Kind.LOGGED_ACCEPTED),
        ({"status": "PENDING_SYNC"}, LOGGED, Kind.LOGGED_ACCEPTED),
        ({"status": "VOID"}, None, Kind.UNKNOWN_STATUS),
    ],
)
def test_source_and_logs_differ(
    values: dict[str, Any], log: LoggedDocument | None, kind: Kind
) -> None:
    assert kinds(make_document(**values), log=log) == [kind]


@pytest.mark.parametrize(
    ("status", "log", "answer", "kind"),
    [
        ("SYNC_SUCCESS", LOGGED, Lookup.ABSENT, Kind.API_ABSENT),
        ("SYNC_SUCCESS", LOGGED, Acceptance("QG-9", ""), Kind.API_ID_DIFFERS),
        ("SYNC_FAILED", REFUSED, Acceptance("QG-1", ""), Kind.API_HAS_IT),
    ],
)
def test_source_and_api_differ(
    status: str, log: LoggedDocument, answer: Acceptance | Lookup, kind: Kind
) -> None:
    assert kinds(make_document(status=status), log=log, answers=answer) == [kind]


def test_an_answer_that_says_nothing_is_no_difference() -> None:
    assert kinds(make_document(), answers=Lookup.UNSUPPORTED) == []
    document = make_document()
    (closed,) = compare([document], None, {document.ref: None})
    assert (closed.api, closed.differences) == (ApiState.NO_ANSWER, ())


@pytest.mark.parametrize("language", list(Language))
def test_the_logs_need_not_know_what_a_person_entered(language: Language) -> None:
    by_hand = make_document(message=translate(language, BY_HAND, why="typed in at the portal"))
    assert kinds(by_hand, log=REFUSED) == []


def test_one_national_id_or_code_for_two_documents_is_noticed() -> None:
    pair = [make_document(1, local_id="HD"), make_document(2, local_id="HD", national_id="QG-1")]
    found = {difference.kind for difference in make_close(*pair).differences}
    assert found == {Kind.SAME_NATIONAL_ID, Kind.SAME_CODE}
    others = [make_document(1, local_id="HD"), make_document(2, local_id="HD", pharmacy_code="2")]
    assert make_close(*others).differences == []


def test_a_day_is_closed_when_all_is_accepted_and_all_agree() -> None:
    good = make_document(1)
    assert make_close(good).is_closed
    assert make_close().is_closed
    assert not make_close(good, make_document(2, status="PENDING_SYNC")).is_closed
    assert not make_close(good, make_document(2, status="SYNC_FAILED")).is_closed
    assert not make_close(make_document(1, national_id=None)).is_closed
    close = make_close(good)
    away = Note(NoteKind.LOGS_AWAY, why="MongoDB")
    assert not DailyClose(close.scope, close.documents, (away,)).is_closed


def test_documents_of_several_days_are_in_order_of_their_days() -> None:
    later = make_document(1, local_id="A", day=DAY + timedelta(days=1))
    close = make_close(later, make_document(2, local_id="B"))
    assert [d.ref.local_id for d in close.documents] == ["B", "A"]


def test_a_scope_is_one_day_or_some_and_not_too_many() -> None:
    assert str(make_scope(DAY, None, None)) == "2026-11-02"
    assert make_scope(None, DAY, None) == Scope(DAY, DAY)
    assert str(make_scope(DAY, DAY + timedelta(days=2), " SHOP01 ")) == (
        "2026-11-02..2026-11-04 SHOP01"
    )
    with pytest.raises(BadScope, match="before"):
        make_scope(DAY, DAY - timedelta(days=1), None)
    with pytest.raises(BadScope, match="at most"):
        make_scope(DAY, DAY + timedelta(days=400), None)


def test_shops_are_counted_each_for_itself() -> None:
    close = make_close(
        make_document(1),
        make_document(2, status="SYNC_FAILED", national_id=None),
        make_document(3, status="PENDING_SYNC", national_id=None, amount=Decimal(5)),
        make_document(4, shop="SHOP02"),
    )
    first, second = close.shops
    assert (first.shop, first.documents, first.accepted, first.failed, first.open) == (
        *("SHOP01", 3),
        *(1, 1, 1),
    )
    assert (first.logged, first.amount, first.accepted_amount) == (1, 20005, 10000)
    assert (second.shop, second.documents) == ("SHOP02", 1)


def test_without_logs_nothing_is_claimed_about_them() -> None:
    close = make_close(make_document(), logged=False)
    assert (close.shops[0].sent, close.shops[0].logged) == (None, None)
    assert close.differences == []


def test_the_sample_is_taken_of_every_shop_and_of_both_kinds() -> None:
    documents = [
        *(make_document(n) for n in range(100)),
        *(make_document(n, status="SYNC_FAILED") for n in range(100, 150)),
        make_document(200, shop="SHOP02"),
        make_document(201, status="PENDING_SYNC"),
    ]
    sample = choose_sample(documents, 3)
    assert sample == choose_sample(reversed(documents), 3)
    found = sorted((d.ref.shop_pharmacy_code, d.status) for d in sample)
    assert found == [
        *[("SHOP01", "SYNC_FAILED")] * 3,
        *[("SHOP01", "SYNC_SUCCESS")] * 3,
        ("SHOP02", "SYNC_SUCCESS"),
    ]
    assert choose_sample(documents, 0) == []


@pytest.mark.parametrize(("count", "size"), [(0, 3), (2, 3), (3, 3), (4, 3), (1000, 7)])
def test_a_sample_has_no_document_twice(count: int, size: int) -> None:
    found = spread(count, size)
    assert len(found) == len(set(found)) == min(count, size)
    assert all(0 <= index < count for index in found)


def test_the_artifact_names_differences_up_to_a_bound() -> None:
    documents = [make_document(n, national_id=None) for n in range(60)]
    text = description_of(make_close(*documents))
    assert "not closed" in text
    assert "sale HD-0 (SHOP01): accepted, but without a national id" in text
    assert "and 10 more" in text
    assert text.count("\n- ") == 51
