"""Detects documents that wait for too long while a scenario runs. Pure.

A document that is due must be processed (claimed, sent, ended) within some rounds of the
orchestrator. Otherwise something other than the document itself delays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lib.models import DocumentRef, StoredDocument, SyncStatus

#: Rounds of the orchestrator that a due document may wait for. A round takes some seconds on a
#: busy machine, a cool-down of the breaker two rounds.
PATIENCE_ROUNDS = 40

Key = tuple[str, int]


@dataclass(slots=True)
class HoldUpWatch:
    """Counts, per document, the rounds since its last change while it is due.

    Attributes:
        held_up: one line per document that waited for too long.
    """

    patience: int = PATIENCE_ROUNDS
    held_up: dict[Key, str] = field(default_factory=dict)
    _seen: dict[Key, tuple[object, int]] = field(default_factory=dict)

    def look(
        self,
        refs: Iterable[DocumentRef],
        rows: Mapping[Key, StoredDocument],
        round_number: int,
        now: datetime,
    ) -> None:
        """Record the state of the documents in this round.

        Args:
            refs: documents that nothing may delay.
            now: UTC, as `StoredDocument.next_attempt_at`.
        """
        for ref in refs:
            key = (ref.pipeline, ref.record_id)
            row = rows.get(key)
            if row is None or not _is_due(row, now):
                self._seen.pop(key, None)
                continue
            state = (row.attempts, row.next_attempt_at, row.message)
            known, since = self._seen.get(key, (None, round_number))
            if known != state:
                self._seen[key] = (state, round_number)
            elif round_number - since > self.patience:
                self.held_up[key] = (
                    f"{ref.pipeline} {ref.local_id}: due and untouched for "
                    f"{round_number - since} rounds"
                )


def _is_due(row: StoredDocument, now: datetime) -> bool:
    return (
        row.status == SyncStatus.PENDING
        and row.claim_token is None
        and (row.next_attempt_at is None or row.next_attempt_at.replace(tzinfo=now.tzinfo) <= now)
    )
