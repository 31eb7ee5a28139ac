"""How many documents are in which state, by pipeline and by shop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    distinct,
    func,
    select,
    true,
)

from lib.models import (
    FinishedCount,
    PipelineSummary,
    SyncStatus,
)
from lib.pipelines import Pipeline
from lib.source.dialects import (
    age_in_seconds,
    local_in,
    local_midnight,
    utc_now,
)
from lib.source.inspection import ForeignStatus, foreign_statuses
from lib.source.rows import (
    dated_from,
    is_free,
    is_live,
    is_pending,
)
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions


@dataclass(frozen=True, slots=True)
class PendingShop:
    """A shop with documents that nobody holds.

    Attributes:
        pharmacy_code, oldest: of its oldest such document, and that document's own date.
    """

    code: str
    pharmacy_code: str
    oldest: datetime


@dataclass(frozen=True, slots=True)
class ShopSummary:
    """Counts of one pipeline and shop at one moment; as in `PipelineSummary`.

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
    """Counts and lists of shops, for planning and for people."""

    def __init__(
        self, transactions: Transactions, tables: SourceTables, cut_off: date | None
    ) -> None:
        self._run = transactions.run
        self._tables = tables
        self._cut_off = cut_off

    def summary(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[PipelineSummary]:
        """Counts of each pipeline; two statements each.

        Args:
            finished_within: count accepted and failed documents of this long only; all of them
                is a scan of every document there ever was.
        """
        return self._run(
            lambda c: [
                _summary(c, self._tables, p, finished_within, self._cut_off) for p in pipelines
            ]
        )

    def finished(
        self, pipelines: Sequence[Pipeline], within: timedelta
    ) -> dict[str, FinishedCount]:
        """How many documents of each pipeline ended how, in so long; one statement each."""
        return self._run(
            lambda c: {p.name: _finished(c, self._tables.header(p), within) for p in pipelines}
        )

    def foreign_statuses(self, pipelines: Sequence[Pipeline]) -> list[ForeignStatus]:
        """Statuses of other software, which are left alone; reads the statuses of all documents."""
        return self._run(lambda c: foreign_statuses(c, self._tables, pipelines))

    def shop_summaries(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[ShopSummary]:
        """Counts of each pipeline by shop, for a person; two statements each.

        Args:
            finished_within: count accepted and failed documents of this long only; by default
                those of today.
        """
        return self._run(
            lambda c: [
                shop
                for p in pipelines
                for shop in _shop_summaries(c, self._tables, p, finished_within, self._cut_off)
            ]
        )

    def pending_shops(self, pipeline: Pipeline) -> list[PendingShop]:
        """Shops with pending documents that nobody holds, due or waiting; oldest first."""
        header = self._tables.header(pipeline)
        return self._run(lambda c: pending_shops(c, header, pipeline, self._cut_off))


def pending_shops(
    connection: Connection, header: Table, pipeline: Pipeline, cut_off: date | None = None
) -> list[PendingShop]:
    """Shops with pending documents that nobody holds, the one with the oldest document first.

    Goes from shop to shop by an index seek each, two with a cut-off, however many documents there
    are on either side of it.
    """
    shop, dated = header.c.shop_pharmacy_code, header.c[pipeline.date_column]
    oldest = (
        select(shop, header.c.pharmacy_code, dated)
        .where(is_pending(header), is_free(header), dated_from(header, pipeline, cut_off))
        .order_by(shop, dated, header.c.created_at, header.c.id)
        .limit(1)
    )
    found: list[PendingShop] = []
    last: str | None = None
    while True:
        place: ColumnElement[bool] = true() if last is None else shop > last
        if cut_off is not None:
            # The shop first: looked for by date at once, each old document would be passed.
            after = select(func.min(shop)).where(is_pending(header), place)
            last = connection.execute(after).scalar_one()
            if last is None:
                break
            place = shop == last
        row = connection.execute(oldest.where(place)).one_or_none()
        if row is not None:
            found.append(PendingShop(*row))
            last = found[-1].code
        elif cut_off is None:
            break
    return sorted(found, key=lambda shop: shop.oldest)


def _summary(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    finished_within: timedelta | None,
    cut_off: date | None = None,
) -> PipelineSummary:
    header = tables.header(pipeline)
    free, live = is_free(header), is_live(header)
    due = and_(free, dated_from(header, pipeline, cut_off))
    row = connection.execute(
        select(
            _count(free),
            _count(due),
            _count(and_(due, header.c.sync_next_attempt_at > utc_now())),
            _count(live),
            func.count(distinct(case((live, header.c.sync_claim_token)))),
            _count(header.c.sync_unconfirmed == True),  # noqa: E712 - SQL Server has no IS TRUE
            _oldest(header, pipeline, cut_off),
        ).where(is_pending(header))
    ).one()
    free_count, pending_count, waiting, held, batches, unconfirmed, oldest = row
    ends = _finished(connection, header, finished_within)
    return PipelineSummary(
        pipeline.name,
        pending=pending_count,
        waiting=waiting,
        in_flight=held,
        batches=batches,
        unconfirmed=unconfirmed,
        succeeded=ends.succeeded,
        failed=ends.failed,
        oldest_pending_seconds=None if oldest is None else float(oldest),
        before_cut_off=free_count - pending_count,
    )


def _finished(connection: Connection, header: Table, within: timedelta | None) -> FinishedCount:
    query = (
        select(header.c.status, func.count())
        .where(header.c.status.in_([SyncStatus.SUCCESS.value, SyncStatus.FAILED.value]))
        .group_by(header.c.status)
    )
    if within is not None:
        query = query.where(header.c.updated_at >= local_in(-within.total_seconds()))
    ends: dict[str, int] = dict(connection.execute(query).tuples().all())
    return FinishedCount(
        ends.get(SyncStatus.SUCCESS.value, 0), ends.get(SyncStatus.FAILED.value, 0)
    )


def _shop_summaries(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    finished_within: timedelta | None,
    cut_off: date | None = None,
) -> list[ShopSummary]:
    header = tables.header(pipeline)
    place = (header.c.shop_pharmacy_code, header.c.pharmacy_code)
    found: dict[str, ShopSummary] = {}

    def shop_of(code: str) -> ShopSummary:
        return found.get(code) or ShopSummary(pipeline.name, code)

    for shop, pharmacy, free, due, held, unconfirmed, oldest in connection.execute(
        select(
            *place,
            _count(is_free(header)),
            _count(and_(is_free(header), dated_from(header, pipeline, cut_off))),
            _count(is_live(header)),
            _count(header.c.sync_unconfirmed == True),  # noqa: E712 - SQL Server has no IS TRUE
            _oldest(header, pipeline, cut_off),
        )
        .where(is_pending(header))
        .group_by(*place)
    ):
        known = shop_of(shop)
        found[shop] = replace(
            known,
            pharmacy_codes=known.pharmacy_codes | {pharmacy},
            pending=known.pending + due,
            in_flight=known.in_flight + held,
            unconfirmed=known.unconfirmed + unconfirmed,
            oldest_pending_seconds=(
                known.oldest_pending_seconds
                if oldest is None
                else max(known.oldest_pending_seconds or 0.0, float(oldest))
            ),
            before_cut_off=known.before_cut_off + free - due,
        )
    succeeded = _count(header.c.status == SyncStatus.SUCCESS.value)
    for shop, pharmacy, good, all_ended in connection.execute(
        select(*place, succeeded, func.count())
        .where(
            header.c.status.in_([SyncStatus.SUCCESS.value, SyncStatus.FAILED.value]),
            header.c.updated_at
            >= (
                local_midnight()
                if finished_within is None
                else local_in(-finished_within.total_seconds())
            ),
        )
        .group_by(*place)
    ):
        known = shop_of(shop)
        found[shop] = replace(
            known,
            pharmacy_codes=known.pharmacy_codes | {pharmacy},
            succeeded=known.succeeded + good,
            failed=known.failed + all_ended - good,
        )
    return [found[shop] for shop in sorted(found)]


def _oldest(header: Table, pipeline: Pipeline, cut_off: date | None) -> ColumnElement[Any]:
    """Age of the oldest pending document that the cut-off lets through."""
    created: ColumnElement[Any] = header.c.created_at
    if cut_off is not None:
        created = case((dated_from(header, pipeline, cut_off), created))
    return age_in_seconds(func.min(created))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))
