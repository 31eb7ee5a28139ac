"""Header rows as the values that leave the store, and conditions on them in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    case,
    cast,
    or_,
    select,
    true,
)

from lib.errors import ConfigurationError
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.pipelines import Pipeline
from lib.source.dialects import constant, utc_now


def is_pending(header: FromClause) -> ColumnElement[bool]:
    """The status is PENDING_SYNC, written so that the filtered claim index serves the query."""
    return header.c.status == constant(SyncStatus.PENDING)


def is_live(header: FromClause) -> ColumnElement[bool]:
    """Somebody holds the row, and the lease has not run out."""
    return and_(header.c.sync_claim_token.is_not(None), header.c.sync_lease_expires_at > utc_now())


def live_flag(header: FromClause) -> ColumnElement[int]:
    """1 where `is_live`, else 0: to SQL Server a condition is no value."""
    return case((is_live(header), 1), else_=0).label("live")


def is_free(header: FromClause) -> ColumnElement[bool]:
    """Nobody holds the row, or the holder's lease has run out."""
    return or_(
        header.c.sync_claim_token.is_(None),
        header.c.sync_lease_expires_at.is_(None),
        header.c.sync_lease_expires_at <= utc_now(),
    )


def dated_from(header: FromClause, pipeline: Pipeline, cut_off: date | None) -> ColumnElement[bool]:
    """The document's own date is not before the cut-off; anything where there is none."""
    if cut_off is None:
        return true()
    column = header.c[pipeline.date_column]
    # In the column's type: a parameter of a finer one would keep SQL Server from seeking.
    return column >= cast(datetime.combine(cut_off, time.min), column.type)


def same_code(one: FromClause, other: FromClause, pipeline: Pipeline) -> ColumnElement[bool]:
    """Two header rows are the same document to the national API."""
    return and_(
        one.c.pharmacy_code == other.c.pharmacy_code,
        one.c[pipeline.local_id_column] == other.c[pipeline.local_id_column],
    )


def ref_columns(header: FromClause, pipeline: Pipeline) -> list[ColumnElement[Any]]:
    """Columns of a `DocumentRef`, in its order."""
    return [
        header.c.id,
        header.c[pipeline.local_id_column],
        header.c.pharmacy_code,
        header.c.shop_pharmacy_code,
    ]


def to_ref(pipeline: Pipeline, row: Row[Any]) -> DocumentRef:
    """The reference in a row that begins with `ref_columns`."""
    record_id, local_id, pharmacy_code, shop_pharmacy_code = row[:4]
    return DocumentRef(pipeline.name, record_id, local_id, pharmacy_code, shop_pharmacy_code)


def stored_documents(header: FromClause, pipeline: Pipeline) -> Select[Any]:
    """Selects what `to_stored` needs, by id."""
    return select(
        *ref_columns(header, pipeline),
        header.c.status,
        header.c[pipeline.national_id_column],
        header.c.sync_response_message,
        header.c.sync_claim_token,
        header.c.sync_lease_expires_at,
        live_flag(header),
        header.c.sync_attempts,
        header.c.sync_next_attempt_at,
        header.c.sync_unconfirmed,
        header.c.created_at,
    ).order_by(header.c.id)


def to_stored(pipeline: Pipeline, row: Row[Any]) -> StoredDocument:
    """A row of `stored_documents`.

    Raises:
        ConfigurationError: the status is none of the three that this system knows.
    """
    ref = to_ref(pipeline, row)
    status, national_id, message, token, lease, live, attempts, next_at, unconfirmed, created = row[
        4:
    ]
    return StoredDocument(
        ref=ref,
        status=_to_status(ref, status),
        national_id=national_id,
        message=message,
        claim_token=token,
        lease_expires_at=_to_utc(lease),
        lease_live=bool(live),
        attempts=attempts or 0,
        next_attempt_at=_to_utc(next_at),
        unconfirmed=bool(unconfirmed),
        created_at=created,
    )


def by_standard_name(columns: list[Column[Any]], row: Row[Any]) -> Mapping[str, Any]:
    """A row's values by the columns' standard names."""
    values = row._mapping
    return {column.key: values[column] for column in columns}


def _to_status(ref: DocumentRef, status: str) -> SyncStatus:
    try:
        return SyncStatus(status.strip())
    except ValueError:
        raise ConfigurationError(
            f"{ref.pipeline} {ref.local_id} has the status {status!r}, which is unknown here"
        ) from None


def _to_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
