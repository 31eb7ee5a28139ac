"""Moments of a document's life, read from what each store keeps of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lib.operations.events import Event, Run, events_of_failure, events_of_log, events_of_run

BEGIN = datetime(2026, 11, 2, 8, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def make_log(**values: Any) -> dict[str, Any]:
    return {
        "claim_token": "claim-1",
        "flow_run_id": "run-1",
        "status": "SUCCESS",
        "created_at": at(0),
        "updated_at": at(9),
    } | values


def make_run(**values: Any) -> Run:
    fields: dict[str, Any] = {
        "id": "run-1",
        "is_task": False,
        "name": "sale HD-1",
        "state": "Completed",
        "message": "accepted as QG-1",
        "created": at(0),
        "start": at(1),
        "end": at(2),
        "parameters": {},
    }
    return Run(**(fields | values))


def kinds(events: list[Event]) -> list[tuple[str, datetime]]:
    return [(event.kind, event.at) for event in events]


def test_a_log_entry_tells_dispatch_start_calls_acceptance_and_end() -> None:
    attempt = {"at": at(2), "action": "submit", "duration_ms": 81.6, "http_status": 200}
    log = make_log(
        started_at=at(1),
        attempts=[attempt],
        accepted_at=at(3),
        closed_at=at(4),
        national_id="QG-1",
    )
    events = list(events_of_log(log))
    assert kinds(events) == [
        ("dispatched", at(0)),
        ("started", at(1)),
        ("attempt", at(2)),
        ("accepted", at(3)),
        ("closed", at(4)),
    ]
    assert events[2].details == "submit, HTTP 200, 82 ms"
    assert "QG-1" in events[3].details


def test_an_entry_of_a_run_by_hand_was_not_dispatched() -> None:
    (first, *_) = events_of_log(make_log(flow_run_id="claim-1"))
    assert first.kind == "logged"


def test_an_open_entry_has_no_end() -> None:
    assert kinds(list(events_of_log(make_log(status="RUNNING")))) == [("dispatched", at(0))]


def test_a_moment_may_be_stored_as_text() -> None:
    log = make_log(status="RUNNING", started_at="2026-11-02 08:00:01")
    assert kinds(list(events_of_log(log))) == [("dispatched", at(0)), ("started", at(1))]


def test_an_entry_without_times_ends_when_it_was_changed_last() -> None:
    assert ("closed", at(9)) in kinds(list(events_of_log(make_log())))


def test_a_failure_record_tells_every_decision_about_it() -> None:
    record = {
        "created_at": at(0),
        "error_class": "rejected",
        "error": "so_lo",
        "history": {
            "1": {"state": "requeued", "by": "lan", "why": "entered", "at": at(1)},
            "2": {"state": "resolved", "by": "reconcile", "why": "accepted", "at": at(2)},
        },
    }
    events = list(events_of_failure(record))
    assert kinds(events) == [("failed", at(0)), ("requeued", at(1)), ("resolved", at(2))]
    assert events[1].details == "lan, entered"


def test_a_record_without_history_tells_its_last_decision() -> None:
    record = {
        "created_at": at(0),
        "error_class": "rejected",
        "state": "requeued",
        "settled_at": at(1),
        "settled_by": "lan",
    }
    assert [event.kind for event in events_of_failure(record)] == ["failed", "requeued"]


def test_a_run_tells_begin_and_end() -> None:
    assert kinds(list(events_of_run(make_run()))) == [("run_started", at(1)), ("run_ended", at(2))]


def test_a_run_that_has_not_begun_says_so() -> None:
    (event,) = events_of_run(make_run(start=None, end=None, state="Late"))
    assert (event.kind, event.at) == ("run_waits", at(0))
    assert "Late" in event.details
