"""Mark a failed document as entered by hand at the portal."""

from __future__ import annotations

import asyncio

from lib.models import StoredDocument, SyncStatus
from lib.operations.decision import Decision, Effect
from lib.operations.decision import preview as preview_failed
from lib.operations.operator import Operator
from lib.operations.requeue import record
from lib.tracking.audit import Action
from lib.words.documents import BY_HAND
from lib.words.language import translate


def preview(document: StoredDocument, national_id: str) -> Decision:
    """What `resolve` would do; it can run again, because the failure record may still be open."""
    if document.status == SyncStatus.SUCCESS and document.national_id == national_id:
        return Decision(document, Effect.ALREADY)
    return preview_failed(document)


async def resolve(
    operator: Operator, decision: Decision, national_id: str, *, by: str, why: str
) -> None:
    """Carry out the decision if it is possible, and set its effect. Idempotent.

    Raises:
        StoreUnavailable: who and why could not be saved, so nothing is changed.
        NotRecorded: MongoDB became unavailable after the document was changed.
    """
    if decision.effect not in (Effect.POSSIBLE, Effect.ALREADY):
        return
    await operator.tracking.ping()
    message = translate(operator.settings.sync.language, BY_HAND, why=why)
    done = await asyncio.to_thread(
        operator.source.corrections.resolve_by_hand, decision.ref, national_id, message
    )
    decision.effect = Effect.DONE if done else Effect.CHANGED
    if done:
        await record(operator, [decision.ref], Action.RESOLVED, by=by, why=why, detail=national_id)
