"""Make failed documents pending again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from lib.errors import StoreUnavailable
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.operations.decision import Decision, Effect, chunks
from lib.operations.operator import Operator
from lib.pipelines import get_pipeline
from lib.tracking.audit import Action, AuditEntry
from lib.tracking.failures import FailureState


class NotRecorded(StoreUnavailable):
    """Documents were changed, but MongoDB became unavailable before who and why were saved."""

    def __init__(self, store: str, state: str, documents: int) -> None:
        self.state = state
        self.documents = documents
        super().__init__(
            store,
            f"became unavailable; {documents} documents are {state}, but who did it "
            "and why was not recorded",
        )


async def read_documents(
    operator: Operator,
    refs: Collection[DocumentRef],
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> list[StoredDocument]:
    """The rows of these documents, by pipeline and record id; missing ones are left out."""
    by_pipeline: dict[str, list[int]] = defaultdict(list)
    for ref in refs:
        by_pipeline[ref.pipeline].append(ref.record_id)
    found: list[StoredDocument] = []
    for name in sorted(by_pipeline):
        for ids in chunks(sorted(by_pipeline[name])):
            found += await asyncio.to_thread(operator.source.documents.get, get_pipeline(name), ids)
            seen(len(ids))
    return found


async def requeue(
    operator: Operator,
    decisions: Sequence[Decision],
    *,
    by: str,
    why: str,
    seen: Callable[[int], None] = lambda _: None,
) -> None:
    """Carry out the decisions that are possible, and set the effect of each.

    Idempotent: a document that is already pending is not changed.

    Raises:
        StoreUnavailable: who and why could not be saved, so nothing is changed.
        NotRecorded: MongoDB became unavailable after documents were changed.
    """
    await operator.tracking.ping()
    by_pipeline: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.effect is Effect.POSSIBLE:
            by_pipeline[decision.ref.pipeline].append(decision)
    for name, of_pipeline in by_pipeline.items():
        for chunk in chunks(of_pipeline):
            await _requeue_chunk(operator, name, chunk, by, why)
            seen(len(chunk))


async def _requeue_chunk(
    operator: Operator, name: str, chunk: Sequence[Decision], by: str, why: str
) -> None:
    pipeline = get_pipeline(name)
    ids = [decision.ref.record_id for decision in chunk]
    await asyncio.to_thread(operator.source.corrections.requeue, pipeline, ids)
    now = {
        document.ref.record_id: document
        for document in await asyncio.to_thread(operator.source.documents.get, pipeline, ids)
    }
    for decision in chunk:
        document = now.get(decision.ref.record_id)
        done = document is not None and document.status != SyncStatus.FAILED
        decision.effect = Effect.DONE if done else Effect.CHANGED
    refs = [decision.ref for decision in chunk if decision.effect is Effect.DONE]
    if refs:
        await record(operator, refs, Action.REQUEUED, by=by, why=why)


async def record(
    operator: Operator,
    refs: Sequence[DocumentRef],
    action: Action,
    *,
    by: str,
    why: str,
    detail: str = "",
) -> None:
    """Save a decision in the failure records and in the audit log.

    Raises:
        NotRecorded.
    """
    entry = AuditEntry(
        action,
        by,
        why,
        pipeline=refs[0].pipeline,
        shops=sorted({ref.shop_pharmacy_code for ref in refs}),
        documents=[ref.local_id for ref in refs],
        detail=detail,
    )
    try:
        await operator.tracking.record_decision(
            refs, state=FailureState(action.value), by=by, why=why
        )
        await operator.audit.note(entry)
    except StoreUnavailable as error:
        raise NotRecorded(error.store, action.value, len(refs)) from error
