"""Header rows joined with our delivery rows, and named conditions on both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import True_

from lib.models import (
    CRASHES_COUNT_FOR,
    Delivery,
    DocumentRef,
    OutcomeKind,
    StoredDocument,
    SyncStatus,
    Unreadable,
)
from lib.pipelines import Pipeline
from lib.source.dialects import (
    age_in_seconds,
    constant,
    seconds_until,
    skip_locked,
    utc_in,
    utc_now,
)
from lib.source.tables import PLATFORM, SourceTables
from lib.source.transactions import Fault, classify

#: Seconds within which we write both rows of a document; on SQL Server ages are whole seconds.
_OWN_WRITE = 2

#: Errors raised for a value that the driver cannot convert to Python.
_READ_ERRORS = (DBAPIError, ValueError, OverflowError)


def is_pending(header: FromClause) -> ColumnElement[bool]:
    """The status is PENDING_SYNC, written so that a filtered index can be used."""
    return header.c.status == constant(SyncStatus.PENDING)


def belongs(delivery: FromClause, pipeline: Pipeline) -> ColumnElement[bool]:
    """The delivery row belongs to this pipeline and platform."""
    return and_(delivery.c.platform == PLATFORM, delivery.c.pipeline == pipeline.name)


def is_live(delivery: FromClause) -> ColumnElement[bool]:
    """The document is held, and the lease has not run out."""
    return and_(delivery.c.claim_token.is_not(None), delivery.c.lease_expires_at > utc_now())


def is_free(delivery: FromClause) -> ColumnElement[bool]:
    """The document is not held, or its holder's lease has run out."""
    return or_(delivery.c.claim_token.is_(None), delivery.c.lease_expires_at <= utc_now())


def is_due(delivery: FromClause) -> ColumnElement[bool]:
    """May be claimed: its next attempt is due, and its last call cannot be in progress."""
    c, now = delivery.c, utc_now()
    return and_(
        or_(c.next_attempt_at.is_(None), c.next_attempt_at <= now),
        or_(c.settles_at.is_(None), c.settles_at <= now),
    )


def is_taken_or_waiting(delivery: FromClause) -> ColumnElement[bool]:
    """The document is held, or not due yet."""
    return or_(is_live(delivery), ~is_due(delivery))


def was_put_back(delivery: FromClause) -> ColumnElement[bool]:
    """The document was claimed before, and put back for later."""
    return delivery.c.next_attempt_at.is_not(None)


def changed_after_acceptance(header: FromClause, delivery: FromClause) -> ColumnElement[bool]:
    """The document is accepted, the accepted content is known, and its row was written later."""
    return and_(
        header.c.status == SyncStatus.SUCCESS.value,
        delivery.c.state == OutcomeKind.ACCEPTED.value,
        delivery.c.payload_digest.is_not(None),
        # Ages, because the pharmacy's times are local and ours are UTC.
        age_in_seconds(header.c.updated_at) + _OWN_WRITE < -seconds_until(delivery.c.settled_at),
    )


def without(
    tables: SourceTables,
    header: FromClause,
    pipeline: Pipeline,
    condition: Callable[[FromClause], ColumnElement[bool]],
) -> ColumnElement[bool]:
    """The header's delivery row is missing or does not meet the condition."""
    delivery = tables.delivery.alias("d")
    query = select(literal(1)).where(
        belongs(delivery, pipeline), delivery.c.record_id == header.c.id, condition(delivery)
    )
    return ~exists(skip_locked(query, delivery))


def with_delivery(tables: SourceTables, header: Table, pipeline: Pipeline) -> FromClause:
    """Headers, each with its delivery row, if it has one."""
    delivery = tables.delivery
    return header.outerjoin(
        delivery, and_(belongs(delivery, pipeline), delivery.c.record_id == header.c.id)
    )


def flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 if the condition is true, else 0: in SQL Server a condition is not a value."""
    if isinstance(condition, True_):
        # SQL Server has no constant for "true" either: "CASE WHEN 1" is a syntax error there.
        return literal_column("1", Integer)
    return case((condition, 1), else_=0)


def crashes_of(delivery: FromClause) -> ColumnElement[int]:
    """Holders that vanished with the document, including one whose lease has just run out."""
    return func.coalesce(delivery.c.crashes, 0) + flag(and_(was_begun(delivery), is_free(delivery)))


def was_begun(delivery: FromClause) -> ColumnElement[bool]:
    """A holder has begun with the document and has not ended.

    A holder that never began (no worker, or its process could not start) shows nothing about the
    document: it has not read it.
    """
    return and_(delivery.c.claim_token.is_not(None), delivery.c.begun == true())


def after_vanished(delivery: FromClause) -> dict[Any, ColumnElement[Any]]:
    """Changes to documents whose holder has vanished, if it had begun with them.

    The holder may have sent them, and one of them may have crashed it. Old crashes are no longer
    counted.
    """
    begun, c = was_begun(delivery), delivery.c
    forgotten = c.crashed_at < utc_in(-CRASHES_COUNT_FOR.total_seconds())
    return {
        c.unconfirmed: case((begun, true()), else_=c.unconfirmed),
        c.crashes: case((and_(begun, forgotten), 1), (begun, c.crashes + 1), else_=c.crashes),
        c.crashed_at: case((begun, utc_now()), else_=c.crashed_at),
    }


def dated_from(header: FromClause, pipeline: Pipeline, cut_off: date | None) -> ColumnElement[bool]:
    """The document's own date is not before the cut-off; always true without a cut-off."""
    if cut_off is None:
        return true()
    column = header.c[pipeline.date_column]
    # Cast to the column's type: with a more precise parameter SQL Server could not seek.
    return column >= cast(datetime.combine(cut_off, time.min), column.type)


def ref_columns(header: FromClause, pipeline: Pipeline) -> list[ColumnElement[Any]]:
    """Columns of a `DocumentRef`, in its order."""
    return [
        header.c.id,
        header.c[pipeline.local_id_column],
        header.c.pharmacy_code,
        header.c.shop_pharmacy_code,
    ]


def to_ref(pipeline: Pipeline, row: Sequence[Any]) -> DocumentRef:
    """The reference in a row that begins with `ref_columns`."""
    record_id, *texts = row[:4]
    local_id, pharmacy_code, shop = (
        f"({text.reason})" if isinstance(text, Unreadable) else (text or "").rstrip()
        for text in texts
    )
    return DocumentRef(pipeline.name, record_id, local_id, pharmacy_code, shop)


def stored_columns(
    tables: SourceTables, header: Table, pipeline: Pipeline
) -> list[ColumnElement[Any]]:
    """Columns that `to_stored` takes."""
    delivery = tables.delivery
    return [
        *ref_columns(header, pipeline),
        header.c.status,
        header.c[pipeline.national_id_column],
        header.c.sync_response_message,
        header.c.created_at,
        delivery.c.message.label("last_message"),
        delivery.c.claim_token,
        delivery.c.lease_expires_at,
        flag(is_live(delivery)).label("live"),
        delivery.c.attempts,
        delivery.c.next_attempt_at,
        func.coalesce(flag(delivery.c.unconfirmed == true()), 0).label("unconfirmed"),
        *delivery_columns(delivery),
    ]


def to_stored(pipeline: Pipeline, row: Sequence[Any]) -> StoredDocument:
    """A document from a row of `stored_columns`."""
    status, national_id, message, created, last_message = map(_readable, row[4:9])
    token, lease, live, attempts, next_at, unconfirmed, *rest = row[9:]
    known = SyncStatus.read(status)
    return StoredDocument(
        ref=to_ref(pipeline, row),
        status=known,
        national_id=(national_id or "").strip() or None,
        message=(last_message or message) if known == SyncStatus.PENDING else message,
        claim_token=token,
        lease_expires_at=to_utc(lease),
        lease_live=bool(live),
        attempts=attempts or 0,
        next_attempt_at=to_utc(next_at),
        unconfirmed=bool(unconfirmed),
        created_at=created,
        delivery=to_delivery(rest),
    )


def delivery_columns(delivery: FromClause) -> list[ColumnElement[Any]]:
    """Columns of a `Delivery`, in its order; the national id gets a name that headers lack."""
    c = delivery.c
    return [
        c.crashes,
        c.crashed_at,
        c.state,
        c.national_id.label("delivered_as"),
        c.payload_digest,
        c.settled_at,
        c.sent_digest,
        seconds_until(c.settles_at).label("unsettled"),
    ]


def to_delivery(values: Sequence[Any]) -> Delivery:
    """A `Delivery` from the values of `delivery_columns`; all are None if there is no row."""
    crashes, crashed_at, state, national_id, digest, settled_at, sent_digest, unsettled = values
    return Delivery(
        crashes or 0,
        to_utc(crashed_at),
        state,
        national_id,
        digest,
        to_utc(settled_at),
        sent_digest,
        max(float(unsettled or 0), 0.0),
    )


def by_standard_name(columns: Iterable[Column[Any]], row: Sequence[Any]) -> Mapping[str, Any]:
    """Values by the columns' standard names; `row` holds them in this order."""
    return dict(zip((column.key for column in columns), row, strict=True))


def read_rows(
    connection: Connection, query: Select[Any], key: ColumnElement[int]
) -> list[Sequence[Any]]:
    """The rows of a query, with `Unreadable` for each value that the driver cannot read.

    If the query fails, each row is read alone; if a row fails, each of its values. `key` is the
    primary key of what the query selects from.
    """
    try:
        return list(connection.execute(query).all())
    except _READ_ERRORS as error:
        _check_unreadable(error)
    keys = connection.execute(query.with_only_columns(key)).scalars().all()
    return [_read_row(connection, query.where(key == value)) for value in keys]


def _read_row(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    try:
        return connection.execute(query).one()
    except _READ_ERRORS as error:
        _check_unreadable(error)
        return [_read_value(connection, query, column) for column in query.selected_columns]


def _read_value(connection: Connection, query: Select[Any], column: ColumnElement[Any]) -> Any:
    try:
        return connection.execute(query.with_only_columns(column)).scalar_one()
    except _READ_ERRORS as error:
        _check_unreadable(error)
        return Unreadable("cannot be read from the database")


def _check_unreadable(error: Exception) -> None:
    """Raises the error again if it is a database error that is not about a value."""
    if isinstance(error, DBAPIError) and classify(error) is not Fault.BUG:
        raise error


def _readable(value: Any) -> Any:
    return None if isinstance(value, Unreadable) else value


def sort_age(age: float | None) -> float:
    """An age to sort by; a document without a date counts as the newest."""
    return float("-inf") if age is None else float(age)


def to_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
