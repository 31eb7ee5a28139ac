"""The collections of the log, and what they are indexed by."""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

from lib.settings import MongoSettings

TASK_LOGS = "task_logs"
SYNC_FAILURES = "sync_failures"
AUDIT = "audit"

_DAY = 86_400


def indexes_of(settings: MongoSettings) -> dict[str, list[IndexModel]]:
    """The indexes of each collection; one of them ends an entry's life."""
    return {
        TASK_LOGS: [
            *_common(settings.task_log_days),
            IndexModel([("status", ASCENDING), ("updated_at", ASCENDING)], name="status"),
            IndexModel([("row_changed_at", ASCENDING)], name="row_changed", sparse=True),
        ],
        SYNC_FAILURES: [
            *_common(settings.failure_days),
            IndexModel([("state", ASCENDING), ("created_at", ASCENDING)], name="state"),
        ],
        # Kept as long as the failures that people decide about.
        AUDIT: [
            _expiry(settings.failure_days),
            IndexModel([("documents", ASCENDING)], name="document"),
        ],
    }


def _common(days: int) -> list[IndexModel]:
    return [
        IndexModel(
            [("claim_token", ASCENDING), ("record_id", ASCENDING)],
            name="claim_and_record",
            unique=True,
        ),
        IndexModel([("pipeline", ASCENDING), ("local_id", ASCENDING)], name="document"),
        _expiry(days),
    ]


def _expiry(days: int) -> IndexModel:
    return IndexModel([("created_at", ASCENDING)], name="expiry", expireAfterSeconds=days * _DAY)
