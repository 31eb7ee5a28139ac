"""Whether a document that a platform has is the one that is to be sent: content counts, not codes.

A code may be used again for other content, and a row may change after it was sent. So a document
that is there already is taken for ours only where this content was sent before, or where what the
platform shows of it agrees.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection

from lib.errors import Conflict
from lib.models import Acceptance, Payload


def payload_digest(payload: Payload) -> str:
    """SHA-256 of a request body, in hexadecimal: the same for the same content, however composed.

    The order of names does not count, that of lines does.
    """
    text = json.dumps(
        [payload.resource, payload.body],
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).hexdigest()


def ensure_same_content(
    acceptance: Acceptance, payload: Payload, sent_before: Collection[str]
) -> None:
    """Returns where an acceptance is one of this content.

    Args:
        sent_before: digests of what was sent, or may have been sent, of this document.

    Raises:
        Conflict: the platform had the document before this call, and nothing says that it is ours.
    """
    if not acceptance.duplicate or payload_digest(payload) in sent_before:
        return
    compared = acceptance.compared
    if compared.same and not compared.different:
        return
    if compared.different:
        reason = f"with another content ({', '.join(compared.different)})"
    else:
        reason = "and this content was never sent"
    raise Conflict(
        f"{payload.local_id}: the API has a document with this code {reason}: {acceptance.message}",
        http_status=acceptance.http_status,
        answer=acceptance.answer,
    )
