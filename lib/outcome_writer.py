"""Writes outcomes to the source database and to MongoDB, in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from lib.errors import StoreUnavailable, SyncError
from lib.metrics.recorder import Metrics
from lib.models import Outcome, OutcomeKind, Saved
from lib.record import Record
from lib.settings import SyncSettings
from lib.source.store import Source
from lib.tracking.writer import TrackingStore
from lib.words.language import Phrase
from lib.write_batcher import WriteBatcher

logger = logging.getLogger("dqg.outcomes")

#: Delays between attempts to reach the source database; afterwards reconcile takes over.
_DELAYS = (0.5, 1.0, 2.0, 4.0)


class _Saving(NamedTuple):
    """The result for one outcome: saved, not saved because the claim was lost, or an error."""

    saved: bool
    error: SyncError | None = None
    notes: tuple[str, ...] = ()


class OutcomeWriter:
    """Writes outcomes in batches: the source database first, then the log.

    Idempotent: the fencing token makes a second write of the same outcome change nothing.
    """

    def __init__(
        self,
        source: Source,
        tracking: TrackingStore,
        settings: SyncSettings,
        *,
        metrics: Metrics | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._tracking = tracking
        self._metrics = metrics or Metrics()
        self._sleep = sleep
        self._batcher: WriteBatcher[Outcome, _Saving] = WriteBatcher(
            self._save, delay=settings.write_batch_delay, size=settings.write_batch_size
        )

    async def write(self, record: Record, outcome: Outcome) -> bool:
        """Returns once the outcome is durable.

        Returns:
            False where the claim was lost: the document belongs to another holder, and nothing
            was written.

        Raises:
            StoreUnavailable: the source database stayed unavailable; reconcile later writes the
                outcome of an accepted document, any other is claimed again after its lease ends.
        """
        record.outcome = outcome
        saving = await self._batcher.put(outcome)
        if saving.error is not None:
            raise saving.error
        record.saved, record.notes = saving.saved, list(saving.notes)
        if not record.saved:
            self.give_up(record, outcome)
            return False
        self._metrics.document_ended(outcome)
        if record.warnings and outcome.kind is OutcomeKind.ACCEPTED:
            self._metrics.accepted_with_warnings(record.ref.pipeline)
        await self._tracking.finished(record, outcome)
        return True

    def give_up(self, record: Record, outcome: Outcome) -> None:
        """Log that the claim on a record is lost: the next holder writes its outcome."""
        record.outcome = outcome
        self._metrics.claim_lost(record.ref.pipeline)
        logger.warning(
            "claim on %s lost: the next holder writes its outcome",
            record.ref.local_id,
            extra={
                "action": "claim_lost",
                "pipeline": record.ref.pipeline,
                "local_id": record.ref.local_id,
            },
        )
        self._tracking.lost(record)

    async def _save(self, outcomes: Sequence[Outcome]) -> list[_Saving]:
        saved, left = Saved(), list(outcomes)
        for delay in (*_DELAYS, None):
            started = time.perf_counter()
            try:
                now = await asyncio.to_thread(self._source.outcomes.save, left)
            except StoreUnavailable as error:
                self._metrics.save_failed()
                if delay is None:
                    raise
                logger.warning("outcomes not saved yet: %s", error, extra={"action": "save_retry"})
            else:
                self._metrics.saved(len(left) - len(now.failed), time.perf_counter() - started)
                # Outcomes that failed before are now saved, or are in `now.failed`.
                saved = replace(saved | now, failed=now.failed)
                left = [outcome for outcome in left if outcome.key in now.failed]
                if not left or delay is None:
                    break
            await self._sleep(delay)
        return [
            _Saving(o.key in saved.written, saved.failed.get(o.key), _notes(o, saved))
            for o in outcomes
        ]


def _notes(outcome: Outcome, saved: Saved) -> tuple[str, ...]:
    """Changes by other software to the row between load and outcome; also logged as warnings."""
    notes = []
    if status := saved.overtaken.get(outcome.key):
        notes.append(
            Phrase(
                "other software set its status to {status} in the meantime; this status is kept",
                status=status,
            )
        )
    if outcome.key in saved.changed:
        notes.append(
            Phrase(
                "its row was changed while it was sent; the content from before the change was sent"
            )
        )
    for note in notes:
        logger.warning(
            "%s %s: the outcome is recorded, but %s",
            outcome.ref.pipeline,
            outcome.ref.local_id,
            note,
            extra={
                "action": "row_changed_meanwhile",
                "pipeline": outcome.ref.pipeline,
                "local_id": outcome.ref.local_id,
            },
        )
    return tuple(notes)
