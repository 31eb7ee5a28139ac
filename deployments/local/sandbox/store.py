"""What was accepted, and how often: tests prove 'exactly once' with these counters.

No method awaits, so each one is atomic on the single event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

from deployments.local.sandbox.resources import RESOURCES


class DocumentKey(NamedTuple):
    """The national key of a document."""

    resource: str
    ma_co_so: str
    code: str


class DocumentCounters(TypedDict):
    """A document's counters as the admin API shows them; see `DocumentRecord`."""

    resource: str
    ma_co_so: str
    code: str
    national_id: str | None
    stored: bool
    accepted: int
    posts: int
    duplicates: int
    refused: int
    updates: int
    lookups: int
    deletes: int
    sequence: int | None
    accepted_at: float | None


@dataclass(slots=True)
class DocumentRecord:
    """One document that a client has sent or queried.

    Attributes:
        national_id: of the latest acceptance.
        stored: the API has it now.
        accepted: POSTs that counted as a new acceptance.
        posts, lookups: POSTs and GETs of its key, whatever their result.
        duplicates: POSTs while it was already stored, unless accepted again.
        refused: POSTs that were refused because of their content or their sender.
        updates, deletes: successful PUTs and DELETEs.
        sequence, accepted_at: place in the order of acceptances, from 1, and time of the latest
            acceptance.
        body: the last accepted content.
    """

    key: DocumentKey
    national_id: str | None = None
    stored: bool = False
    accepted: int = 0
    posts: int = 0
    duplicates: int = 0
    refused: int = 0
    updates: int = 0
    lookups: int = 0
    deletes: int = 0
    sequence: int | None = None
    accepted_at: float | None = None
    body: Mapping[str, Any] | None = None

    @property
    def accepted_twice(self) -> bool:
        """Accepted while it was already stored; after a deletion it may be accepted again."""
        return self.accepted > self.deletes + 1

    def counters(self) -> DocumentCounters:
        return {
            "resource": self.key.resource,
            "ma_co_so": self.key.ma_co_so,
            "code": self.key.code,
            "national_id": self.national_id,
            "stored": self.stored,
            "accepted": self.accepted,
            "posts": self.posts,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "updates": self.updates,
            "lookups": self.lookups,
            "deletes": self.deletes,
            "sequence": self.sequence,
            "accepted_at": self.accepted_at,
        }


class DocumentStore:
    """All documents, in memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[DocumentKey, DocumentRecord] = {}
        self._sequence = 0

    def record(self, key: DocumentKey) -> DocumentRecord:
        """The record of this key; created if it is missing."""
        found = self._records.get(key)
        if found is None:
            found = self._records[key] = DocumentRecord(key)
        return found

    def stored(self, key: DocumentKey) -> DocumentRecord | None:
        """The document if the API has it now."""
        found = self._records.get(key)
        return found if found is not None and found.stored else None

    def accept(self, key: DocumentKey, body: Mapping[str, Any]) -> DocumentRecord:
        """Store a document as a new one with a new national code."""
        record = self.record(key)
        self._sequence += 1
        record.stored = True
        record.accepted += 1
        record.sequence = self._sequence
        record.accepted_at = self._clock()
        record.national_id = f"{RESOURCES[key.resource].prefix}{self._sequence:010d}"
        record.body = body
        return record

    def delete(self, record: DocumentRecord) -> None:
        record.stored = False
        record.deletes += 1

    def __iter__(self) -> Iterator[DocumentRecord]:
        return iter(self._records.values())

    def clear(self) -> None:
        self._records.clear()
        self._sequence = 0
