"""One document on its way through a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lib.errors import SyncError
from lib.models import Acceptance, Attempt, Document, DocumentRef, Outcome, Payload


@dataclass(slots=True, eq=False)
class Record:
    """One document on its way through a run.

    Attributes:
        unconfirmed: the API may have the document: look it up before sending it.
        attempts: every HTTP call made about it in this run.
        calls: times it was to be sent in this run, however far each of them came.
        run_id: the Prefect run that works on it.
        error: why the last call failed, where it may be repeated in this run.
        outcome: what was decided; `saved` says whether the source database has it.
    """

    document: Document
    unconfirmed: bool
    attempts: list[Attempt] = field(default_factory=list)
    calls: int = 0
    payload: Payload | None = None
    acceptance: Acceptance | None = None
    run_id: str | None = None
    error: SyncError | None = None
    outcome: Outcome | None = None
    saved: bool = False

    @property
    def ref(self) -> DocumentRef:
        return self.document.ref


def as_records(documents: Iterable[Document]) -> dict[int, Record]:
    return {
        document.ref.record_id: Record(document=document, unconfirmed=document.unconfirmed)
        for document in documents
    }
