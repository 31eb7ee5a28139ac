"""The audit log: who did what, when, to which documents, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lib.errors import StoreUnavailable
from lib.tracking.log_collections import AUDIT
from lib.tracking.mongo import Database, mongo_errors

logger = logging.getLogger("dqg.tracking")


class Action(StrEnum):
    """The actions of a person that are recorded."""

    REQUEUED = "requeued"
    SENT = "sent"  # one document, immediately
    RESOLVED = "resolved"
    PAUSED = "paused"
    RESUMED = "resumed"
    REVEALED = "revealed"  # looked at the names of persons in one document
    CLOSED_DAY = "closed_day"
    CONFIRMED = "confirmed"  # a database as the one to send from
    ERASED = "erased"  # a person's name in failure records
    LOGGED_IN = "logged_in"
    LOGIN_REFUSED = "login_refused"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of a person.

    Attributes:
        at: None until it is written.
        pipeline: empty if the action is about none, or several.
        documents: local ids; one entry covers all documents of one decision.
        detail: further information, for example the national id.
    """

    action: Action
    by: str
    why: str = ""
    pipeline: str = ""
    shops: Sequence[str] = ()
    documents: Sequence[str] = ()
    detail: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries; None leaves a condition out."""

    action: Action | None = None
    by: str | None = None
    document: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> dict[str, Any]:
        """The filter as a MongoDB query."""
        query: dict[str, Any] = {}
        if self.action is not None:
            query["action"] = self.action.value
        if self.by is not None:
            query["by"] = self.by
        if self.document is not None:
            # Not an equality: with it, the local stack's server finds nothing through its index.
            query["documents"] = {"$in": [self.document]}
        bounds = {"$gte": self.since, "$lt": self.until}
        if bounds := {name: moment for name, moment in bounds.items() if moment is not None}:
            query["created_at"] = bounds
        return query


class AuditLog:
    """Appends to `audit` and reads it; raises StoreUnavailable if MongoDB is unavailable."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._entries = database[AUDIT]
        self._clock = clock

    async def note(self, entry: AuditEntry) -> None:
        """Append an entry. Not idempotent."""
        row = asdict(entry) | {"created_at": self._clock(), "action": entry.action.value}
        row |= {"shops": list(entry.shops), "documents": list(entry.documents)}
        del row["at"]
        with mongo_errors():
            await self._entries.insert_one(row)

    async def try_note(self, entry: AuditEntry) -> None:
        """As `note`, for actions allowed without MongoDB: if it is unavailable, logs a warning.

        Raises nothing.
        """
        try:
            await self.note(entry)
        except StoreUnavailable as error:
            logger.warning("not in the audit log: %s by %s: %s", entry.action, entry.by, error)

    async def find(self, wanted: AuditFilter, *, limit: int = 200) -> list[AuditEntry]:
        """Entries, newest first."""
        with mongo_errors():
            cursor = self._entries.find(wanted.query()).sort("created_at", -1).limit(limit)
            rows = await cursor.to_list()
        return [
            AuditEntry(
                action=Action(row["action"]),
                by=row["by"],
                why=row["why"],
                pipeline=row["pipeline"],
                shops=tuple(row["shops"]),
                documents=tuple(row["documents"]),
                detail=row["detail"],
                at=row["created_at"],
            )
            for row in rows
        ]
