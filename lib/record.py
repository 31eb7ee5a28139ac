"""One document on its way through a run."""

from __future__ import annotations

from lib.errors import SyncError
from lib.models import Acceptance, Attempt, Document, DocumentRef, Outcome, Payload
from lib.platforms.content import payload_digest

_WARNINGS_KEPT = 20


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
        self.sent_digest = document.delivery.sent_digest
        self.earlier = document.delivery.acceptance
        self.forced = False
        self.notes: list[str] = []
        self.outcome: Outcome | None = None
        self.saved = False

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
