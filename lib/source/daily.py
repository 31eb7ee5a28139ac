"""The documents of a range of days in the source database. Nothing here changes a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, func, select, true

from lib.models import DocumentRef, comparable
from lib.pipelines import Pipeline
from lib.source.rows import (
    changed_after_acceptance,
    flag,
    is_live,
    read_rows,
    ref_columns,
    to_ref,
    with_delivery,
)
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class DailyDocument:
    """A document with its own date. Its status is the row's text, one of ours or not.

    Attributes:
        day: its own date.
        live: a run holds it.
        lines, amount: number and total amount of its detail rows.
        touched: it is accepted, and its row was written after that.
    """

    ref: DocumentRef
    day: date
    status: str
    national_id: str | None
    message: str | None
    live: bool
    unconfirmed: bool
    lines: int
    amount: Decimal
    touched: bool = False


class DailyDocuments:
    """Documents by their own date."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def documents_of_days(
        self, pipeline: Pipeline, first: date, last: date, shop: str | None = None
    ) -> list[DailyDocument]:
        """Documents whose own date is one of these days, with number and total of their lines.

        Two statements.

        Args:
            shop: only the shop with this code; case and surrounding blanks are ignored.
        """
        wanted = DailyFilter(first, last, shop)
        return self._run(lambda c: _documents_of_days(c, self._tables, pipeline, wanted))


@dataclass(frozen=True, slots=True)
class DailyFilter:
    """Which documents to read; the day `last` is included."""

    first: date
    last: date
    shop: str | None = None

    def condition(self, header: Table, pipeline: Pipeline) -> ColumnElement[bool]:
        # A range, not a conversion of the column, so that an index on it can be used.
        column: Column[datetime] = header.c[pipeline.date_column]
        begin = datetime.combine(self.first, time.min)
        end = datetime.combine(self.last, time.min) + timedelta(days=1)
        conditions = [column >= begin, column < end]
        if self.shop is not None:
            code = func.lower(func.ltrim(func.rtrim(header.c.shop_pharmacy_code)))
            conditions.append(code == comparable(self.shop))
        return and_(*conditions)


def _documents_of_days(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, wanted: DailyFilter
) -> list[DailyDocument]:
    lines = {
        record_id: (count, amount)
        for record_id, count, amount in connection.execute(
            lines_statement(tables, pipeline, wanted)
        )
    }
    return [
        _to_document(pipeline, row, lines, wanted.first)
        for row in read_rows(
            connection, documents_statement(tables, pipeline, wanted), tables.header(pipeline).c.id
        )
    ]


def documents_statement(
    tables: SourceTables, pipeline: Pipeline, wanted: DailyFilter
) -> Select[Any]:
    """Selects what a `DailyDocument` needs, except its lines."""
    header = tables.header(pipeline)
    return (
        select(
            *ref_columns(header, pipeline),
            header.c[pipeline.date_column],
            header.c.status,
            tables.national_id(pipeline),
            header.c.sync_response_message,
            flag(is_live(tables.delivery)).label("live"),
            flag(tables.delivery.c.unconfirmed == true()).label("unconfirmed"),
            flag(changed_after_acceptance(header, tables.delivery)).label("touched"),
        )
        .select_from(with_delivery(tables, header, pipeline))
        .where(wanted.condition(header, pipeline))
        .order_by(header.c.id)
    )


def lines_statement(tables: SourceTables, pipeline: Pipeline, wanted: DailyFilter) -> Select[Any]:
    """Selects number and amount of the lines by header id."""
    header, details = tables.header(pipeline), tables.details(pipeline)
    foreign_key = tables.foreign_key(pipeline)
    return (
        select(foreign_key, func.count(), func.sum(_amount(details)))
        .select_from(details.join(header, foreign_key == header.c.id))
        .where(wanted.condition(header, pipeline))
        .group_by(foreign_key)
    )


def _amount(details: Table) -> ColumnElement[Any]:
    if "line_total" in details.c:
        return details.c.line_total
    return details.c.quantity * func.coalesce(details.c.unit_price, 0)


def _to_document(
    pipeline: Pipeline, row: Any, lines: dict[int, tuple[int, Decimal | None]], first: date
) -> DailyDocument:
    ref = to_ref(pipeline, row)
    moment, status, national_id, message, live, unconfirmed, touched = row[4:]
    count, amount = lines.get(ref.record_id, (0, None))
    return DailyDocument(
        ref=ref,
        # A date that the driver cannot read is still within the range.
        day=moment.date() if isinstance(moment, datetime) else first,
        status=(status or "").strip(),
        national_id=(national_id or "").strip() or None,
        message=message,
        live=bool(live),
        unconfirmed=bool(unconfirmed),
        lines=count,
        amount=Decimal(amount or 0).quantize(_CENT),
        touched=bool(touched),
    )
