"""The cut-off date: years of old documents are neither sent nor counted, and cost nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import Engine, func, insert, literal, select, text

from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.errors import BeforeCutOff
from lib.pipelines import PIPELINES, SALE, Pipeline
from lib.settings import SourceSettings
from lib.source.claim_statements import ClaimFilter, due_documents
from lib.source.engine import create_source_engine
from lib.source.store import open_source
from lib.source.tables import build_tables
from tests.support.documents import insert_document
from tests.support.system import System

CUT_OFF = date(2026, 11, 1)
OLD = datetime.fromisoformat("2026-10-31T23:59:59")
FIRST = datetime.fromisoformat("2026-11-01T00:00")
NEW = datetime.fromisoformat("2026-11-20T08:00")
LEASE = timedelta(minutes=5)
TABLES = build_tables(SourceSettings())


class Shop:
    """A database with a store that has a cut-off."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.store = open_source(engine, TABLES, cut_off=CUT_OFF)

    def add(
        self, local_id: str, dated: datetime, *, pipeline: Pipeline = SALE, shop: str = "SHOP01"
    ) -> int:
        return insert_document(
            self.engine,
            TABLES,
            pipeline.name,
            local_id,
            shop=shop,
            **{pipeline.date_column: dated},
        )

    def claim(self, pipeline: Pipeline = SALE, token: str = "token", limit: int = 99) -> list[str]:
        """Local ids of a claim, in its order."""
        claim = self.store.claims.claim(pipeline, token=token, limit=limit, lease=LEASE)
        return [document.local_id for document in claim.documents]


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Shop]:
    engine = create_source_engine(migrated_url, SourceSettings())
    with engine.begin() as connection:  # real installations have no unique key on codes
        connection.execute(
            text('ALTER TABLE "SalesInvoices" DROP CONSTRAINT "uq_SalesInvoices_code"')
        )
    yield Shop(engine)
    engine.dispose()


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_only_documents_from_the_cut_off_on_are_claimed(shop: Shop, pipeline: Pipeline) -> None:
    shop.add("NEW", NEW, pipeline=pipeline)
    shop.add("OLD", OLD, pipeline=pipeline)
    shop.add("FIRST", FIRST, pipeline=pipeline)
    assert shop.claim(pipeline) == ["FIRST", "NEW"]
    assert shop.claim(pipeline, token="another") == []


def test_old_documents_are_counted_apart(shop: Shop) -> None:
    shop.add("OLD-1", OLD)
    shop.add("OLD-2", OLD, shop="SHOP02")
    shop.add("NEW", NEW)
    (counts,) = shop.store.counts.summary([SALE])
    assert (counts.pending, counts.ready, counts.before_cut_off) == (1, 1, 2)
    by_shop = {
        s.shop: (s.pending, s.before_cut_off, s.oldest_pending_seconds is None)
        for s in shop.store.counts.shop_summaries([SALE], finished_within=timedelta(days=1))
    }
    assert by_shop == {"SHOP01": (1, 1, False), "SHOP02": (0, 1, True)}


def test_the_oldest_pending_document_is_one_that_will_be_sent(shop: Shop) -> None:
    shop.add("OLD", OLD)
    (counts,) = shop.store.counts.summary([SALE])
    assert counts.oldest_pending_seconds is None


def test_shops_with_nothing_but_old_documents_are_passed_over(shop: Shop) -> None:
    for code in ("SHOP01", "SHOP03"):
        shop.add(f"OLD-{code}", OLD, shop=code)
    shop.add("NEW", NEW, shop="SHOP02")
    shop.add("FIRST", FIRST, shop="SHOP04")
    assert [found.code for found in shop.store.counts.pending_shops(SALE)] == ["SHOP04", "SHOP02"]
    assert sorted(shop.claim()) == ["FIRST", "NEW"]


def test_an_old_row_of_the_same_code_does_not_hold_up_the_new_one(shop: Shop) -> None:
    old, new = shop.add("HD-1", OLD), shop.add("HD-1", NEW)
    claim = shop.store.claims.claim(SALE, token="token", limit=9, lease=LEASE)
    assert [document.record_id for document in claim.documents] == [new]
    assert shop.store.documents.get(SALE, [old])[0].claim_token is None


def test_an_old_row_that_is_being_sent_does(shop: Shop) -> None:
    shop.add("HD-1", OLD)
    shop.store.claims.claim_one(SALE, local_id="HD-1", token="person", lease=LEASE, force=True)
    shop.add("HD-1", NEW)
    assert shop.claim() == []


def test_a_person_sends_an_old_document_only_by_force(shop: Shop) -> None:
    shop.add("OLD", OLD)
    with pytest.raises(BeforeCutOff, match=r"'OLD'.*2026-11-01"):
        shop.store.claims.claim_one(SALE, local_id="OLD", token="person", lease=LEASE)
    shop.store.claims.claim_one(SALE, local_id="OLD", token="person", lease=LEASE, force=True)
    (counts,) = shop.store.counts.summary([SALE])
    assert (counts.in_flight, counts.before_cut_off) == (1, 0)


def test_the_oldest_by_their_own_date_come_first(shop: Shop) -> None:
    shop.add("B", NEW)
    shop.add("A", FIRST)
    assert shop.claim(limit=1) == ["A"]


def test_the_claim_begins_at_the_cut_off_in_the_index(shop: Shop) -> None:
    shop.add("NEW", NEW)
    old = shop.add("OLD", OLD)
    header = TABLES.header(SALE)
    copied = [c for c in header.c if c.key not in ("id", "local_invoice_id", "created_at")]
    number = func.generate_series(1, 3000).column_valued("number")
    copies = select(literal("X-") + number.cast(header.c.local_invoice_id.type), *copied).where(
        header.c.id == old + number % 1
    )
    due = due_documents(TABLES, SALE, "SHOP01", 100, ClaimFilter(CUT_OFF))
    with shop.engine.begin() as connection:
        connection.execute(insert(header).from_select(["local_invoice_id", *copied], copies))
    with shop.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        plan = "\n".join(
            connection.exec_driver_sql(
                "EXPLAIN " + str(due.compile(connection, compile_kwargs={"literal_binds": True}))
            ).scalars()
        )
    assert "ix_SalesInvoices_pending" in plan
    (condition,) = (line for line in plan.splitlines() if "Index Cond" in line and "SHOP01" in line)
    assert "sale_date >=" in condition


@pytest.mark.anyio
@pytest.mark.usefixtures("deployed")
@pytest.mark.settings(sync={"not_before": "2026-11-01"})
async def test_the_flows_keep_to_it(system: System) -> None:
    system.add("sale", "OLD", sale_date=OLD)
    system.add("sale", "NEW", sale_date=NEW)
    state = await orchestrate(return_state=True)
    assert state.message == "1 documents dispatched in 1 batches"
    assert system.document("sale", "OLD").claim_token is None

    refused: State[None] = await sale(local_invoice_id="OLD", return_state=True)
    assert refused.is_failed()
    assert "DQG_SYNC__NOT_BEFORE" in (refused.message or "")
    sent = await sale(local_invoice_id="OLD", force=True, return_state=True)
    assert sent.is_completed()
    assert Counter(system.statuses("sale").values()) == {"SYNC_SUCCESS": 1, "PENDING_SYNC": 1}
