"""One document on its way through a run, and whether the API has the row's current content.

Content is compared, not codes: a code may be reused for other content, and a row may change after
it was sent. Our own records decide first, then the API's answer. A document with a recorded
acceptance is never posted without a check; a correction is sent as an update or waits for a person.
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
    """SHA-256 of a request body, in hexadecimal; the same for the same content in any Unicode form.

    The order of names does not matter; the order of lines does.
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

    Not a dataclass: Prefect visits all fields of dataclasses in the parameters of a task.

    Attributes:
        unconfirmed: the API may have the document: look it up before sending it.
        attempts: every HTTP call made about it in this run.
        calls: how often this run began to send it, even if no request was made.
        run_id: the Prefect run that works on it.
        error: the error of the last call, if this run may retry it.
        failure: the error of the last call that tried to reach the API; paused calls do not count.
        own_failure: it failed while others passed, so the failure costs an attempt.
        sent_digest: of the content that may be stored; None if unknown or not unconfirmed.
        earlier: the recorded acceptance from before this run.
        notes: what a person should know about the outcome, such as a row that changed meanwhile.
        forced: a person requested to send it again: the API is called, whatever our records say.
        outcome: the decision; `saved` states whether the source database has it.
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
        """Seconds for which the API may still be processing the last call about it."""
        return max(self._settled_at - time.monotonic(), 0.0)

    @unsettled.setter
    def unsettled(self, seconds: float) -> None:
        self._settled_at = time.monotonic() + seconds

    def mark_sent(self) -> None:
        """A call with the current content begins: the API may have it from now on."""
        self.unconfirmed, self.sent_digest = True, self.digest

    def mark_confirmed(self) -> None:
        """What the API has is known: no earlier call is in doubt any more."""
        self.unconfirmed, self.sent_digest = False, None

    @property
    def ref(self) -> DocumentRef:
        return self.document.ref

    @property
    def digest(self) -> str | None:
        """SHA-256 of the payload, or of the content accepted according to the log; None before."""
        if self._digest is None and self.payload is not None:
            self._digest = payload_digest(self.payload)
        return self._digest

    @digest.setter
    def digest(self, logged: str | None) -> None:
        self._digest = logged

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about doubtful values that were sent; only the first ones, there may be many."""
        return () if self.payload is None else self.payload.warnings[:_WARNINGS_KEPT]

    def accepted_earlier(self, *, may_update: bool) -> Acceptance | None:
        """The recorded acceptance of exactly this content; None if a call is needed.

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
        """Whether the document that the API has contains the row's current content.

        Args:
            found: what a look-up or the answer to a repeated POST reports about it.
            maybe_sent: an earlier call may have stored it.

        Returns:
            False if it is the same document with other content: the row has changed since.

        Raises:
            Conflict: it is another document, or nothing shows that it is this one.
        """
        known, sent, expected = self.earlier, self.sent_digest, self.document.national_id
        on_record = known.payload_digest if known is not None else sent
        if on_record == self.digest and sent in (None, self.digest):
            return True
        both = bool(expected and found.national_id)
        if both and comparable(expected) != comparable(found.national_id):
            raise self._conflict(
                N_("{code}: the national id is {theirs} at the API, but {ours} in the row"),
                found,
                theirs=found.national_id,
                ours=expected,
            )
        compared = found.compared
        if compared.different:
            agrees = False
        else:
            # Without a recorded digest, the only possible check is that nothing differs.
            agrees = bool(compared.same) or (maybe_sent and on_record is None and sent is None)
        if agrees or known is not None or both:
            return agrees
        if not found.duplicate:
            return True
        if compared.different:
            raise self._conflict(
                N_(
                    "{code}: the API has a document with this code and different content "
                    "({fields}): {text}"
                ),
                found,
                fields=", ".join(compared.different),
                text=found.message,
            )
        raise self._conflict(
            N_(
                "{code}: the API has a document with this code, but this content was never sent: "
                "{text}"
            ),
            found,
            text=found.message,
        )

    def changed(self) -> ChangedAfterAcceptance:
        """The error for a document that was accepted with other content."""
        known = self.earlier.national_id if self.earlier else None
        national_id = known or self.document.national_id
        return ChangedAfterAcceptance(
            Phrase(
                "accepted earlier as {national_id} with other content: correct it at the portal, "
                "restore the row, or allow updates (DQG_API__UPDATE)",
                national_id=national_id or "?",
            )
        )

    def not_comparable(self) -> Conflict:
        """The error if the API may have the document with other content and cannot be queried."""
        return self._conflict(
            N_("{code}: the API may have it with other content, and it cannot be looked up")
        )

    def _conflict(
        self, template: str, found: Acceptance | None = None, **values: object
    ) -> Conflict:
        return Conflict(
            Phrase(template, code=self.ref.local_id, **values),
            http_status=found.http_status if found else None,
            answer=found.answer if found else None,
        )
