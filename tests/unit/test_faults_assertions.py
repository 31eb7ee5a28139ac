"""The fault suite's own violations: every kind of harm is told from every other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from deployments.local.demo.documents import DemoPlan
from deployments.local.sandbox.store import DocumentCounters, DocumentKey, DocumentRecord
from lib.models import DocumentRef, StoredDocument, SyncStatus
from tests.faults.assertions import (
    find_violations,
    is_settled,
    log_disagreements,
    order_violations,
    untrue_successes,
    wrong_classes,
)
from tests.faults.content import content_of_body, content_of_rows
from tests.faults.watch import HoldUpWatch

SOUND = DocumentRef("sale", 1, "HD-1", "790760001234", "SHOP01")
FAULTY = DocumentRef("sale", 2, "HD-2", "790760001234", "SHOP01")
PLAN = DemoPlan(succeed=(SOUND,), fail=(FAULTY,))

ACCEPTED = StoredDocument(
    ref=SOUND,
    status=SyncStatus.SUCCESS,
    national_id="HD_QG_1",
    message="ok",
    claim_token=None,
    lease_expires_at=None,
    lease_live=False,
    attempts=1,
    next_attempt_at=None,
    unconfirmed=False,
    created_at=datetime(2026, 11, 2),  # noqa: DTZ001 - as the column keeps it
)
REFUSED = replace(
    ACCEPTED, ref=FAULTY, status=SyncStatus.FAILED, national_id=None, message="no lot"
)


def counters(code: str = "HD-1", accepted: int = 1) -> DocumentCounters:
    key = DocumentKey("hoa_don", "790760001234", code)
    return DocumentRecord(key, national_id="HD_QG_1", accepted=accepted).counters()


def log(ref: DocumentRef = SOUND, **fields: Any) -> dict[str, Any]:
    entry = {"pipeline": ref.pipeline, "record_id": ref.record_id, "local_id": ref.local_id}
    return entry | {"status": "SUCCESS", "national_id": "HD_QG_1"} | fields


FAILURE = log(FAULTY, state="open")


def rows(*documents: StoredDocument) -> dict[tuple[str, int], StoredDocument]:
    return {(row.ref.pipeline, row.ref.record_id): row for row in documents}


def test_all_as_planned_is_clean() -> None:
    found = find_violations(PLAN, rows(ACCEPTED, REFUSED), [counters()], [log()], [FAILURE])
    assert found.clean


def test_an_accepted_document_that_the_source_does_not_know_of_is_lost() -> None:
    pending = replace(ACCEPTED, status=SyncStatus.PENDING, national_id=None)
    found = find_violations(PLAN, rows(pending, REFUSED), [counters()], [], [FAILURE])
    assert len(found.lost) == 1
    assert not found.wrongly_failed


def test_a_success_the_api_never_saw_is_lost() -> None:
    found = find_violations(PLAN, rows(ACCEPTED, REFUSED), [], [log()], [FAILURE])
    assert len(found.lost) == 1


def test_a_national_id_of_another_acceptance_is_lost() -> None:
    other = replace(ACCEPTED, national_id="HD_QG_7")
    found = find_violations(PLAN, rows(other, REFUSED), [counters()], [], [FAILURE])
    assert len(found.lost) == 1


def test_a_missing_national_id_is_lost_unless_the_api_need_not_tell_it() -> None:
    without = rows(replace(ACCEPTED, national_id=None), REFUSED)
    assert len(find_violations(PLAN, without, [counters()], [], [FAILURE]).lost) == 1
    assert find_violations(PLAN, without, [counters()], [], [FAILURE], ids_known=False).clean
    other = rows(replace(ACCEPTED, national_id="HD_QG_7"), REFUSED)
    assert len(find_violations(PLAN, other, [counters()], [], [FAILURE], ids_known=False).lost) == 1


def test_a_vanished_row_is_lost() -> None:
    assert len(find_violations(PLAN, rows(REFUSED), [counters()], [], [FAILURE]).lost) == 1


def test_two_acceptances_are_counted_whatever_the_row_says() -> None:
    found = find_violations(
        PLAN, rows(ACCEPTED, REFUSED), [counters(accepted=2)], [log()], [FAILURE]
    )
    assert len(found.twice) == 1
    assert not found.lost


def test_a_sound_document_marked_failed_is_wrongly_failed_and_not_also_lost() -> None:
    failed = replace(ACCEPTED, status=SyncStatus.FAILED, national_id=None)
    found = find_violations(PLAN, rows(failed, REFUSED), [], [], [FAILURE])
    assert (len(found.wrongly_failed), len(found.lost)) == (1, 0)


def test_a_faulty_document_nobody_hears_of_is_lost() -> None:
    pending = replace(REFUSED, status=SyncStatus.PENDING)
    assert len(find_violations(PLAN, rows(ACCEPTED, pending), [counters()], [log()], []).lost) == 1


def test_a_failure_without_a_record_is_a_disagreement() -> None:
    found = find_violations(PLAN, rows(ACCEPTED, REFUSED), [counters()], [log()], [])
    assert len(found.disagreements) == 1


def test_an_accepted_faulty_document_is_a_disagreement() -> None:
    both = [counters(), counters("HD-2")]
    found = find_violations(PLAN, rows(ACCEPTED, REFUSED), both, [log()], [FAILURE])
    assert found.disagreements == ["hoa_don/790760001234/HD-2: accepted, but must not be"]


def test_logs_that_are_open_or_say_something_else_disagree() -> None:
    found = log_disagreements(
        rows(ACCEPTED, REFUSED),
        [
            log(status="RUNNING"),
            log(status="ACCEPTED"),
            log(status="FAILED"),
            log(national_id="HD_QG_9"),
            log(FAULTY, status="SUCCESS"),
        ],
    )
    assert len(found) == 5


def test_logs_of_earlier_tries_agree_with_any_end() -> None:
    assert log_disagreements(rows(ACCEPTED), [log(status="RELEASED"), log()]) == []


def test_settled_means_final_and_free() -> None:
    assert is_settled(PLAN, rows(ACCEPTED, REFUSED))
    assert not is_settled(PLAN, rows(ACCEPTED))
    assert not is_settled(PLAN, rows(ACCEPTED, replace(REFUSED, status=SyncStatus.PENDING)))
    assert not is_settled(PLAN, rows(ACCEPTED, replace(REFUSED, claim_token="t")))


def test_claims_from_old_to_young_are_in_order() -> None:
    assert order_violations([[0, 1], [], [2], [4, 3]]) == []


def test_a_claim_that_passed_over_an_older_document_is_out_of_order() -> None:
    assert len(order_violations([[0, 3], [1, 2], [4]])) == 1


def test_a_failure_of_another_class_is_named() -> None:
    wanted = {("sale", 2): "crashes_worker"}
    assert wrong_classes(wanted, [FAILURE | {"error_class": "crashes_worker"}]) == []
    (line,) = wrong_classes(wanted, [FAILURE | {"error_class": "invalid"}])
    assert "failed as invalid, not as crashes_worker" in line
    assert len(wrong_classes(wanted, [])) == 1


def test_a_document_may_have_to_fail_although_the_api_has_it() -> None:
    arguments = (rows(ACCEPTED, REFUSED), [counters(), counters("HD-2")], [log()], [FAILURE])
    assert not find_violations(PLAN, *arguments).clean
    assert find_violations(PLAN, *arguments, stored_before=[FAULTY]).clean


KEY = ("hoa_don", "790760001234", "HD-1")
CONTENT = content_of_rows([{"drug_code": "D1", "lot_number": "L1 ", "quantity": Decimal("2.00")}])


def test_content_is_compared_whatever_its_form() -> None:
    assert content_of_body([{"ma_thuoc": "D1", "so_lo": "L1", "so_luong": 2}]) == CONTENT


def test_a_success_that_the_api_does_not_have_is_untrue() -> None:
    other = content_of_body([{"ma_thuoc": "D1", "so_lo": "L1", "so_luong": 3}])
    assert untrue_successes(rows(ACCEPTED), {KEY: CONTENT}, {KEY: CONTENT}) == []
    assert "another content" in untrue_successes(rows(ACCEPTED), {KEY: CONTENT}, {KEY: other})[0]
    assert "does not have it" in untrue_successes(rows(ACCEPTED), {KEY: CONTENT}, {})[0]
    assert untrue_successes(rows(REFUSED), {KEY: CONTENT}, {}) == []


PENDING = replace(ACCEPTED, status=SyncStatus.PENDING, national_id=None)
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


def test_a_due_document_that_is_not_touched_is_held_up() -> None:
    watch = HoldUpWatch(patience=2)
    for number in range(4):
        assert watch.held_up == {}
        watch.look([SOUND], rows(PENDING), number, NOW)
    assert list(watch.held_up) == [("sale", 1)]


@pytest.mark.parametrize(
    "touched",
    [
        replace(PENDING, claim_token="t"),
        replace(PENDING, attempts=2),
        replace(PENDING, next_attempt_at=NOW.replace(tzinfo=None) + timedelta(minutes=1)),
        ACCEPTED,
    ],
)
def test_whatever_happens_to_a_document_starts_its_wait_again(touched: StoredDocument) -> None:
    watch = HoldUpWatch(patience=2)
    for number in range(12):
        watch.look([SOUND], rows(touched if number % 2 else PENDING), number, NOW)
    assert watch.held_up == {}
