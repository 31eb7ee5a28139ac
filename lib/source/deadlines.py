"""How many documents are late, or will be soon, by shop.

A document must be accepted by the end of its day, or within some hours after its date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Connection, case, cast, func, not_, or_, select

from lib.models import SyncStatus
from lib.pipelines import PHARMACY_ZONE, Pipeline
from lib.settings import AlertSettings
from lib.source.dialects import constant, local_in, skip_locked
from lib.source.rows import dated_from
from lib.source.tables import SourceTables

#: Documents entered within this time are still being sent, so they are not counted.
_ON_ITS_WAY_SECONDS = 1800
#: Documents that are late for longer are not counted: failures and the daily close show them.
LOOKBACK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class DeadlineBounds:
    """Bounds for dates of documents, in the pharmacies' local time, without a time zone.

    Attributes:
        oldest: documents dated earlier are left out.
        late: documents dated earlier are late.
        soon: documents dated from `late` until this will be late soon.
        at: the next deadline of these documents.
    """

    oldest: datetime
    late: datetime
    soon: datetime
    at: datetime


def bounds_of(pipeline: str, settings: AlertSettings, now: datetime) -> DeadlineBounds:
    """The bounds for one pipeline's documents at a given time. Pure."""
    local = now.astimezone(PHARMACY_ZONE).replace(tzinfo=None)
    warning = timedelta(hours=settings.deadline_warning_hours)
    hours = settings.deadline_hours.get(pipeline)
    today = datetime.combine(local, time.min)
    if hours is None:
        late, tomorrow = today, today + timedelta(days=1)
        soon = tomorrow if local >= tomorrow - warning else late
        at = tomorrow
    else:
        late = local - timedelta(hours=hours)
        soon, at = late + warning, local + warning
    return DeadlineBounds(late - LOOKBACK, late, soon, at)


@dataclass(frozen=True, slots=True)
class DeadlineCount:
    """Documents of one pipeline and shop that are not accepted.

    Attributes:
        late: their deadline has passed.
        soon: their deadline is near.
        failed: those of both kinds that need action.
    """

    pipeline: str
    shop: str
    late: int
    soon: int
    failed: int


def count_deadlines(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    cut_off: date | None,
    bounds: DeadlineBounds,
) -> list[DeadlineCount]:
    """Counts by shop; shops without such documents are left out. One statement."""
    header = tables.header(pipeline)
    dated = header.c[pipeline.date_column]

    def before(moment: datetime) -> ColumnElement[bool]:
        # Cast to the column's type, or an index could not be used.
        return dated < cast(moment, dated.type)

    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((condition, 1)))

    failed = header.c.status == constant(SyncStatus.FAILED)
    query = (
        select(
            header.c.shop_pharmacy_code,
            number(before(bounds.late)),
            number(not_(before(bounds.late))),
            number(failed),
        )
        .where(
            header.c.status.in_([constant(SyncStatus.PENDING), constant(SyncStatus.FAILED)]),
            dated_from(header, pipeline, cut_off),
            not_(before(bounds.oldest)),
            before(bounds.soon),
            or_(
                header.c.created_at.is_(None),
                header.c.created_at <= local_in(-_ON_ITS_WAY_SECONDS),
            ),
        )
        .group_by(header.c.shop_pharmacy_code)
    )
    rows = connection.execute(skip_locked(query, header)).tuples()
    return [
        DeadlineCount(pipeline.name, (shop or "").strip(), late, soon, failures)
        for shop, late, soon, failures in rows
    ]
