"""Every metric: its name, its labels and what it means. No label takes a value from a document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the values of several processes are combined."""

    COUNTER = "counter"  # their sum
    HISTOGRAM = "histogram"  # the sum of each bucket
    GAUGE = "gauge"  # the last one that was set


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        buckets: for a histogram, upper bounds without infinity.
        lasting: for a gauge, exported at any age; other gauges are left out when they are stale.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One value of one metric.

    Attributes:
        part: for a histogram, `sum` or a bucket's upper bound; else empty.
    """

    kind: str
    name: str
    labels: tuple[str, ...] = ()
    part: str = ""

    def as_text(self) -> str:
        return json.dumps([self.kind, self.name, self.labels, self.part])

    @classmethod
    def from_text(cls, text: str) -> Key:
        kind, name, labels, part = json.loads(text)
        return cls(kind, name, tuple(labels), part)


_LATENCY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

DOCUMENTS = Family(
    "dqg_documents_total",
    Kind.COUNTER,
    "Outcomes saved in the source database; `reason` is the error's class, `none` for accepted",
    ("pipeline", "outcome", "reason"),
)
API_CALLS = Family(
    "dqg_api_calls_total",
    Kind.COUNTER,
    "Calls of the national API by class of the HTTP status (`none` without an answer) and by "
    "result (`ok` or the error's class)",
    ("pipeline", "action", "status", "result"),
)
API_SECONDS = Family(
    "dqg_api_call_seconds",
    Kind.HISTOGRAM,
    "Duration of a call of the national API in seconds",
    ("pipeline", "action"),
    _LATENCY,
)
RETRIES = Family("dqg_retries_total", Kind.COUNTER, "Calls repeated within a run", ("pipeline",))
CLAIMS_LOST = Family(
    "dqg_claims_lost_total",
    Kind.COUNTER,
    "Documents not sent, or outcomes not written, because the claim was lost to another holder",
    ("pipeline",),
)
WARNINGS = Family(
    "dqg_warnings_total",
    Kind.COUNTER,
    "Accepted documents with doubtful values, such as a rounded quantity or a date in the future",
    ("pipeline",),
)
SAVED_SIZE = Family(
    "dqg_write_batch_size",
    Kind.HISTOGRAM,
    "Number of outcomes per write to the source database",
    (),
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
SAVE_SECONDS = Family(
    "dqg_save_seconds",
    Kind.HISTOGRAM,
    "Duration of a write of outcomes to the source database in seconds",
    (),
    (0.005, 0.01, *_LATENCY),
)
SAVE_FAILURES = Family(
    "dqg_save_failures_total",
    Kind.COUNTER,
    "Failed writes of outcomes to the source database, including retries",
)
BREAKER_CHANGES = Family(
    "dqg_breaker_changes_total",
    Kind.COUNTER,
    "Changes of the breakers of pipelines and accounts to a state",
    ("kind", "state"),
)
BREAKER_STATE = Family(
    "dqg_breaker_state",
    Kind.GAUGE,
    "Breaker of the pipeline: 0 closed, 1 half open, 2 open, 3 forced open",
    ("pipeline",),
)
PAUSED_SHOPS = Family(
    "dqg_paused_shops",
    Kind.GAUGE,
    "Shops with pending documents whose account is paused",
    ("pipeline",),
)
QUEUE = Family(
    "dqg_queue_documents",
    Kind.GAUGE,
    "PENDING_SYNC documents by state: `ready`, `waiting` for their next attempt, `in_flight`; "
    "`unconfirmed` are among them",
    ("pipeline", "state"),
)
QUEUE_BATCHES = Family("dqg_queue_batches", Kind.GAUGE, "Active claims", ("pipeline",))
QUEUE_OLDEST = Family(
    "dqg_queue_oldest_seconds",
    Kind.GAUGE,
    "Age of the oldest PENDING_SYNC document in seconds, 0 if there is none",
    ("pipeline",),
)
QUEUE_READ = Family(
    "dqg_queue_read_timestamp_seconds",
    Kind.GAUGE,
    "Time when `orchestrate` last counted documents on this machine, seconds since 1970",
    lasting=True,
)

FAMILIES = {
    family.name: family
    for family in (
        *(DOCUMENTS, API_CALLS, API_SECONDS, RETRIES, CLAIMS_LOST, WARNINGS),
        *(SAVED_SIZE, SAVE_SECONDS, SAVE_FAILURES),
        *(BREAKER_CHANGES, BREAKER_STATE, PAUSED_SHOPS),
        *(QUEUE, QUEUE_BATCHES, QUEUE_OLDEST, QUEUE_READ),
    )
}
