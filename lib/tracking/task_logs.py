"""Queries of `task_logs` for people and for `reconcile`: the results of documents and calls.

Read-only. Every query raises `StoreUnavailable` while MongoDB is unavailable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.models import DocumentRef, LogStatus
from lib.tracking.failures import IDENTITY, ref_of
from lib.tracking.log_collections import TASK_LOGS
from lib.tracking.mongo import Database, mongo_errors

_ACCEPTED = {LogStatus.ACCEPTED.value, LogStatus.SUCCESS.value}
#: Local ids per query.
_CHUNK = 1000
#: An entry is created when its document is dispatched; calls are added until the claim ends.
_LONGEST_CLAIM = timedelta(hours=6)
#: Upper bounds, in milliseconds, of the latency classes of calls; each is a quarter above the
#: previous one.
LATENCY_BOUNDS = tuple(round(10 * 1.25**n) for n in range(42))
_HOUR = "%Y-%m-%dT%H"


@dataclass(frozen=True, slots=True)
class LoggedDocument:
    """What the logs contain about one document, over all its dispatches.

    Attributes:
        sent: at least one POST of it was made.
        accepted: at least one of its dispatches was accepted.
        national_ids: the national ids of the accepted dispatches.
        row_changed: its row was changed while it was sent.
    """

    sent: bool = False
    accepted: bool = False
    national_ids: frozenset[str] = frozenset()
    row_changed: bool = False


@dataclass(frozen=True, slots=True)
class CallCount:
    """Calls to the API within one hour with the same result and similar duration.

    Attributes:
        error_class: empty if the document was accepted or found.
        latency: index into `LATENCY_BOUNDS`; its length for calls above the last bound.
    """

    hour: datetime
    error_class: str
    latency: int
    calls: int


class TaskLogReader:
    """Reads `task_logs`."""

    def __init__(self, database: Database) -> None:
        self._logs = database[TASK_LOGS]

    async def of_documents(
        self, pipeline: str, local_ids: Iterable[str]
    ) -> dict[int, LoggedDocument]:
        """What is logged about documents with these local ids, by record id."""
        wanted = sorted(set(local_ids))
        rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
        fields = {"record_id": 1, "status": 1, "national_id": 1, "attempts": 1, "row_changed_at": 1}
        for start in range(0, len(wanted), _CHUNK):
            query = {"pipeline": pipeline, "local_id": {"$in": wanted[start : start + _CHUNK]}}
            with mongo_errors():
                for row in await self._logs.find(query, fields).to_list():
                    rows[row["record_id"]].append(row)
        return {record_id: _together(found) for record_id, found in rows.items()}

    async def last_accepted(self, pipeline: str) -> datetime | None:
        """When the API last accepted a document of the pipeline; None if there is none."""
        query = {"pipeline": pipeline, "status": {"$in": sorted(_ACCEPTED)}}
        with mongo_errors():
            cursor = self._logs.find(query, {"updated_at": 1}).sort("updated_at", -1).limit(1)
            rows = await cursor.to_list()
        return rows[0]["updated_at"] if rows else None

    async def calls_by_hour(self, since: datetime) -> list[CallCount]:
        """Calls to the API since a moment, counted in MongoDB by hour, result and latency."""
        with mongo_errors():
            cursor = await self._logs.aggregate(calls_pipeline(since))
            return [_to_count(row["_id"], row["calls"]) for row in await cursor.to_list()]

    async def last_activity(self, token: str) -> datetime | None:
        """When anything was last logged under a claim; None if nothing is known."""
        with mongo_errors():
            rows = await self._logs.find({"claim_token": token}, {"updated_at": True}).to_list()
        return max((row["updated_at"] for row in rows), default=None)

    async def logs_of(self, pipeline: str, local_id: str) -> list[dict[str, Any]]:
        """Everything logged about one document, oldest first."""
        with mongo_errors():
            query = {"pipeline": pipeline, "local_id": local_id}
            found = await self._logs.find(query).to_list()
        return sorted(found, key=lambda row: row["created_at"])

    async def batch_runs(self, keys: Sequence[str]) -> dict[str, str]:
        """The batch run of each entry, by the entry's `_id`; without entries that have none."""
        query = {"_id": {"$in": list(keys)}, "flow_run_id": {"$ne": None}}
        with mongo_errors():
            rows = await self._logs.find(query, {"flow_run_id": True}).to_list()
        return {row["_id"]: row["flow_run_id"] for row in rows if row.get("flow_run_id")}

    async def rows_changed(self, within: timedelta, *, limit: int) -> set[DocumentRef]:
        """The latest documents whose row was changed while they were sent."""
        query = {"row_changed_at": {"$gte": datetime.now(UTC) - within}}
        with mongo_errors():
            cursor = self._logs.find(query, dict.fromkeys(IDENTITY, True))
            rows = await cursor.sort("row_changed_at", -1).limit(limit).to_list()
        return {ref_of(row) for row in rows}


def calls_pipeline(since: datetime) -> list[dict[str, Any]]:
    """The aggregation behind `calls_by_hour`; it uses only features of MongoDB 4.4.

    The group key is one text, built in an earlier stage: for the local stack's server, every other
    kind of key is slower.
    """
    at, took = "$attempts.at", "$attempts.duration_ms"
    latency = {
        "$switch": {
            "branches": [
                {"case": {"$lt": [took, bound]}, "then": str(index)}
                for index, bound in enumerate(LATENCY_BOUNDS)
            ],
            "default": str(len(LATENCY_BOUNDS)),
        }
    }
    parts = [
        {"$dateToString": {"date": at, "format": _HOUR}},
        {"$ifNull": ["$attempts.error_class", ""]},
        latency,
    ]
    key = {"$concat": [parts[0], "/", parts[1], "/", parts[2]]}
    return [
        {"$match": {"created_at": {"$gte": since - _LONGEST_CLAIM}}},
        {"$unwind": "$attempts"},
        {"$match": {"attempts.at": {"$gte": since}}},
        {"$project": {"key": key}},
        {"$group": {"_id": "$key", "calls": {"$sum": 1}}},
    ]


def _to_count(key: str, calls: int) -> CallCount:
    hour, error_class, latency = key.split("/")
    moment = datetime.strptime(hour, _HOUR).replace(tzinfo=UTC)
    return CallCount(moment, error_class, int(latency), calls)


def _together(rows: Sequence[dict[str, Any]]) -> LoggedDocument:
    accepted = [row for row in rows if row["status"] in _ACCEPTED]
    return LoggedDocument(
        sent=any(call["action"] == "submit" for row in rows for call in row.get("attempts") or ()),
        accepted=bool(accepted),
        row_changed=any(row.get("row_changed_at") for row in rows),
        national_ids=frozenset(row["national_id"] for row in accepted if row.get("national_id")),
    )
