"""One document on its way through a run, and whether what the API has is what its row holds now.

Content counts, not codes: a code may be used again for other content, and a row may change after it
was sent. What is on record decides first, then what the API shows. A document with an acceptance on
record is never posted blindly; a correction goes out as an update, or waits for a person.
"""

from __future__ import annotations

import hashlib
import json
import time
import unicodedata

from lib.errors import ChangedAfterAcceptance, Conflict, SyncError
from lib.models import Acceptance, Attempt, Document, DocumentRef, Outcome, Payload, comparable
from lib.words.language import N_, Phrase

_WARNINGS_KEPT = 20


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


class Record:
    """One document on its way through a run.

    Not a dataclass: Prefect walks through the fields of those among the parameters of a task.

    Attributes:
        unconfirmed: the API may have the document: look it up before sending it.
        attempts: every HTTP call made about it in this run.
        calls: times it was to be sent in this run, however far each of them came.
        run_id: the Prefect run that works on it.
        error: why the last call failed, where this run may try it again.
        failure: why the last call that reached for the API failed, whatever stopped later ones.
        own_failure: it failed while others passed, so it pays with an attempt.
        sent_digest: of what may have been stored; None unless it is unconfirmed, or not known.
        earlier: an acceptance on record from before this run.
        notes: what a person should know of its end, such as a row that changed meanwhile.
        forced: a person wants it sent again: the API is asked, whatever is on record.
        outcome: what was decided; `saved` says whether the source database has it.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.unconfirmed = document.unconfirmed
        self.attempts: list[Attempt] = []
        self.calls = 0
        self.payload: Payload | None = None
        self.acceptance: Acceptance | None = None
        self.run_id: str | None = None
        self.error: SyncError | None = None
        self.failure: SyncError | None = None
        self.own_failure = False
        self._digest: str | None = None
        self._settled_at = time.monotonic() + document.delivery.unsettled
        self.sent_digest = document.delivery.sent_digest
        self.earlier = document.delivery.acceptance
        self.forced = False
        self.notes: list[str] = []
        self.outcome: Outcome | None = None
        self.saved = False

    @property
    def unsettled(self) -> float:
        """Seconds for which the last call about it may still be under way at the API."""
        return max(self._settled_at - time.monotonic(), 0.0)

    @unsettled.setter
    def unsettled(self, seconds: float) -> None:
        self._settled_at = time.monotonic() + seconds

    @property
    def ref(self) -> DocumentRef:
        return self.document.ref

    @property
    def digest(self) -> str | None:
        """SHA-256 of the payload, or of what the log says was accepted; None before either."""
        if self._digest is None and self.payload is not None:
            self._digest = payload_digest(self.payload)
        return self._digest

    @digest.setter
    def digest(self, logged: str | None) -> None:
        self._digest = logged

    @property
    def warnings(self) -> tuple[str, ...]:
        """The first doubtful values that were sent; a document of many lines may have many."""
        return () if self.payload is None else self.payload.warnings[:_WARNINGS_KEPT]

    def accepted_earlier(self, *, may_update: bool) -> Acceptance | None:
        """The acceptance that is on record with this very content; None where a call is needed.

        Raises:
            ChangedAfterAcceptance: it was accepted with other content, and updates are not allowed.
        """
        known = self.earlier
        if known is None or self.forced or self.sent_digest is not None:
            return None
        if known.payload_digest == self.digest:
            if known.national_id is None:
                return None
            return Acceptance(known.national_id, Phrase("accepted earlier with the same content"))
        if known.payload_digest is not None and not may_update:
            raise self.changed()
        return None

    def is_confirmed_by(self, found: Acceptance, *, maybe_sent: bool) -> bool:
        """Whether a document that the API has is this content.

        Args:
            found: what a look-up or the answer to a repeated POST says of it.
            maybe_sent: an earlier call may have stored it.

        Returns:
            False where it is the same document with other content: it has changed since.

        Raises:
            Conflict: it is another document, or nothing says that it is this one.
        """
        known, sent, expected = self.earlier, self.sent_digest, self.document.national_id
        on_record = known.payload_digest if known is not None else sent
        if on_record == self.digest and sent in (None, self.digest):
            return True
        both = bool(expected and found.national_id)
        if both and comparable(expected) != comparable(found.national_id):
            raise self._conflict(
                N_("{code}: the API has it as {theirs}, the row as {ours}"),
                found,
                theirs=found.national_id,
                ours=expected,
            )
        compared = found.compared
        if compared.different:
            agrees = False
        else:
            # Without a digest on record, nothing that differs is all that can be asked for.
            agrees = bool(compared.same) or (maybe_sent and on_record is None and sent is None)
        if agrees or known is not None or both:
            return agrees
        if not found.duplicate:
            return True
        if compared.different:
            raise self._conflict(
                N_(
                    "{code}: the API has a document with this code with another content "
                    "({fields}): {text}"
                ),
                found,
                fields=", ".join(compared.different),
                text=found.message,
            )
        raise self._conflict(
            N_(
                "{code}: the API has a document with this code and this content was never sent: "
                "{text}"
            ),
            found,
            text=found.message,
        )

    def changed(self) -> ChangedAfterAcceptance:
        """The error of a document that was accepted with other content."""
        known = self.earlier.national_id if self.earlier else None
        national_id = known or self.document.national_id
        return ChangedAfterAcceptance(
            Phrase(
                "accepted earlier as {national_id} with other content: correct it at the portal "
                "or put the row back, or allow updates (DQG_API__UPDATE)",
                national_id=national_id or "?",
            )
        )

    def not_comparable(self) -> Conflict:
        """The error of a document that may be stored with other content, and nothing can say so."""
        return self._conflict(
            N_("{code}: the API may have it with other content, and cannot be asked")
        )

    def _conflict(
        self, template: str, found: Acceptance | None = None, **values: object
    ) -> Conflict:
        return Conflict(
            Phrase(template, code=self.ref.local_id, **values),
            http_status=found.http_status if found else None,
            answer=found.answer if found else None,
        )
