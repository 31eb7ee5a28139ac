"""The documents of one run, their outcomes so far, and the lease that holds them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Self

from lib.errors import ClaimLost, StoreUnavailable
from lib.models import Acceptance, Document, EarlierAcceptance, LogStatus
from lib.pipelines import Pipeline
from lib.record import Record
from lib.services import Services
from lib.words.language import Phrase
from lib.write_batcher import WriteBatcher

logger = logging.getLogger("dqg.batch")


class Lease:
    """A claim's lease, renewed in the background inside `async with`.

    Only the database decides when a lease has run out. This object measures, on a monotonic clock,
    the time since the lease was last known to be held. It starts before the renewing statement is
    sent, so the measured lease can end too early, but never too late. A wrong wall clock has no
    effect.

    Args:
        renew: extends the lease in the database; returns how many documents it still holds.
        seconds: length of the lease.
        margin: seconds of lease that must be left for a call to begin.
    """

    def __init__(
        self,
        renew: Callable[[], Awaitable[int]],
        *,
        seconds: float,
        margin: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renew = renew
        self._seconds = seconds
        self._margin = min(margin, seconds / 3)
        self._monotonic = monotonic
        self._held_until = monotonic() + seconds
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        if self._monotonic() >= self._held_until:
            self._lost = True
        return self._lost

    def ensure_held(self) -> None:
        """Returns only if a call begun now can end within the lease.

        Raises:
            ClaimLost: it cannot; from then on nothing may be sent under this claim.
        """
        if self.lost or self._monotonic() >= self._held_until - self._margin:
            raise ClaimLost("the lease of this claim has expired; another run takes over")

    async def renew_once(self) -> None:
        """Extends the lease now. A lost lease stays lost, whatever the database returns.

        Raises:
            StoreUnavailable: the database cannot be reached; the end of the lease stays the same.
        """
        asked_at = self._monotonic()
        held = await self._renew()
        if held == 0:
            self._lost = True
        elif not self.lost:
            self._held_until = asked_at + self._seconds

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name="lease")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._seconds / 4)
            try:
                await self.renew_once()
            except StoreUnavailable as error:
                logger.warning(
                    "lease not renewed: %s", error, extra={"action": "lease_not_renewed"}
                )
        logger.warning("lease lost", extra={"action": "lease_lost"})


class Batch:
    """The records of one claim, with the services and the lease for processing them.

    Not a dataclass: Prefect walks through the fields of dataclasses in a task's parameters.

    Attributes:
        records: by record id, the oldest first.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        token: str,
        run_id: str,
        services: Services,
        lease: Lease,
        documents: Iterable[Document],
    ) -> None:
        self.pipeline = pipeline
        self.token = token
        self.run_id = run_id
        self.services = services
        self.lease = lease
        self.records = {document.ref.record_id: Record(document) for document in documents}
        # No delay: records that ask while one statement is running share the next one.
        self._intents: WriteBatcher[Record, bool] = WriteBatcher(
            self._mark_sending, delay=0, size=services.settings.sync.write_batch_size
        )

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def __len__(self) -> int:
        return len(self.records)

    def start(self, record: Record, run_id: str) -> None:
        """Notes which run works on a record."""
        record.run_id = run_id
        self.services.tracking.started(record, self.run_id)

    async def mark_sending(self, record: Record) -> None:
        """Check that the claim still holds a record, and mark it as possibly sent from now on.

        Records that ask at the same time share one statement. Until its outcome is saved, another
        holder of the document, or a second start of this run, looks it up before sending it.

        Raises:
            ClaimLost: the claim is over, or another one has the document.
            StoreUnavailable.
        """
        if not await self._intents.put(record):
            raise ClaimLost("the claim on this document has ended; another run takes over")

    async def _mark_sending(self, records: Sequence[Record]) -> list[bool]:
        under_way = self.services.settings.api.call_seconds
        held = await asyncio.to_thread(
            self.services.source.claims.mark_sending,
            self.pipeline,
            self.token,
            {record.ref.record_id: record.digest for record in records},
            timedelta(seconds=under_way),
        )
        for record in records:
            record.unsettled = under_way
        return [record.ref.record_id in held for record in records]

    def counts(self) -> Counter[str]:
        """Number of records by outcome; `open` if no outcome is saved."""
        return Counter(
            record.outcome.kind.value if record.outcome and record.saved else "open"
            for record in self
        )


@asynccontextmanager
async def open_batch(
    services: Services,
    pipeline: Pipeline,
    token: str,
    documents: Iterable[Document],
    *,
    run_id: str,
    forced: bool = False,
) -> AsyncIterator[Batch]:
    """Make a batch the current one, and keep its lease alive.

    Args:
        forced: a person wants the documents sent again, whatever is on record.

    Raises:
        StoreUnavailable: the lease cannot be renewed.
    """
    settings = services.settings
    lease = Lease(
        lambda: asyncio.to_thread(
            services.source.claims.renew, pipeline, token, settings.sync.lease
        ),
        seconds=settings.sync.lease_seconds,
        # A login may be needed before the call.
        margin=2 * (settings.api.connect_timeout + settings.api.read_timeout),
    )
    batch = Batch(pipeline, token, run_id, services, lease, documents)
    # Waiting in the queue has used up a part of the lease: start from a full one.
    await lease.renew_once()
    async with lease:
        for record in batch:
            record.forced = forced
        await _take_over(batch)
        with working_on(batch):
            yield batch


async def _take_over(batch: Batch) -> None:
    """Read from the log what was done with the documents, so that nothing is sent unchecked.

    Documents that an earlier run under the same token logged as accepted need no call; its other
    documents are looked up before they are sent. Acceptances under other tokens are in our own
    table; after a restore of the source database from a backup only the log may have them.
    """
    tracking = batch.services.tracking
    try:
        entries = await tracking.begun(batch.token)
        unknown = [record.ref for record in batch if record.earlier is None]
        earlier = await tracking.acceptances(batch.pipeline.name, unknown)
    except StoreUnavailable as error:
        # The flag in the source database shows the same, except for acceptances.
        logger.warning("earlier log entries not read: %s", error, extra={"action": "mongo_away"})
        return
    for entry in entries:
        record = batch.records.get(entry.ref.record_id)
        if record is not None:
            record.unconfirmed = True
            if entry.status in (LogStatus.ACCEPTED, LogStatus.SUCCESS):
                record.acceptance = Acceptance(
                    entry.national_id, entry.message or Phrase("accepted")
                )
                record.digest = entry.payload_digest
    for entry in earlier:
        record = batch.records[entry.ref.record_id]
        record.earlier = EarlierAcceptance(entry.national_id, entry.payload_digest)


async def finish_all(awaitables: Iterable[Awaitable[None]]) -> None:
    """Waits for all of them, then raises the first error, if any."""
    for result in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


_current: ContextVar[Batch] = ContextVar("current_batch")


@contextmanager
def working_on(batch: Batch) -> Iterator[None]:
    """Makes a batch the current one for everything started inside."""
    reset = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(reset)


#: The record that the current asyncio task sends, for the log; a chunk sends several at once.
sending: ContextVar[Record | None] = ContextVar("sending", default=None)


def find_batch() -> Batch | None:
    """The current batch of the caller; None if there is none."""
    return _current.get(None)


def find_record(record_id: int) -> tuple[Batch, Record]:
    """A record of the current batch, for callers that get only ids from Prefect.

    Raises:
        LookupError: the caller has no current batch, or it has no such record.
    """
    batch = _current.get()
    return batch, batch.records[record_id]
