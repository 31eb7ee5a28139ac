"""Every way an attempt can end, and what it does to the document."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lib.errors import (
    AccountRefused,
    ConfigurationError,
    FieldError,
    Forbidden,
    InvalidDocument,
    OutcomeUnknown,
    Paused,
    Rejected,
    StoreUnavailable,
    Throttled,
    Unavailable,
    UnexpectedError,
    WrongEndpoint,
)
from lib.models import Acceptance, Document, DocumentRef, Outcome, OutcomeKind
from lib.settings import Language, SyncSettings
from lib.sync.outcomes import accepted, backoff, failed, interrupted

SYNC = SyncSettings(max_attempts=3, attempt_delay=100, attempt_delay_max=1000)


def make_document(*, attempts: int = 1) -> Document:
    ref = DocumentRef("sale", 7, "HD-1", "790760001234", "SHOP01")
    return Document(ref, "token", False, attempts, {}, [])


def outcome_of(
    error: BaseException,
    *,
    attempts: int = 1,
    unconfirmed: bool = False,
    outage: float | None = None,
) -> Outcome:
    document = make_document(attempts=attempts)
    return failed(document, error, SYNC, unconfirmed=unconfirmed, outage=outage)


def test_acceptance_keeps_the_national_id() -> None:
    outcome = accepted(make_document(), Acceptance("QG-1", "ok", 200), Language.ENGLISH)
    assert (outcome.kind, outcome.national_id, outcome.message) == (
        OutcomeKind.ACCEPTED,
        "QG-1",
        "ok",
    )


def test_a_refusal_is_final_at_once_and_names_the_fields() -> None:
    error = InvalidDocument([FieldError("so_lo", 2, "is blank")], Language.ENGLISH)
    outcome = outcome_of(error)
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.error_class == "invalid"
    assert outcome.message == "line 2, lot number (so_lo): is blank"
    assert outcome.field_errors[0].field == "so_lo"


def test_a_refusal_means_the_api_does_not_have_it() -> None:
    outcome = outcome_of(Rejected("no", http_status=422), unconfirmed=True)
    assert not outcome.unconfirmed


@pytest.mark.parametrize("error", [Unavailable("503", http_status=503), OutcomeUnknown("timeout")])
def test_a_passing_failure_goes_back_with_a_growing_delay(error: Exception) -> None:
    first, second = outcome_of(error, attempts=1), outcome_of(error, attempts=2)
    assert first.kind is second.kind is OutcomeKind.RELEASED
    assert first.costs_attempt
    assert timedelta(0) < first.retry_in < second.retry_in


@pytest.mark.parametrize("error", [Unavailable("503", http_status=503), OutcomeUnknown("timeout")])
def test_spent_attempts_are_final_for_a_person(error: Exception) -> None:
    outcome = outcome_of(error, attempts=3, unconfirmed=True)
    assert (outcome.kind, outcome.error_class) == (OutcomeKind.FAILED, "attempts_exhausted")
    assert outcome.unconfirmed


@pytest.mark.parametrize(
    "error",
    [Unavailable("503"), OutcomeUnknown("timeout"), WrongEndpoint("404"), Forbidden("403")],
)
def test_in_an_outage_no_attempt_is_used_up_and_nothing_fails(error: Exception) -> None:
    outcome = outcome_of(error, attempts=99, outage=60)
    assert (outcome.kind, outcome.costs_attempt) == (OutcomeKind.RELEASED, False)


def test_what_fails_in_an_outage_comes_after_what_has_not_failed() -> None:
    outcome = outcome_of(Unavailable("503"), outage=60)
    assert outcome.retry_in == timedelta(seconds=60 + SYNC.attempt_delay)


@pytest.mark.parametrize("error", [WrongEndpoint("404"), Forbidden("403"), Unavailable("500")])
def test_what_fails_while_others_pass_costs_an_attempt(error: Exception) -> None:
    outcome = outcome_of(error)
    assert outcome.costs_attempt
    assert outcome.retry_in == backoff(1, SYNC)
    last = outcome_of(error, attempts=SYNC.max_attempts)
    assert (last.kind, last.error_class) == (OutcomeKind.FAILED, "attempts_exhausted")


def test_a_wait_that_the_api_asks_for_is_kept() -> None:
    assert outcome_of(Unavailable("503", retry_after=500)).retry_in == timedelta(seconds=500)


@pytest.mark.parametrize(
    "error",
    [
        AccountRefused("login refused"),
        ConfigurationError("no table"),
        StoreUnavailable("Redis", "away"),
        Paused("open", retry_after=20),
    ],
)
def test_what_is_not_the_documents_fault_costs_no_attempt(error: Exception) -> None:
    outcome = outcome_of(error, attempts=99, unconfirmed=True)
    assert (outcome.kind, outcome.costs_attempt) == (OutcomeKind.RELEASED, False)
    assert outcome.unconfirmed


def test_the_apis_pace_says_when_to_come_back() -> None:
    outcome = outcome_of(Throttled("429", retry_after=20))
    assert outcome.retry_in == timedelta(seconds=20)


def test_an_open_breaker_holds_no_document_back_once_it_has_closed() -> None:
    outcome = outcome_of(Paused("open", retry_after=900))
    assert outcome.retry_in == timedelta(0)


@pytest.mark.parametrize(
    "error", [KeyError("Nguyễn Thị Mai"), UnexpectedError("KeyError in lib.x, line 1")]
)
def test_an_error_of_ours_costs_no_attempt_and_is_counted_apart(error: Exception) -> None:
    outcome = outcome_of(error, attempts=SYNC.max_attempts)
    assert (outcome.kind, outcome.error_class) == (OutcomeKind.RELEASED, "unexpected")
    assert not outcome.costs_attempt
    assert outcome.retry_in == backoff(SYNC.max_attempts, SYNC)
    assert "Nguyễn" not in (outcome.message or "")


def test_an_interrupted_document_keeps_its_doubt() -> None:
    outcome = interrupted(make_document(), Language.ENGLISH, unconfirmed=True)
    assert (outcome.kind, outcome.unconfirmed) == (OutcomeKind.RELEASED, True)
    assert not outcome.costs_attempt
    assert outcome.retry_in == timedelta(0)


def test_long_texts_are_cut() -> None:
    outcome = outcome_of(Rejected("x" * 5000))
    assert len(outcome.message or "") <= 1000


def test_backoff_grows_and_is_bounded() -> None:
    delays = [backoff(n, SYNC).total_seconds() for n in range(1, 60)]
    assert delays[:3] == [100, 300, 900]
    assert delays == sorted(delays)
    assert max(delays) == 1000
