"""The collections of the log and their indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import OperationFailure

from lib.settings import MongoSettings
from lib.tracking.mongo import Database, mongo_errors

TASK_LOGS = "task_logs"
SYNC_FAILURES = "sync_failures"
AUDIT = "audit"

_DAY = 86_400


def indexes_of(settings: MongoSettings) -> dict[str, list[IndexModel]]:
    """The indexes of each collection; one of them deletes entries after their retention time."""
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


async def ensure_indexes(database: Database, settings: MongoSettings) -> None:
    """Create missing indexes, and apply the retention time of the settings. Idempotent.

    Raises:
        StoreUnavailable.
    """
    for name, indexes in indexes_of(settings).items():
        with mongo_errors():
            existing = await database[name].index_information()
            for index in indexes:
                await _change_expiry(database, name, index.document, existing)
            await database[name].create_indexes(indexes)


async def _change_expiry(
    database: Database, collection: str, wanted: Mapping[str, Any], existing: Mapping[str, Any]
) -> None:
    """Change an expiry in place: MongoDB refuses an index that differs only in its expiry."""
    seconds, keys = wanted.get("expireAfterSeconds"), dict(wanted["key"])
    for name, index in existing.items():
        if seconds is None or dict(index["key"]) != keys:
            continue
        if index.get("expireAfterSeconds") == seconds:
            continue
        change = {"name": name, "expireAfterSeconds": seconds}
        try:
            await database.command("collMod", collection, index=change)
        except OperationFailure:
            # Not every server with MongoDB's protocol has this command.
            await database[collection].drop_index(name)


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
