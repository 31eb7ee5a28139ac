"""Number of documents in each state, by pipeline and by shop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache, partial
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    distinct,
    func,
    or_,
    select,
    true,
)

from lib.models import (
    FinishedCount,
    PipelineSummary,
    SyncStatus,
    comparable,
)
from lib.pipelines import Pipeline
from lib.source.deadlines import DeadlineBounds, DeadlineCount, count_deadlines
from lib.source.dialects import (
    age_in_seconds,
    constant,
    local_in,
    local_midnight,
    skip_locked,
    utc_now,
)
from lib.source.documents import PendingShop, pending_shops
from lib.source.inspection import ForeignStatus, foreign_statuses
from lib.source.rows import (
    belongs,
    crashes_of,
    dated_from,
    is_free,
    is_live,
    is_pending,
    is_taken_or_waiting,
    with_delivery,
    without,
)
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions


@dataclass(frozen=True, slots=True)
class ShopSummary:
    """Counts of one pipeline and shop at one moment; fields as in `PipelineSummary`.

    Attributes:
        pharmacy_codes: facilities the counted documents belong to.
    """

    pipeline: str
    shop: str
    pharmacy_codes: frozenset[str] = frozenset()
    pending: int = 0
    in_flight: int = 0
    unconfirmed: int = 0
    succeeded: int = 0
    failed: int = 0
    oldest_pending_seconds: float | None = None
    before_cut_off: int = 0


class Counts:
    """Counts and lists of shops, for planning and for people. No query waits for other software.

    Args:
        cut_off: documents dated earlier are counted separately.
    """

    def __init__(
        self, transactions: Transactions, tables: SourceTables, cut_off: date | None
    ) -> None:
        self._run = transactions.run
        self._tables = tables
        self._cut_off = cut_off
        # Executed every two seconds: building the statement costs more than executing it.
        self._due_statement = cache(partial(due_statement, tables, cut_off=cut_off))

    def due(self, pipelines: Sequence[Pipeline], at_most: int) -> dict[str, int]:
        """How many documents of each pipeline may be claimed now, counted up to `at_most`.

        One statement per pipeline. It reads at most that many index entries, and those of the
        documents that are held or wait for their next attempt.
        """
        statements = {p.name: self._due_statement(p, at_most=at_most) for p in pipelines}
        return self._run(
            lambda c: {name: c.execute(query).scalar_one() for name, query in statements.items()}
        )

    def batches(self, pipeline: Pipeline) -> int:
        """Number of live claims with pending documents. Reads only the documents that are held."""
        statement = batches_statement(self._tables, pipeline)
        count: int = self._run(lambda c: c.execute(statement).scalar_one())
        return count

    def summary(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[PipelineSummary]:
        """Counts by pipeline; two statements per pipeline.

        Args:
            finished_within: count only documents accepted or failed within this time; without it,
                every document in the table is scanned.
        """
        return self._run(lambda c: [self._summary(c, p, finished_within) for p in pipelines])

    def finished(
        self, pipelines: Sequence[Pipeline], within: timedelta
    ) -> dict[str, FinishedCount]:
        """Finished documents of a period, by pipeline and outcome; one statement per pipeline."""
        return self._run(lambda c: {p.name: self._finished(c, p, within) for p in pipelines})

    def shop_summaries(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[ShopSummary]:
        """Counts by pipeline and shop, for a person; two statements per pipeline.

        Args:
            finished_within: count only documents accepted or failed within this time; by default
                those of today. A shop with nothing to count is left out.
        """
        return self._run(
            lambda c: [
                shop for p in pipelines for shop in self._shop_summaries(c, p, finished_within)
            ]
        )

    def pending_shops(self, pipeline: Pipeline) -> list[PendingShop]:
        """Shops with pending documents that are not held, due or waiting; oldest first."""
        return self._run(lambda c: pending_shops(c, self._tables, pipeline, self._cut_off))

    def deadlines(self, bounds: Sequence[tuple[Pipeline, DeadlineBounds]]) -> list[DeadlineCount]:
        """Late and soon late documents, by pipeline and shop; one statement per pipeline."""
        return self._run(
            lambda c: [
                count
                for pipeline, of_pipeline in bounds
                for count in count_deadlines(c, self._tables, pipeline, self._cut_off, of_pipeline)
            ]
        )

    def foreign_statuses(self, pipelines: Sequence[Pipeline]) -> list[ForeignStatus]:
        """Statuses of other software, which are left as they are; reads all documents' statuses."""
        return self._run(lambda c: foreign_statuses(c, self._tables, pipelines))

    def _summary(
        self, connection: Connection, pipeline: Pipeline, finished_within: timedelta | None
    ) -> PipelineSummary:
        ends = self._finished(connection, pipeline, finished_within)
        row = connection.execute(pending_statement(self._tables, pipeline, self._cut_off)).one()
        return PipelineSummary(
            pipeline.name,
            pending=row.due,
            waiting=row.waiting,
            in_flight=row.held,
            batches=row.batches,
            unconfirmed=row.unconfirmed,
            succeeded=ends.succeeded,
            failed=ends.failed,
            oldest_pending_seconds=None if row.oldest is None else float(row.oldest),
            before_cut_off=row.free - row.due,
            suspects=(row.crashed_once, row.crashed_twice, row.crashed_often),
        )

    def _finished(
        self, connection: Connection, pipeline: Pipeline, within: timedelta | None
    ) -> FinishedCount:
        rows = connection.execute(finished_statement(self._tables, pipeline, within)).tuples()
        ends = {SyncStatus.read(status): count for status, count in rows}
        return FinishedCount(ends.get(SyncStatus.SUCCESS, 0), ends.get(SyncStatus.FAILED, 0))

    def _shop_summaries(
        self, connection: Connection, pipeline: Pipeline, finished_within: timedelta | None
    ) -> list[ShopSummary]:
        header = self._tables.header(pipeline)
        place = (header.c.shop_pharmacy_code, header.c.pharmacy_code)
        found: dict[str, ShopSummary] = {}

        def shop_of(code: str | None) -> ShopSummary:
            return found.get(comparable(code)) or ShopSummary(pipeline.name, (code or "").strip())

        statement = pending_statement(self._tables, pipeline, self._cut_off, *place)
        for row in connection.execute(statement):
            known = shop_of(row[0])
            found[comparable(row[0])] = replace(
                known,
                pharmacy_codes=known.pharmacy_codes | {(row[1] or "").strip()},
                pending=known.pending + row.due,
                in_flight=known.in_flight + row.held,
                unconfirmed=known.unconfirmed + row.unconfirmed,
                oldest_pending_seconds=(
                    known.oldest_pending_seconds
                    if row.oldest is None
                    else max(known.oldest_pending_seconds or 0.0, float(row.oldest))
                ),
                before_cut_off=known.before_cut_off + row.free - row.due,
            )
        statement = finished_statement(
            self._tables, pipeline, finished_within, *place, today=finished_within is None
        )
        for shop, pharmacy, status, count in connection.execute(statement):
            known = shop_of(shop)
            good = SyncStatus.read(status) == SyncStatus.SUCCESS
            found[comparable(shop)] = replace(
                known,
                pharmacy_codes=known.pharmacy_codes | {(pharmacy or "").strip()},
                succeeded=known.succeeded + count * good,
                failed=known.failed + count * (not good),
            )
        return sorted(found.values(), key=lambda shop: shop.shop)


def due_statement(
    tables: SourceTables, pipeline: Pipeline, cut_off: date | None, at_most: int
) -> Select[Any]:
    """Counts up to `at_most` documents that may be claimed now."""
    header = tables.header(pipeline)
    due = skip_locked(
        select(header.c.id)
        .where(
            is_pending(header),
            # A document without a shop is never claimed.
            header.c.shop_pharmacy_code.is_not(None),
            dated_from(header, pipeline, cut_off),
            without(tables, header, pipeline, is_taken_or_waiting),
        )
        .limit(at_most),
        header,
    )
    return select(func.count()).select_from(due.subquery())


def batches_statement(tables: SourceTables, pipeline: Pipeline) -> Select[Any]:
    """Counts the live claims of pending documents."""
    header, delivery = tables.header(pipeline), tables.delivery
    query = (
        select(func.count(distinct(delivery.c.claim_token)))
        .select_from(delivery.join(header, header.c.id == delivery.c.record_id))
        .where(belongs(delivery, pipeline), is_live(delivery), is_pending(header))
    )
    return skip_locked(query, header, delivery)


def pending_statement(
    tables: SourceTables, pipeline: Pipeline, cut_off: date | None, *by: Column[Any]
) -> Select[Any]:
    """Counts of pending documents, grouped by columns of the header or in total."""
    header, delivery = tables.header(pipeline), tables.delivery
    live = is_live(delivery)
    free = is_free(delivery)
    due = and_(free, dated_from(header, pipeline, cut_off))
    waiting = and_(due, delivery.c.next_attempt_at > utc_now())
    ready = and_(
        due, or_(delivery.c.next_attempt_at.is_(None), delivery.c.next_attempt_at <= utc_now())
    )
    crashes = crashes_of(delivery)
    created: ColumnElement[Any] = header.c.created_at
    if cut_off is not None:
        created = case((dated_from(header, pipeline, cut_off), created))
    query = (
        select(
            *by,
            _count(free).label("free"),
            _count(due).label("due"),
            _count(waiting).label("waiting"),
            _count(and_(ready, crashes == 1)).label("crashed_once"),
            _count(and_(ready, crashes == 2)).label("crashed_twice"),
            _count(and_(ready, crashes > 2)).label("crashed_often"),
            _count(live).label("held"),
            func.count(distinct(case((live, delivery.c.claim_token)))).label("batches"),
            # Not IS TRUE, which SQL Server does not have.
            _count(delivery.c.unconfirmed == true()).label("unconfirmed"),
            age_in_seconds(func.min(created)).label("oldest"),
        )
        .select_from(with_delivery(tables, header, pipeline))
        .where(is_pending(header))
        .group_by(*by)
    )
    return skip_locked(query, header, delivery)


def finished_statement(
    tables: SourceTables,
    pipeline: Pipeline,
    within: timedelta | None,
    *by: Column[Any],
    today: bool = False,
) -> Select[Any]:
    """Number of finished documents by status: within some time, of today, or all."""
    header = tables.header(pipeline)
    query = (
        select(*by, header.c.status, func.count())
        .where(header.c.status.in_([constant(SyncStatus.SUCCESS), constant(SyncStatus.FAILED)]))
        .group_by(*by, header.c.status)
    )
    if today:
        query = query.where(header.c.updated_at >= local_midnight())
    elif within is not None:
        query = query.where(header.c.updated_at >= local_in(-within.total_seconds()))
    return skip_locked(query, header)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))
