"""Events of a document, read from log entries, failure records and runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lib.models import LogStatus

#: Kinds of events.
KINDS = (
    *("dispatched", "logged", "started", "attempt", "accepted", "closed"),
    *("failed", "requeued", "resolved", "run_started", "run_ended", "run_waits"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run in Prefect: a flow run, or a task run at granularity `task`.

    Attributes:
        message: the message of its state.
        url: its page in the UI; None if not known.
    """

    id: str
    is_task: bool
    name: str
    state: str
    message: str | None
    created: datetime | None
    start: datetime | None
    end: datetime | None
    parameters: dict[str, Any]
    url: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "message": self.message,
            "start": self.start,
            "end": self.end,
            "url": self.url,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        kind: one of `KINDS`.
        details: values, the same in every language.
        url: page of the run it is about.
    """

    at: datetime
    store: str
    kind: str
    details: str
    url: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "store": self.store,
            "event": self.kind,
            "details": self.details,
            "url": self.url,
        }


def events_of_log(log: Mapping[str, Any]) -> Iterator[Event]:
    """The events of one `task_logs` entry, which describes one dispatch of the document."""
    store, token = "task_logs", log["claim_token"]
    # A run that a person started uses its run id as the claim token.
    by_hand = token == log.get("flow_run_id")
    started = _moment(log["started_at"]) if log.get("started_at") else None
    begin = _moment(log["created_at"])
    if by_hand and started is not None:
        # The entry is written together with the start, slightly after it.
        begin = min(begin, started)
    yield Event(begin, store, "logged" if by_hand else "dispatched", f"claim {token}")
    if started is not None:
        yield Event(started, store, "started", "")
    for attempt in log.get("attempts") or ():
        yield Event(_moment(attempt["at"]), store, "attempt", _of_attempt(attempt))
    if accepted := log.get("accepted_at"):
        details = [log.get("national_id"), *(log.get("warnings") or ())]
        yield Event(_moment(accepted), store, "accepted", _joined(details))
    status = LogStatus(log["status"])
    if not status.is_open:
        # Entries of earlier versions have only the time of their last change.
        closed = log.get("closed_at") or log["updated_at"]
        details = [status.value, log.get("error_class"), log.get("national_id"), log.get("message")]
        details += log.get("notes") or ()
        yield Event(_moment(closed), store, "closed", _joined(details))


def events_of_failure(failure: Mapping[str, Any]) -> Iterator[Event]:
    """The events of one `sync_failures` record: the failure, and the decisions about it."""
    store = "sync_failures"
    if failure.get("error_class"):
        details = [failure["error_class"], failure.get("error")]
        yield Event(_moment(failure["created_at"]), store, "failed", _joined(details))
    history: list[Mapping[str, Any]] = list((failure.get("history") or {}).values())
    if not history and failure.get("settled_at"):
        # Records of earlier versions have only the last decision.
        history = [
            {
                "state": failure["state"],
                "at": failure["settled_at"],
                "by": failure.get("settled_by"),
                "why": failure.get("settled_why"),
            }
        ]
    for decision in history:
        details = [decision.get("by"), decision.get("why")]
        yield Event(_moment(decision["at"]), store, decision["state"], _joined(details))


def events_of_run(made: Run) -> Iterator[Event]:
    """Begin and end of a run, with its name."""
    if made.start:
        yield Event(made.start, "Prefect", "run_started", made.name, made.url)
    elif made.created and not made.end:
        details = _joined([made.name, made.state])
        yield Event(made.created, "Prefect", "run_waits", details, made.url)
    if made.end:
        details = _joined([made.name, made.state, made.message])
        yield Event(made.end, "Prefect", "run_ended", details, made.url)


def _moment(value: datetime | str) -> datetime:
    """A stored time; the local replacement for MongoDB returns some times as text."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _of_attempt(attempt: Mapping[str, Any]) -> str:
    status = attempt.get("http_status")
    return _joined(
        [
            attempt["action"],
            f"HTTP {status}" if status else None,
            attempt.get("error_class"),
            f"{attempt['duration_ms']:.0f} ms",
        ]
    )


def _joined(parts: Iterable[object]) -> str:
    return ", ".join(str(part) for part in parts if part)
