"""One bad document never stops a good one: a simulation over plans, breakers and outcomes.

The real planning, submission, breakers and outcomes are driven by a simulated clock and API; only
the queue is simulated: due documents, each shop the same share, its oldest first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.accounts import AccountDirectory
from lib.errors import Paused, SyncError, Unavailable
from lib.models import Acceptance, Document, DocumentRef, OutcomeKind, Payload, PipelineSummary
from lib.pipelines import SALE, PoolState
from lib.record import Record
from lib.resilience.breaker import Breakers, pipeline_breaker
from lib.settings import ApiSettings, BreakerSettings, SyncSettings
from lib.sync.batch import Batch, Lease
from lib.sync.outcomes import failed, outage_seconds
from lib.sync.planning import plan_from
from lib.sync.submit import submit
from tests.properties.world import PHARMACY, CountingApi, make_services

BREAKER, SYNC = BreakerSettings(), SyncSettings()
API = ApiSettings(username="chain", password="chain")
ROUND_SECONDS = 20.0
DAY = 24 * 3600.0


@dataclass
class Sale:
    """A document in the simulated queue.

    Attributes:
        bad: the API answers 500 to it, whatever else it does.
        ended: when it was accepted, or given up.
    """

    number: int
    shop: str
    arrives: float
    bad: bool = False
    attempts: int = 0
    due: float = 0.0
    accepted: bool = False
    ended: float | None = None
    calls: int = 0


@dataclass
class Chain:
    """A pipeline of the chain with its queue."""

    sales: list[Sale]
    #: When the API is down for every document.
    outage: tuple[float, float] = (0.0, 0.0)
    now: float = 0.0
    by_code: dict[str, Sale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        api: Any = self
        accounts = AccountDirectory([], API)
        breakers = Breakers(None, "dqg", BREAKER, monotonic=lambda: self.now)
        nothing: Any = None
        self.services = replace(
            make_services(nothing, CountingApi(True, True)),
            breakers=breakers,
            accounts=accounts,
            platform=api,
        )
        self.by_code = {f"HD-{sale.number}": sale for sale in self.sales}

    # -- the API -----------------------------------------------------------------------------------

    spec_version = "simulated"

    def build(self, document: Document) -> Payload:
        return Payload("hoa_don", PHARMACY, document.ref.local_id, {})

    async def look_up(self, payload: Payload, *_: Any) -> Acceptance | None:
        raise Unavailable("no look-ups here")

    async def submit(self, payload: Payload, *_: Any, **__: Any) -> Acceptance:
        sale = self.by_code[payload.local_id]
        sale.calls += 1
        if sale.bad or self.outage[0] <= self.now < self.outage[1]:
            raise Unavailable(
                "500", http_status=429
            )  # not stored, so that no look-up comes between
        return Acceptance(f"QG-{sale.number}", "accepted")

    # -- the queue ---------------------------------------------------------------------------------

    def pending(self) -> list[Sale]:
        return [s for s in self.sales if s.ended is None and s.arrives <= self.now]

    def claim(self, limit: int, without: frozenset[str], *, probing: bool) -> list[Sale]:
        due = [s for s in self.pending() if s.due <= self.now and s.shop not in without]
        by_shop: dict[str, list[Sale]] = {}
        for sale in sorted(due, key=lambda s: (s.due if probing else 0.0, s.arrives, s.number)):
            by_shop.setdefault(sale.shop, []).append(sale)
        claimed: list[Sale] = []
        while len(claimed) < limit and any(by_shop.values()):
            for sales in by_shop.values():
                if sales and len(claimed) < limit:
                    claimed.append(sales.pop(0))
        return claimed

    async def run(self, seconds: float) -> None:
        while self.now < seconds:
            await self.round()
            self.now += ROUND_SECONDS

    async def round(self) -> None:
        name = pipeline_breaker(SALE.name)
        ready = sum(s.due <= self.now for s in self.pending())
        plan = plan_from(
            PipelineSummary(SALE.name, pending=ready),
            PoolState(),
            breaker=(await self.services.breakers.snapshot([name]))[name],
            shops={},
            sync=SYNC,
            settings=BREAKER,
        )
        for limit in plan.limits:
            claimed = self.claim(limit, plan.avoided_shops, probing=plan.probing)
            if not claimed and plan.avoided_shops:
                claimed = self.claim(limit, frozenset(), probing=plan.probing)
            for sale in claimed:
                await self.send(sale)

    async def send(self, sale: Sale) -> None:
        sale.attempts += 1
        ref = DocumentRef(SALE.name, sale.number, f"HD-{sale.number}", PHARMACY, sale.shop)
        document = Document(ref, "token", False, sale.attempts, {}, [])
        lease = Lease(lambda: asyncio.sleep(0, 1), seconds=60, margin=1, monotonic=lambda: self.now)
        batch = Batch(SALE, "token", "run", self.services, lease, [document])
        (record,) = batch
        error: SyncError | None = None
        for _ in range(1 + SYNC.task_retries):
            try:
                await submit(batch, record)
            except SyncError as raised:
                error = raised
                if isinstance(raised, Paused):
                    break
            else:
                sale.accepted, sale.ended = True, self.now
                return
        assert error is not None
        if isinstance(error, Paused) and record.failure is not None:
            error = record.failure
        outage = await outage_seconds(self.services, record)
        outcome = failed(document, error, SYNC, unconfirmed=False, outage=outage)
        if outcome.kind is OutcomeKind.FAILED:
            sale.ended = self.now
        sale.attempts -= not outcome.costs_attempt
        sale.due = self.now + outcome.retry_in.total_seconds()


def simulate(seconds: float, sales: list[Sale], **options: Any) -> Chain:
    chain = Chain(sales, **options)
    asyncio.run(chain.run(seconds))
    return chain


def good(first: int, count: int, *, every: float, shops: int, begin: float = 0.0) -> list[Sale]:
    return [Sale(first + n, f"S{n % shops}", begin + n * every) for n in range(count)]


@given(
    bad_shops=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    begin=st.sampled_from([0.0, 60.0, 600.0, 7200.0]),
    every=st.sampled_from([0.0, 5.0, 60.0, 400.0]),
    shops=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_bad_documents_hold_up_good_ones_for_a_cool_down_at_most(
    bad_shops: list[int], begin: float, every: float, shops: int
) -> None:
    """However many are bad, and also where they are the oldest and alone for hours before."""
    bad = [Sale(n, f"S{shop}", 0.0, bad=True) for n, shop in enumerate(bad_shops)]
    sales = good(100, 10, every=every, shops=shops, begin=begin)
    simulate(begin + 10 * every + 7200, [*bad, *sales])
    late = [s for s in sales if s.ended is None or s.ended - s.arrives > LONGEST_WAIT]
    assert not late, late


#: The longest cool-down, and some looks of the orchestrator at a ramp's pace after it.
LONGEST_WAIT = BREAKER.cooldown_max + 12 * ROUND_SECONDS


def test_one_bad_document_holds_up_nothing() -> None:
    sales = good(100, 5, every=0.0, shops=3, begin=600.0)
    simulate(3600, [Sale(0, "S0", 0.0, bad=True), *sales])
    assert {s.ended for s in sales} == {600.0}


def test_a_document_that_fails_alone_is_judged_by_the_other_pipelines() -> None:
    """Where they fail too, and nothing has passed since, it pays with no attempt."""
    services = Chain([]).services
    ref = DocumentRef(SALE.name, 1, "HD-1", PHARMACY, "S1")
    record = Record(Document(ref, "token", False, 1, {}, []))
    record.failure = Unavailable("HTTP 500")
    elsewhere = pipeline_breaker("import")

    async def judge() -> list[float | None]:
        own = await services.breakers.failed(pipeline_breaker(SALE.name), "HD-1", "S1", "HTTP 500")
        assert not own.own
        alone = await outage_seconds(services, record)
        permit = await services.breakers.admit([elsewhere], "PN-1", "S2")
        await services.breakers.failed(elsewhere, "PN-1", "S2", "HTTP 500")
        together = await outage_seconds(services, record)
        await services.breakers.succeeded(permit)
        return [alone, together, await outage_seconds(services, record)]

    assert asyncio.run(judge()) == [None, 0.0, None]


def test_a_bad_document_is_given_up_once_others_pass() -> None:
    bad = Sale(0, "S0", 0.0, bad=True)
    simulate(2 * DAY, [bad, *good(100, 400, every=400.0, shops=3)])
    assert bad.ended is not None
    assert not bad.accepted
    assert bad.attempts == SYNC.max_attempts


@given(
    length=st.sampled_from([120.0, 3600.0, DAY]),
    count=st.integers(2, 40),  # fewer than open a breaker as well
    shops=st.integers(1, 5),
)
@settings(max_examples=20, deadline=None)
def test_an_outage_uses_up_no_document_and_ends_within_a_cool_down(
    length: float, count: int, shops: int
) -> None:
    sales = good(0, count, every=0.0, shops=shops)
    simulate(length + 2 * 3600, sales, outage=(0.0, length))
    assert all(s.accepted for s in sales)
    last = max(s.ended or 0.0 for s in sales)
    assert last - length <= 2 * LONGEST_WAIT
    most = 2 * (1 + SYNC.task_retries) + length / SYNC.attempt_delay
    assert all(s.calls <= most for s in sales)
