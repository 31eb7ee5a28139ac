"""Send one document now, through its pipeline's deployment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.operations.operator import Operator
from lib.pipelines import Pipeline, get_pipeline
from lib.tracking.audit import Action, AuditEntry

#: Creates the run that sends this document, whatever its status; returns the run's id.
StartRun = Callable[[Pipeline, StoredDocument], Awaitable[str]]


def can_be_sent(document: StoredDocument) -> bool:
    """Whether a person may send it now: it is not accepted, and no run holds it."""
    return document.status != SyncStatus.SUCCESS and not document.lease_live


async def send_now(
    operator: Operator, document: StoredDocument, start: StartRun, *, by: str, why: str
) -> str:
    """Save who sends it and why, then create the run; returns its id. Not idempotent.

    A second run for the same document finds it held or accepted, and sends nothing.

    Raises:
        StoreUnavailable: who and why could not be saved, or Prefect is unavailable; nothing is
            sent.
        ConfigurationError: the pipeline is not deployed.
    """
    await operator.audit.note(sent_entry(document.ref, by, why))
    return await start(get_pipeline(document.ref.pipeline), document)


def sent_entry(ref: DocumentRef, by: str, why: str = "") -> AuditEntry:
    """The entry for the audit log."""
    return AuditEntry(
        Action.SENT,
        by,
        why,
        pipeline=ref.pipeline,
        shops=[ref.shop_pharmacy_code],
        documents=[ref.local_id],
    )
