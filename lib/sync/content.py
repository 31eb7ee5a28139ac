"""Whether what the API has of a document is what its row holds now: content counts, not codes.

What is on record decides first, then what the API shows. A document with an acceptance on record
is never posted blindly; a correction goes out as an update, or waits for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from lib.errors import ChangedAfterAcceptance, Conflict, Rejected
from lib.models import Acceptance, DocumentRef, EarlierAcceptance, Payload, comparable
from lib.pipelines import Pipeline
from lib.platforms.content import ensure_same_content, payload_digest
from lib.record import Record
from lib.services import Services

_READ_AT_ONCE = 200


def accepted_earlier(record: Record, *, may_update: bool) -> Acceptance | None:
    """The acceptance that is on record with this very content; None where a call is needed.

    Raises:
        ChangedAfterAcceptance: it was accepted with other content, and updates are not allowed.
    """
    known = record.earlier
    if known is None or record.forced or record.sent_digest is not None:
        return None
    if known.payload_digest == record.digest:
        if known.national_id is None:
            return None
        return Acceptance(known.national_id, "accepted earlier with the same content")
    if known.payload_digest is not None and not may_update:
        raise changed(record, known)
    return None


def is_confirmed(record: Record, payload: Payload, found: Acceptance, *, maybe_sent: bool) -> bool:
    """Whether a document that the API has is this content.

    Args:
        found: what a look-up or the answer to a repeated POST says of it.
        maybe_sent: an earlier call may have stored it.

    Returns:
        False where it is the same document with other content: it has changed since.

    Raises:
        Conflict: it is another document, or nothing says that it is this one.
    """
    known, sent, expected = record.earlier, record.sent_digest, record.document.national_id
    on_record = known.payload_digest if known is not None else sent
    if on_record == record.digest and sent in (None, record.digest):
        return True
    same_id = comparable(expected) == comparable(found.national_id)
    if expected and found.national_id and not same_id:
        raise Conflict(
            f"{payload.local_id}: the API has it as {found.national_id}, the row as {expected}",
            http_status=found.http_status,
            answer=found.answer,
        )
    compared = found.compared
    if compared.different:
        agrees = False
    else:
        # Without a digest on record, nothing that differs is all that can be asked for.
        agrees = bool(compared.same) or (maybe_sent and on_record is None and sent is None)
    if agrees or known is not None or (expected and found.national_id):
        return agrees
    ensure_same_content(found, payload, ())
    return True


async def changed_since_accepted(
    services: Services, pipeline: Pipeline, record_ids: Collection[int]
) -> list[DocumentRef]:
    """Which accepted documents have another content now; one that cannot be built is left out.

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


def changed(record: Record, known: EarlierAcceptance | None) -> ChangedAfterAcceptance:
    """The error of a document that was accepted with other content."""
    national_id = (known.national_id if known else None) or record.document.national_id
    name = f" as {national_id}" if national_id else ""
    return ChangedAfterAcceptance(
        f"accepted earlier{name} with other content: correct it at the portal or put the row back, "
        "or allow updates (DQG_API__UPDATE)"
    )


def not_comparable(record: Record) -> Conflict:
    """The error of a document that may be stored with other content, and nothing can say so."""
    return Conflict(
        f"{record.ref.local_id}: the API may have it with other content, and cannot be asked"
    )
