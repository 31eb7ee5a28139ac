"""What surrounds a document in the state machine: an API that keeps count, and who sends to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum, auto
from typing import Any

from pydantic import SecretStr

from lib.accounts import AccountDirectory
from lib.errors import OutcomeUnknown, Rejected, Unavailable
from lib.models import (
    Acceptance,
    Account,
    Claim,
    Document,
    DocumentRef,
    LogStatus,
    Outcome,
    Payload,
)
from lib.outcome_writer import OutcomeWriter
from lib.pipelines import SALE
from lib.platforms.platform import Action, CallContext, Lookup
from lib.record import Record
from lib.resilience.breaker import Breakers, Permit
from lib.resilience.breaker_rules import Transition
from lib.resilience.rate_limiter import RateLimiter
from lib.services import Services
from lib.settings import ApiSettings, BreakerSettings, RateSettings, Settings, SyncSettings
from lib.source.accounts import ShopAccount
from lib.source.store import Source
from lib.sync.batch import Batch, Lease
from lib.tracking.writer import LogEntry

PHARMACY, SHOP = "790760001234", "SHOP01"
SYNC = SyncSettings(max_attempts=2, write_batch_delay=0)
#: No breaker opens: each document's own way is what is looked at.
NEVER = 10**6


class Killed(BaseException):
    """The process is killed: nothing of it runs any more."""


class Fate(StrEnum):
    """What becomes of one POST."""

    ACCEPTED = auto()
    REJECTED = auto()
    BUSY = auto()  # 503, not stored
    BROKEN = auto()  # 500 after it was stored
    SILENT_STORED = auto()
    SILENT_LOST = auto()
    MISREAD = auto()  # accepted, and then our own code fails on the answer
    KILLED_BEFORE = auto()
    KILLED_AFTER = auto()
    CANCELLED_BEFORE = auto()
    CANCELLED_AFTER = auto()
    CANCELLED_LATER = auto()  # accepted; cancelled while the acceptance is passed on
    FAILED_LATER = auto()  # accepted; passing it on fails


_NOT_STORED = {
    Fate.BUSY: lambda: Unavailable("busy", http_status=503, maybe_stored=True),
    Fate.SILENT_LOST: lambda: OutcomeUnknown("no answer"),
    Fate.KILLED_BEFORE: Killed,
    Fate.CANCELLED_BEFORE: asyncio.CancelledError,
}
_STORED = {
    Fate.BROKEN: lambda: Unavailable("broken", http_status=500, maybe_stored=True),
    Fate.SILENT_STORED: lambda: OutcomeUnknown("no answer"),
    Fate.MISREAD: lambda: KeyError("code"),
    Fate.KILLED_AFTER: Killed,
    Fate.CANCELLED_AFTER: asyncio.CancelledError,
}


@dataclass
class CountingApi:
    """A national platform that counts how often it took each document.

    Attributes:
        has_lookup: it can be asked for a document.
        knows_duplicates: it refuses a document that it has; otherwise it takes it once more.
        fate: of the next POSTs.
        lookup_down: a look-up gets no answer.
    """

    has_lookup: bool
    knows_duplicates: bool
    fate: Fate = Fate.ACCEPTED
    lookup_down: bool = False
    taken: Counter[str] = field(default_factory=Counter)

    spec_version = "counting"

    def build(self, document: Document) -> Payload:
        return Payload("hoa_don", PHARMACY, document.ref.local_id, {})

    async def log_in(self, account: Account) -> None:
        """Every login is accepted."""

    async def submit(
        self,
        payload: Payload,
        account: Account,
        context: CallContext,
        *,
        unconfirmed: bool = False,
    ) -> Acceptance:
        await context.permit(Action.SUBMIT)
        code = payload.local_id
        if self.fate in _NOT_STORED:
            raise _NOT_STORED[self.fate]()
        duplicate = self.knows_duplicates and self.taken[code] > 0
        if self.fate is Fate.REJECTED and not duplicate:
            raise Rejected("no such drug", http_status=400)
        if not duplicate:
            self.taken[code] += 1
        if self.fate in _STORED:
            raise _STORED[self.fate]()
        # Where it cannot be asked, a duplicate stays without its national code.
        known = not duplicate or self.has_lookup
        return Acceptance(f"QG-{code}" if known else None, "accepted", duplicate=duplicate)

    async def look_up(
        self,
        payload: Payload,
        account: Account,
        context: CallContext,
    ) -> Acceptance | Lookup:
        await context.permit(Action.LOOK_UP)
        if not self.has_lookup:
            return Lookup.UNSUPPORTED
        if self.lookup_down:
            raise Unavailable("no answer")
        if not self.taken[payload.local_id]:
            return Lookup.ABSENT
        return Acceptance(f"QG-{payload.local_id}", "accepted", duplicate=True)


class MemoryLog:
    """Takes the place of `TrackingStore`: keeps the acceptances that are not saved yet."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], LogEntry] = {}

    async def accepted(self, record: Record, acceptance: Acceptance) -> bool:
        token = record.document.claim_token
        self.open[token, record.ref.record_id] = LogEntry(
            ref=record.ref,
            claim_token=token,
            status=LogStatus.ACCEPTED,
            national_id=acceptance.national_id,
            message=acceptance.message,
        )
        return True

    async def finished(self, record: Record, outcome: Outcome) -> bool:
        self.open.pop((record.document.claim_token, record.ref.record_id), None)
        return True

    async def entries(self, status: LogStatus, *, older_than: timedelta) -> Sequence[LogEntry]:
        return list(self.open.values())

    def lost(self, record: Record) -> None:
        """An acceptance stays open: it is still to be saved."""

    async def close_all(
        self, refs: Iterable[DocumentRef], token: str, status: LogStatus, message: str
    ) -> None:
        for ref in refs:
            del self.open[token, ref.record_id]


class InterruptedBreakers(Breakers):
    """Breakers to which a success cannot be reported where the API's fate demands it."""

    def __init__(self, api: CountingApi) -> None:
        super().__init__(None, "dqg", BreakerSettings(documents=NEVER))
        self._api = api

    async def succeeded(self, permit: Permit) -> tuple[Transition, ...]:
        if self._api.fate is Fate.CANCELLED_LATER:
            raise asyncio.CancelledError
        if self._api.fate is Fate.FAILED_LATER:
            raise KeyError("breaker")
        return await super().succeeded(permit)


def make_services(source: Source, api: CountingApi) -> Services:
    """The services of a run: the real ones around the source database, no network."""
    settings = Settings(
        source={"url": "postgresql+psycopg://"},
        mongo={"url": "mongodb://"},
        redis={"url": "redis://"},
        # Time does not pass here: a call is over at once.
        api={"settle_seconds": 0, "connect_timeout": 1e-6, "read_timeout": 1e-6},
        sync=SYNC,
    )
    account = ShopAccount(SHOP, PHARMACY, "demo", SecretStr("demo"), active=True, updated_at=None)
    log: Any = MemoryLog()
    unused: Any = None
    return Services(
        settings=settings,
        source=source,
        tracking=log,
        accounts=AccountDirectory([account], ApiSettings()),
        breakers=InterruptedBreakers(api),
        rate_limiter=RateLimiter(None, "dqg", RateSettings()),
        platform=api,
        outcomes=OutcomeWriter(source, log, SYNC),
        tokens=unused,
        alerts=unused,
    )


@dataclass(eq=False)
class Holder:
    """A run that claimed documents.

    Attributes:
        now: its own clock, which a frozen process finds far ahead when it goes on.
        results: what its last try to send a record came to.
        dead: it was killed.
    """

    services: Services
    claim: Claim
    now: float = 0.0
    results: dict[int, Acceptance | BaseException] = field(default_factory=dict)
    dead: bool = False

    def __post_init__(self) -> None:
        source = self.services.source
        source.claims.renew(SALE, self.token, SYNC.lease)
        documents = source.documents.load(SALE, self.token)
        lease = Lease(self._renew, seconds=SYNC.lease_seconds, margin=1, monotonic=lambda: self.now)
        self.batch = Batch(SALE, self.token, "run", self.services, lease, documents)

    @property
    def token(self) -> str:
        return self.claim.token

    async def _renew(self) -> int:
        return self.services.source.claims.renew(SALE, self.token, SYNC.lease)

    def may_send(self, record: Record) -> bool:
        """Not begun yet, or to be tried again within the run."""
        if self.dead or record.outcome is not None:
            return False
        last = self.results.get(record.ref.record_id)
        return last is None or isinstance(last, Unavailable)

    def may_write(self, record: Record) -> bool:
        return not self.dead and record.ref.record_id in self.results
