"""The effect of a person's decision on one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from lib.models import DocumentRef, StoredDocument, SyncStatus

Item = TypeVar("Item")

#: Number of documents that are read or written at once.
CHUNK = 500


class Effect(StrEnum):
    """What happened to the document, or would happen."""

    POSSIBLE = "possible"  # a preview: it would be done
    DONE = "done"
    ALREADY = "already"  # the same decision was made before
    HELD = "held"  # not changed: a run holds it
    NOT_FAILED = "not_failed"  # not changed: it is pending or accepted
    CHANGED = "changed"  # not changed: it changed between the preview and the decision


@dataclass(slots=True)
class Decision:
    """One document and what a decision does to it."""

    document: StoredDocument
    effect: Effect

    @property
    def ref(self) -> DocumentRef:
        return self.document.ref

    @property
    def done(self) -> bool | None:
        """None in a preview of what would be done."""
        if self.effect in (Effect.POSSIBLE, Effect.ALREADY):
            return None
        return self.effect is Effect.DONE


def preview(document: StoredDocument) -> Decision:
    """Only a failed document that no run holds can be requeued or resolved."""
    if document.claim_token is not None:
        return Decision(document, Effect.HELD)
    if document.status != SyncStatus.FAILED:
        return Decision(document, Effect.NOT_FAILED)
    return Decision(document, Effect.POSSIBLE)


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in chunks that are read or written at once."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
