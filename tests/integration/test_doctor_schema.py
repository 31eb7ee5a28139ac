"""`dqg doctor` on document tables as they are: columns, triggers, foreign statuses, indexes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Engine, text, update

from deployments.cli.doctor import schema
from deployments.cli.doctor.findings import DoctorContext, Finding, Verdict
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.tables import build_tables
from tests.support.documents import insert_document

pytestmark = pytest.mark.anyio

TABLES = build_tables(SourceSettings())


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    engine = create_source_engine(migrated_url, SourceSettings())
    yield engine
    engine.dispose()


def _change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


async def _check(
    engine: Engine, check: Callable[[DoctorContext], Awaitable[Sequence[Finding]]]
) -> Sequence[Finding]:
    async with AsyncExitStack() as closing:
        context = DoctorContext(closing)
        context.engine, context.tables = engine, TABLES
        return await check(context)


async def test_the_standard_tables_are_all_right(engine: Engine) -> None:
    for check in (schema.check_columns, schema.check_triggers, schema.check_statuses):
        (found,) = await _check(engine, check)
        assert found.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("change", "what", "todo"),
    [
        (
            'ALTER TABLE "SalesInvoices" DROP COLUMN customer_name',
            "SalesInvoices.customer_name does not exist",
            "DQG_SOURCE__COLUMNS",
        ),
        (
            'ALTER TABLE "AccountShop" DROP COLUMN account CASCADE',
            "AccountShop.account does not exist",
            "DQG_SOURCE__COLUMNS",
        ),
        (
            'ALTER TABLE "GoodsIssueSlips" ALTER status TYPE integer USING 0',
            "GoodsIssueSlips.status is INTEGER, which cannot be used as VARCHAR(20)",
            "Tables of another shape",
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER id TYPE varchar(20)',
            "SalesInvoices.id is VARCHAR(20)",
            "Tables of another shape",
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER status TYPE varchar(12)',
            "SalesInvoices.status is VARCHAR(12), too short",
            'ALTER TABLE "SalesInvoices" ALTER COLUMN status TYPE VARCHAR(20)',
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER status TYPE char(20)',
            "SalesInvoices.status is CHAR(20): each value has trailing blanks",
            'ALTER TABLE "SalesInvoices" ALTER COLUMN status TYPE VARCHAR(20)',
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER national_invoice_id TYPE varchar(50)',
            "SalesInvoices.national_invoice_id is VARCHAR(50), too short",
            "TYPE VARCHAR(100)",
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER shop_pharmacy_code DROP NOT NULL',
            "SalesInvoices.shop_pharmacy_code allows NULL",
            'ALTER TABLE "SalesInvoices" ALTER COLUMN shop_pharmacy_code SET NOT NULL',
        ),
        (
            'ALTER TABLE "SalesInvoices" ALTER national_invoice_id SET NOT NULL',
            "SalesInvoices.national_invoice_id does not allow NULL",
            "DROP NOT NULL",
        ),
        (
            'ALTER TABLE "PurchaseReceiptDetails" ALTER quantity TYPE double precision',
            "PurchaseReceiptDetails.quantity is",
            "Tables of another shape",
        ),
        (
            'ALTER TABLE "PurchaseReceipts" ALTER receipt_date TYPE varchar(30)',
            "PurchaseReceipts.receipt_date is VARCHAR(30)",
            "Tables of another shape",
        ),
    ],
)
async def test_a_column_that_does_not_fit_is_named_with_what_to_do(
    engine: Engine, change: str, what: str, todo: str
) -> None:
    _change(engine, 'DROP INDEX IF EXISTS "ix_dqg_due_SalesInvoices"')
    _change(engine, 'DROP INDEX IF EXISTS "ix_dqg_due_GoodsIssueSlips"')
    if "ALTER id" in change:
        _change(
            engine,
            'ALTER TABLE "SalesInvoiceDetails" DROP CONSTRAINT IF EXISTS '
            '"SalesInvoiceDetails_sales_invoice_id_fkey"',
            *_drop_foreign_keys(engine),
            'ALTER TABLE "SalesInvoices" ALTER id DROP IDENTITY IF EXISTS',
            'ALTER TABLE "SalesInvoices" ALTER id DROP DEFAULT',
        )
    _change(engine, change)
    (found,) = await _check(engine, schema.check_columns)
    assert found.verdict is Verdict.FAULT
    assert what in found.what
    assert todo in found.todo


def _drop_foreign_keys(engine: Engine) -> list[str]:
    query = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f'"
    with engine.connect() as connection:
        return [
            f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'
            for table, name in connection.execute(text(query))
        ]


async def test_the_correction_that_is_named_corrects_it(engine: Engine) -> None:
    _change(
        engine,
        'ALTER TABLE "SalesInvoices" ALTER status TYPE char(20)',
        'ALTER TABLE "SalesInvoices" ALTER national_invoice_id TYPE varchar(50)',
        'ALTER TABLE "SalesInvoices" ALTER shop_pharmacy_code DROP NOT NULL',
    )
    found = await _check(engine, schema.check_columns)
    _change(engine, *(finding.todo for finding in found))
    (found_later,) = await _check(engine, schema.check_columns)
    assert found_later.verdict is Verdict.OK


async def test_a_missing_table_is_named(engine: Engine) -> None:
    _change(engine, 'DROP TABLE "SalesInvoiceDetails"')
    (found,) = await _check(engine, schema.check_columns)
    assert "there is no table SalesInvoiceDetails" in found.what


async def test_enabled_triggers_are_listed_and_disabled_ones_not(engine: Engine) -> None:
    _change(
        engine,
        "CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        'CREATE TRIGGER stock AFTER UPDATE ON "SalesInvoices" '
        "FOR EACH ROW EXECUTE FUNCTION note_change()",
        'CREATE TRIGGER old AFTER UPDATE ON "SalesInvoices" '
        "FOR EACH ROW EXECUTE FUNCTION note_change()",
        'ALTER TABLE "SalesInvoices" DISABLE TRIGGER old',
    )
    (found,) = await _check(engine, schema.check_triggers)
    assert found.verdict is Verdict.NOTE
    assert "trigger stock on SalesInvoices" in found.what


async def test_foreign_statuses_are_counted_with_the_update_that_sends_them(
    engine: Engine,
) -> None:
    ids = [insert_document(engine, TABLES, "sale", f"HD-{n}") for n in range(4)]
    header = TABLES.header(SALE)
    with engine.begin() as connection:
        for record_id, status in zip(
            ids, ("RETRYING", "RETRYING", "Đã hủy", "PENDING_SYNC"), strict=True
        ):
            change = update(header).where(header.c.id == record_id).values(status=status)
            connection.execute(change)
    found = await _check(engine, schema.check_statuses)
    assert [finding.verdict for finding in found] == [Verdict.NOTE, Verdict.NOTE]
    assert {finding.what for finding in found} == {
        "2 documents of sale have the status 'RETRYING' and are not processed",
        "1 document of sale has the status 'Đã hủy' and is not processed",
    }
    for finding in found:
        _change(engine, finding.todo.removeprefix("to send them: "))
    (found_later,) = await _check(engine, schema.check_statuses)
    assert found_later.verdict is Verdict.OK


async def test_pending_documents_that_another_sender_has_sent_are_counted(engine: Engine) -> None:
    insert_document(engine, TABLES, "sale", "HD-1", national_invoice_id="DQG-1")
    insert_document(engine, TABLES, "sale", "HD-2", national_invoice_id="")
    insert_document(engine, TABLES, "sale", "HD-3")
    (found,) = await _check(engine, schema.check_statuses)
    assert "1 pending document of sale already has a national id" in found.what


async def test_advised_indexes_can_be_made_as_they_are_named(engine: Engine) -> None:
    _change(engine, *_drop_indexes(engine))
    found = await _check(engine, schema.check_indexes)
    assert {finding.verdict for finding in found} == {Verdict.NOTE}
    assert len(found) == 9
    _change(engine, *(finding.todo for finding in found))
    (found_later,) = await _check(engine, schema.check_indexes)
    assert found_later.verdict is Verdict.OK


def _drop_indexes(engine: Engine) -> list[str]:
    query = (
        "SELECT indexrelid::regclass FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
        "WHERE NOT indisunique AND relnamespace = 'public'::regnamespace"
    )
    with engine.connect() as connection:
        return [f"DROP INDEX {name}" for name in connection.execute(text(query)).scalars()]
