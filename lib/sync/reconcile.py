"""Makes source database and logs consistent again. Lists first, then repairs one by one.

Every step is idempotent and may run during live batches: it changes only what is overdue.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from lib.errors import Rejected
from lib.models import Document, DocumentRef, LogStatus, StoredDocument, SyncStatus
from lib.pipelines import PIPELINES, Pipeline, get_pipeline
from lib.record import Record, payload_digest
from lib.services import Services
from lib.sync import outcomes
from lib.sync.planning import SET_ASIDE_AT
from lib.tracking.failures import FailureLog, FailureState
from lib.tracking.task_logs import TaskLogReader
from lib.tracking.writer import LogEntry
from lib.words.language import translate

_FINAL: dict[str, LogStatus] = {
    SyncStatus.SUCCESS: LogStatus.SUCCESS,
    SyncStatus.FAILED: LogStatus.FAILED,
}
_EXAMPLES = 5
_SET_ASIDE_AT_ONCE = 100
_ANY_NUMBER = 1_000_000
#: Latest acceptances in the log that are compared with the source database.
_DRIFT_SAMPLE = 500
#: Rows written after their acceptance: how far back they are compared, and how many at most.
_CHANGED_WITHIN = timedelta(days=7)
_CHANGED_SAMPLE = 500
_READ_AT_ONCE = 200


@dataclass(slots=True)
class Repairs:
    """What was found and repaired, by kind, with the first few documents of each."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, kind: str, what: Iterable[str]) -> None:
        """Counts `what` under `kind`; a kind without items is still reported, with 0."""
        items = list(what)
        self.counts[kind] = self.counts.get(kind, 0) + len(items)
        room = _EXAMPLES - len(self.examples[kind])
        self.examples[kind].extend(items[: max(room, 0)])

    def add(self, other: Repairs) -> None:
        """Adds what another step found."""
        for kind, number in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + number
            self.examples[kind] = (self.examples[kind] + other.examples[kind])[:_EXAMPLES]

    def rows(self) -> list[dict[str, str | int]]:
        """One row per kind, for a table."""
        return [
            {"what": kind, "found": number, "for example": ", ".join(self.examples[kind])}
            for kind, number in self.counts.items()
        ]


async def save_accepted(services: Services, repairs: Repairs) -> None:
    """Write missing acceptances of documents to the source database.

    Never sends anything: the national id is in the log.

    Raises:
        StoreUnavailable.
    """
    sync = services.settings.sync
    grace = timedelta(seconds=sync.accepted_grace)
    saved = []
    for entry in await services.tracking.entries(LogStatus.ACCEPTED, older_than=grace):
        message = entry.message or translate(sync.language, "accepted")
        if await asyncio.to_thread(
            services.source.corrections.record_acceptance,
            entry.ref,
            entry.national_id,
            message,
            payload_digest=entry.payload_digest,
        ):
            saved.append(_label(entry.ref))
        await services.tracking.close_all(
            [entry.ref], entry.claim_token, LogStatus.SUCCESS, message
        )
    repairs.note("accepted but not saved: saved now", saved)


async def set_aside_crashing(services: Services, repairs: Repairs) -> None:
    """Mark documents as failed that crashed every process that held only them.

    Header and lines are not read: reading them may be what crashes a process.

    Raises:
        StoreUnavailable.
    """
    for pipeline in PIPELINES.values():
        claim = await asyncio.to_thread(
            services.source.claims.claim,
            pipeline,
            token=str(uuid4()),
            limit=_SET_ASIDE_AT_ONCE,
            lease=services.settings.sync.lease,
            crashes=(SET_ASIDE_AT, _ANY_NUMBER),
        )
        for ref in claim.documents:
            document = Document(ref, claim.token, True, 1, {}, ())
            await services.outcomes.write(
                Record(document), outcomes.set_aside(document, services.settings.sync.language)
            )
        if claim.documents:
            repairs.note(
                "documents that crash their process: marked as failed",
                map(_label, claim.documents),
            )


async def close_left_open(services: Services, repairs: Repairs) -> None:
    """Close log entries whose run is gone, with the document's status in the source database.

    Raises:
        StoreUnavailable.
    """
    sync = services.settings.sync
    grace = timedelta(seconds=sync.accepted_grace)
    text = translate(sync.language, "closed by reconcile: its run no longer exists")
    closed = []
    for status in (LogStatus.PENDING, LogStatus.RUNNING):
        entries = await services.tracking.entries(status, older_than=grace)
        documents = await _documents(services, (entry.ref for entry in entries))
        for entry in entries:
            document = documents.get((entry.ref.pipeline, entry.ref.record_id))
            if document is not None and _still_held(entry, document):
                continue
            found = document.status if document is not None else SyncStatus.PENDING
            end = _FINAL.get(found, LogStatus.RELEASED)
            await services.tracking.close_all([entry.ref], entry.claim_token, end, text)
            closed.append(_label(entry.ref))
    repairs.note("log entries left open: closed now", closed)


async def resolve_failures(services: Services, repairs: Repairs) -> None:
    """Mark failure records as resolved if their document has been accepted since.

    Raises:
        StoreUnavailable.
    """
    why = translate(services.settings.sync.language, "accepted since")
    repairs.note("failure records of accepted documents: resolved", ())
    async for refs in FailureLog(services.tracking.database).unsettled_documents():
        documents = await _documents(services, refs)
        accepted = {
            ref
            for ref in refs
            if (document := documents.get((ref.pipeline, ref.record_id))) is not None
            and document.status == SyncStatus.SUCCESS
        }
        await services.tracking.record_decision(
            accepted, state=FailureState.RESOLVED, by="reconcile", why=why
        )
        repairs.note("failure records of accepted documents: resolved", map(_label, accepted))


async def find_changed(services: Services, repairs: Repairs) -> None:
    """Report accepted documents whose row has other content now.

    Checks rows of the last days that were written after the acceptance, or while they were sent.

    Raises:
        StoreUnavailable.
    """
    changed: list[DocumentRef] = []
    logs = TaskLogReader(services.tracking.database)
    noted = await logs.rows_changed(_CHANGED_WITHIN, limit=_CHANGED_SAMPLE)
    for pipeline in PIPELINES.values():
        touched = await asyncio.to_thread(
            services.source.documents.touched_since_accepted,
            pipeline,
            _CHANGED_WITHIN,
            _CHANGED_SAMPLE,
        )
        ids = {ref.record_id for ref in noted if ref.pipeline == pipeline.name}.union(touched)
        changed += await changed_since_accepted(services, pipeline, ids)
    if changed:
        repairs.note("accepted, and changed since: look at them", map(_label, changed))


async def check_drift(services: Services, repairs: Repairs) -> None:
    """Report what cannot be repaired without a person.

    These are documents that are SYNC_SUCCESS without a national id, and documents that are accepted
    in the log but not in the source database, as after a restore from a backup.

    Raises:
        StoreUnavailable.
    """
    for pipeline in PIPELINES.values():
        refs = await asyncio.to_thread(
            services.source.documents.successes_without_national_id, pipeline, 100
        )
        if refs:
            repairs.note("accepted without a national id: look at them", map(_label, refs))
    entries = await services.tracking.latest(LogStatus.SUCCESS, limit=_DRIFT_SAMPLE)
    documents = await _documents(services, (entry.ref for entry in entries))
    doubtful = {
        _label(entry.ref)
        for entry in entries
        if (document := documents.get((entry.ref.pipeline, entry.ref.record_id))) is None
        or (document.status != SyncStatus.SUCCESS and document.claim_token is None)
    }
    if doubtful:
        repairs.note("logged as accepted, but not so in the source: look at them", doubtful)


async def _documents(
    services: Services, refs: Iterable[DocumentRef]
) -> dict[tuple[str, int], StoredDocument]:
    by_pipeline: dict[str, set[int]] = defaultdict(set)
    for ref in refs:
        by_pipeline[ref.pipeline].add(ref.record_id)
    found: dict[tuple[str, int], StoredDocument] = {}
    for name, ids in by_pipeline.items():
        rows = await asyncio.to_thread(
            services.source.documents.get, get_pipeline(name), sorted(ids)
        )
        found.update({(name, row.ref.record_id): row for row in rows})
    return found


def _still_held(entry: LogEntry, document: StoredDocument) -> bool:
    return document.claim_token == entry.claim_token and document.lease_live


def _label(ref: DocumentRef) -> str:
    return f"{ref.pipeline} {ref.local_id}"


async def changed_since_accepted(
    services: Services, pipeline: Pipeline, record_ids: Collection[int]
) -> list[DocumentRef]:
    """Accepted documents with other content now; those without a valid payload are left out.

    Raises:
        StoreUnavailable.
    """
    found, ids = [], sorted(record_ids)
    for start in range(0, len(ids), _READ_AT_ONCE):
        some = ids[start : start + _READ_AT_ONCE]
        for document in await asyncio.to_thread(services.source.documents.read, pipeline, some):
            try:
                digest = payload_digest(services.platform.build(document))
            except Rejected:
                continue
            if document.delivery.payload_digest not in (None, digest):
                found.append(document.ref)
    return found
