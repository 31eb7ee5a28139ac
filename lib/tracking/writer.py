"""MongoDB: `task_logs`, one entry per dispatch; `sync_failures`, one entry per final failure.

Every write is an upsert on an `_id` made of claim token and record id, so it is idempotent, and
writes may arrive in any order. An outage of MongoDB stops nothing: writes wait in a bounded
buffer, a warning is logged, and `reconcile` adds what is missing from the source database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from lib.errors import StoreUnavailable
from lib.models import Acceptance, Claim, DocumentRef, LogStatus, Outcome, OutcomeKind
from lib.record import Record
from lib.sanitize import mask_personal_names
from lib.settings import MongoSettings, SyncSettings
from lib.tracking.failures import FailureState, record_decision, ref_of
from lib.tracking.log_collections import SYNC_FAILURES, TASK_LOGS, ensure_indexes
from lib.tracking.mongo import BufferedWrites, Write, mongo_errors, open_client
from lib.words.language import translate, translated

logger = logging.getLogger("dqg.tracking")

_STATUS_AFTER = {
    OutcomeKind.ACCEPTED: LogStatus.SUCCESS,
    OutcomeKind.FAILED: LogStatus.FAILED,
    OutcomeKind.RELEASED: LogStatus.RELEASED,
}
#: The fields that identify a document in a failure record.
_DOCUMENT = ("pipeline", "local_id", "record_id")
_OPEN = {"state": FailureState.OPEN.value}
_SUPERSEDED = {"state": FailureState.SUPERSEDED.value}
_SUPERSEDE = {"$currentDate": {"updated_at": True}, "$set": _SUPERSEDED}
_NEVER = datetime.min.replace(tzinfo=UTC)
_READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A `task_logs` entry about a document."""

    ref: DocumentRef
    claim_token: str
    status: LogStatus
    national_id: str | None
    message: str | None
    payload_digest: str | None = None


class TrackingStore:
    """Writes and reads both collections. Open it with `async with`; connects on first use.

    Attributes:
        database: for other readers, while the store is open.
    """

    def __init__(
        self,
        settings: MongoSettings,
        sync: SyncSettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._language = sync.language
        self._clock = clock
        self._client = open_client(settings)
        self.database = self._client[settings.database]
        self._writes = BufferedWrites(
            self.database,
            delay=sync.write_batch_delay,
            size=sync.write_batch_size,
            buffer_size=settings.buffer_size,
            after_outage=self._end_superseded,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writes.close()
        await self._client.close()

    async def ping(self) -> None:
        """Raises StoreUnavailable when MongoDB does not answer."""
        with mongo_errors():
            await self._client.admin.command("ping")

    async def prepare(self) -> None:
        """Creates the indexes; only warns if MongoDB is unavailable. Idempotent."""
        try:
            await self.ensure_indexes()
        except StoreUnavailable as error:
            logger.warning("log indexes not checked: %s", error, extra={"action": "mongo_away"})

    async def ensure_indexes(self) -> None:
        """Creates missing indexes. Idempotent.

        Raises:
            StoreUnavailable.
        """
        await ensure_indexes(self.database, self._settings)

    # -- writes ---------------------------------------------------------------------------------

    async def dispatched(self, claim: Claim) -> bool:
        """Opens one entry per document of a claim. False: only buffered, MongoDB is unavailable."""
        futures = [
            self._writes.put_nowait(
                self._log(document, claim.token, {}, on_insert={"status": LogStatus.PENDING.value})
            )
            for document in claim.documents
        ]
        return all([await future for future in futures])

    async def run_created(self, claim: Claim, flow_run_id: str) -> None:
        """Records which run a claim was dispatched to, in one statement, without waiting."""
        update = {"$currentDate": {"updated_at": True}, "$set": {"flow_run_id": flow_run_id}}
        self._writes.put_nowait(
            Write(TASK_LOGS, {"claim_token": claim.token}, update, many=True),
        )

    def started(self, record: Record, flow_run_id: str) -> None:
        """Records that a record run has begun, without waiting: nothing depends on it."""
        values = {"flow_run_id": flow_run_id, "started_at": self._clock()}
        self._writes.put_nowait(self._record_log(record, LogStatus.RUNNING, values))

    async def accepted(self, record: Record, acceptance: Acceptance) -> bool:
        """Stores the national id before any further step. False: only buffered."""
        values = {
            "national_id": acceptance.national_id,
            "message": translated(acceptance.message, self._language),
            "payload_digest": record.digest,
            "accepted_at": self._clock(),
        }
        return await self._writes.put(self._record_log(record, LogStatus.ACCEPTED, values))

    async def finished(self, record: Record, outcome: Outcome) -> bool:
        """Closes the entry; for a failure, also writes a failure record. False: only buffered."""
        values: dict[str, Any] = {
            "national_id": outcome.national_id,
            "message": outcome.message,
            "error_class": outcome.error_class,
            "http_status": outcome.http_status,
            "closed_at": self._clock(),
        }
        if outcome.kind is OutcomeKind.ACCEPTED:
            values["payload_digest"] = outcome.payload_digest
        if record.notes:
            notes = [translated(note, self._language) for note in record.notes]
            values |= {"notes": notes, "row_changed_at": self._clock()}
        closing = self._record_log(record, _STATUS_AFTER[outcome.kind], values)
        if outcome.kind is OutcomeKind.FAILED:
            failure = self._failure(record, outcome)
            # Cut before it joins a batch: a write that is too large would fail the whole batch.
            if failure.cut():
                self._writes.put_nowait(failure)
                self._writes.put_nowait(self._superseded(record))
        return await self._writes.put(closing)

    def lost(self, record: Record) -> None:
        """Closes the entry of a holder that lost its claim, without waiting.

        An entry with an acceptance stays open: the acceptance must still be saved from it.
        """
        text = translate(
            self._language, "another process now has the document and continues with it"
        )
        values = {
            "status": LogStatus.RELEASED.value,
            "message": text,
            "closed_at": self._clock(),
        }
        under_way = {"$in": [LogStatus.PENDING.value, LogStatus.RUNNING.value]}
        key = {"_id": _entry_id(record.ref, record.document.claim_token), "status": under_way}
        update = {"$currentDate": {"updated_at": True}, "$set": values}
        self._writes.put_nowait(Write(TASK_LOGS, key, update))

    async def close_all(
        self, refs: Iterable[DocumentRef], token: str, status: LogStatus, message: str
    ) -> None:
        """Closes entries of one claim that its run left open. Idempotent."""
        values = {"status": status.value, "message": message, "closed_at": self._clock()}
        for future in [self._writes.put_nowait(self._log(ref, token, values)) for ref in refs]:
            await future

    async def record_decision(
        self, refs: Iterable[DocumentRef], *, state: FailureState, by: str, why: str
    ) -> int:
        """Moves open and requeued failure records to another state; returns how many.

        The person and the reason are stored with each; see `lib.tracking.failures`.

        Args:
            state: REQUEUED or RESOLVED.
            by: who did it.

        Raises:
            StoreUnavailable.
        """
        with mongo_errors():
            return await record_decision(
                self.database[SYNC_FAILURES],
                refs,
                state=state,
                by=by,
                why=why,
                at=self._clock(),
            )

    # -- reads: of claims, and of what was accepted ---------------------------------------------

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
        """Entries of a claim that a run has already begun to process.

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
            # Indexed; and after a restore, record ids may be assigned a second time.
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

    # -- how a write is made and performed -------------------------------------------------------

    def _record_log(self, record: Record, status: LogStatus, values: dict[str, Any]) -> Write:
        attempts = [asdict(attempt) for attempt in record.attempts]
        values = {
            "status": status.value,
            "attempts": attempts,
            "record_run_id": record.run_id,
        } | values
        if record.warnings:
            values["warnings"] = list(record.warnings)
        return self._log(record.ref, record.document.claim_token, values)

    def _log(
        self,
        ref: DocumentRef,
        token: str,
        values: dict[str, Any],
        *,
        on_insert: dict[str, Any] | None = None,
    ) -> Write:
        return self._upsert(TASK_LOGS, ref, token, values, on_insert or {})

    def _failure(self, record: Record, outcome: Outcome) -> Write:
        body = dict(record.payload.body) if record.payload else None
        if body is not None and self._settings.mask_personal_names:
            body = mask_personal_names(body)
        values = {
            "record_run_id": record.run_id,
            "attempts": [asdict(attempt) for attempt in record.attempts],
            "payload": body,
            # Stored here: a group of failures keeps its name when the source is corrected.
            "drug_codes": [line.get("drug_code") for line in record.document.lines],
            "answer": outcome.answer,
            "http_status": outcome.http_status,
            "error_class": outcome.error_class,
            "error": outcome.message,
            "field_errors": [asdict(item) for item in outcome.field_errors],
        }
        ref = record.ref
        return self._upsert(SYNC_FAILURES, ref, record.document.claim_token, values, _OPEN)

    def _superseded(self, record: Record) -> Write:
        """Supersedes earlier open failures, so that only one per document waits for a decision."""
        ref = record.ref
        earlier = {
            "pipeline": ref.pipeline,
            "local_id": ref.local_id,  # indexed
            "record_id": ref.record_id,
            **_OPEN,
            "claim_token": {"$ne": record.document.claim_token},
            # A late write does not supersede a failure that is newer.
            "created_at": {"$lt": self._clock()},
        }
        return Write(SYNC_FAILURES, earlier, _SUPERSEDE, many=True)

    async def _end_superseded(self, late: Sequence[Write]) -> None:
        """Supersedes late-written failures whose document already has a newer failure."""
        made = [
            write.update["$setOnInsert"] | write.key
            for write in late
            if write.collection == SYNC_FAILURES and write.upsert
        ]
        failures = self._writes.database[SYNC_FAILURES]
        with mongo_errors():
            for start in range(0, len(made), _READ_AT_ONCE):
                some = made[start : start + _READ_AT_ONCE]
                codes = sorted({failure["local_id"] for failure in some})
                fields = dict.fromkeys((*_DOCUMENT, "created_at"), True)
                latest: dict[tuple[Any, ...], datetime] = {}
                async for row in failures.find({"local_id": {"$in": codes}}, fields):
                    document = tuple(row[name] for name in _DOCUMENT)
                    latest[document] = max(row["created_at"], latest.get(document, _NEVER))
                earlier = [
                    failure["_id"]
                    for failure in some
                    if latest.get(tuple(failure[name] for name in _DOCUMENT), _NEVER)
                    > failure["created_at"]
                ]
                await failures.update_many({"_id": {"$in": earlier}, **_OPEN}, _SUPERSEDE)

    def _upsert(
        self,
        collection: str,
        ref: DocumentRef,
        token: str,
        values: dict[str, Any],
        on_insert: dict[str, Any],
    ) -> Write:
        identity = {"claim_token": token} | asdict(ref)
        update: dict[str, Any] = {
            # The server's clock, like every time that is compared later.
            "$currentDate": {"updated_at": True},
            "$setOnInsert": identity | {"created_at": self._clock()} | on_insert,
        }
        if values:
            update["$set"] = values
        # By `_id`, which is unique and indexed even before the first `ensure_indexes`.
        key = {"_id": _entry_id(ref, token)}
        return Write(collection, key, update, upsert=True)


def _entry_id(ref: DocumentRef, token: str) -> str:
    return f"{token}/{ref.record_id}"


def _entry(row: Mapping[str, Any]) -> LogEntry:
    return LogEntry(
        ref=ref_of(row),
        claim_token=row["claim_token"],
        status=LogStatus(row["status"]),
        national_id=row.get("national_id"),
        message=row.get("message"),
        payload_digest=row.get("payload_digest"),
    )
