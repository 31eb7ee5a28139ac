"""What a running system reads of the log: entries of claims, earlier acceptances, open failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lib.models import DocumentRef, LogStatus
from lib.tracking.failures import ref_of
from lib.tracking.log_collections import SYNC_FAILURES, TASK_LOGS
from lib.tracking.mongo import Database, mongo_errors

#: Members of a `DocumentRef`.
_IDENTITY = ("pipeline", "record_id", "local_id", "pharmacy_code", "shop_pharmacy_code")
#: Failure records read at once.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A `task_logs` entry as reconcile needs it."""

    ref: DocumentRef
    claim_token: str
    status: LogStatus
    national_id: str | None
    message: str | None
    payload_digest: str | None = None


class LogReader:
    """Reads both collections. Every read raises `StoreUnavailable` while MongoDB is away."""

    database: Database
    _clock: Callable[[], datetime]

    async def entries(
        self, status: LogStatus, *, older_than: timedelta, limit: int = 1000
    ) -> list[LogEntry]:
        """Entries that have had this status for some time.

        Raises:
            StoreUnavailable.
        """
        query = {"status": status.value, "updated_at": {"$lt": self._clock() - older_than}}
        with mongo_errors():
            found = await self.database[TASK_LOGS].find(query).limit(limit).to_list()
        return [_entry(row) for row in found]

    async def begun(self, token: str) -> list[LogEntry]:
        """Entries of a claim on which a run has worked before.

        Raises:
            StoreUnavailable.
        """
        query = {"claim_token": token, "status": {"$ne": LogStatus.PENDING.value}}
        with mongo_errors():
            found = await self.database[TASK_LOGS].find(query).to_list()
        return [_entry(row) for row in found]

    async def acceptances(self, pipeline: str, refs: Iterable[DocumentRef]) -> list[LogEntry]:
        """The last logged acceptance of each of these documents that has one. One query.

        Raises:
            StoreUnavailable.
        """
        wanted = {(ref.record_id, ref.local_id): ref for ref in refs}
        if not wanted:
            return []
        query = {
            "pipeline": pipeline,
            # By the index; record ids may be counted afresh after a restore.
            "local_id": {"$in": sorted({ref.local_id for ref in wanted.values()})},
            "status": {"$in": [LogStatus.ACCEPTED.value, LogStatus.SUCCESS.value]},
        }
        with mongo_errors():
            rows = await self.database[TASK_LOGS].find(query).to_list()
        found = {}
        for row in sorted(rows, key=lambda row: str(row.get("updated_at"))):
            ref = wanted.get((row["record_id"], row["local_id"]))
            if ref is not None and ref.pharmacy_code == row["pharmacy_code"]:
                found[ref] = _entry(row)
        return list(found.values())

    async def latest(
        self, status: LogStatus, *, limit: int, pipeline: str | None = None
    ) -> list[LogEntry]:
        """The entries that reached this status last, newest first; of one pipeline or of all.

        Raises:
            StoreUnavailable.
        """
        wanted = {"status": status.value}
        if pipeline is not None:
            wanted["pipeline"] = pipeline
        with mongo_errors():
            found = (
                await self.database[TASK_LOGS]
                .find(wanted)
                .sort("updated_at", -1)
                .limit(limit)
                .to_list()
            )
        return [_entry(row) for row in found]

    async def last_activity(self, token: str) -> datetime | None:
        """When anything was last logged under a claim; None if nothing is known.

        Raises:
            StoreUnavailable.
        """
        with mongo_errors():
            rows = (
                await self.database[TASK_LOGS]
                .find({"claim_token": token}, {"updated_at": True})
                .to_list()
            )
        return max((row["updated_at"] for row in rows), default=None)

    async def logs_of(self, pipeline: str, local_id: str) -> list[dict[str, Any]]:
        """Everything logged about one document, oldest first.

        Raises:
            StoreUnavailable.
        """
        with mongo_errors():
            query = {"pipeline": pipeline, "local_id": local_id}
            found = await self.database[TASK_LOGS].find(query).to_list()
        return sorted(found, key=lambda row: row["created_at"])

    async def batch_runs(self, keys: Sequence[str]) -> dict[str, str]:
        """The batch run of each entry, by the entry's `_id`, as far as it is still known.

        Raises:
            StoreUnavailable.
        """
        query = {"_id": {"$in": list(keys)}, "flow_run_id": {"$ne": None}}
        with mongo_errors():
            rows = await self.database[TASK_LOGS].find(query, {"flow_run_id": True}).to_list()
        return {row["_id"]: row["flow_run_id"] for row in rows if row.get("flow_run_id")}

    async def unsettled_documents(self) -> AsyncIterator[set[DocumentRef]]:
        """The documents of all failure records that are not settled, page by page.

        Raises:
            StoreUnavailable.
        """
        query = {"state": {"$in": ["open", "requeued"]}}
        with mongo_errors():
            cursor = self.database[SYNC_FAILURES].find(query, dict.fromkeys(_IDENTITY, True))
            while page := await cursor.to_list(_PAGE):
                yield {ref_of(row) for row in page}

    async def rows_changed(self, within: timedelta, *, limit: int) -> set[DocumentRef]:
        """Documents whose row was seen to change while they were sent, the latest ones.

        Raises:
            StoreUnavailable.
        """
        query = {"row_changed_at": {"$gte": self._clock() - within}}
        with mongo_errors():
            cursor = self.database[TASK_LOGS].find(query, dict.fromkeys(_IDENTITY, True))
            rows = await cursor.sort("row_changed_at", -1).limit(limit).to_list()
        return {ref_of(row) for row in rows}


def _entry(row: Mapping[str, Any]) -> LogEntry:
    return LogEntry(
        ref=ref_of(row),
        claim_token=row["claim_token"],
        status=LogStatus(row["status"]),
        national_id=row.get("national_id"),
        message=row.get("message"),
        payload_digest=row.get("payload_digest"),
    )
