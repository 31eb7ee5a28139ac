"""Writing what became of documents, fenced by the token they were claimed under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Unicode,
    Update,
    and_,
    bindparam,
    false,
    func,
    null,
    or_,
    select,
    update,
)

from lib.models import DocumentRef, Outcome, OutcomeKind, SyncStatus
from lib.pipelines import Pipeline
from lib.source.dialects import MAX_IN_LIST, local_now, lock, one_of, utc_now
from lib.source.tables import SourceTables

#: Outcomes written in one transaction.
GROUP = MAX_IN_LIST

_STATUS = {OutcomeKind.ACCEPTED: SyncStatus.SUCCESS, OutcomeKind.FAILED: SyncStatus.FAILED}


def save_group(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, outcomes: Sequence[Outcome]
) -> set[tuple[str, int]]:
    """Write at most `GROUP` outcomes of one pipeline; which documents now are as told.

    A document that already is as its outcome says counts as written: the answer to an earlier
    write of the same outcome may have been lost.
    """
    # The first outcome ends the claim, so it is the one that counts.
    by_id: dict[int, Outcome] = {}
    for outcome in outcomes:
        by_id.setdefault(outcome.ref.record_id, outcome)
    rows = _lock_rows(connection, tables, pipeline, by_id)
    written: set[tuple[str, int]] = set()
    changes: dict[OutcomeKind, list[dict[str, Any]]] = defaultdict(list)
    length = _length(tables, pipeline)
    for row in rows:
        outcome = by_id[row.id]
        if row.token == outcome.claim_token:
            changes[outcome.kind].append(_change(row, outcome, length))
        elif not _is_as_told(row, outcome, length):
            continue
        written.add((pipeline.name, row.id))
    for kind, parameters in changes.items():
        connection.execute(_statement(tables, pipeline, kind), parameters)
    return written


def record_acceptance(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    ref: DocumentRef,
    national_id: str | None,
    message: str,
) -> bool:
    """Mark a document accepted that is known to be, whoever holds it; False if it already was."""
    header, column = tables.header(pipeline), tables.national_id(pipeline)
    stored, message_stored = _fitting(national_id, message, _length(tables, pipeline))
    values: dict[Any, Any] = {
        header.c.status: SyncStatus.SUCCESS.value,
        header.c.sync_response_message: message_stored,
        header.c.sync_claim_token: None,
        header.c.sync_lease_expires_at: None,
        header.c.sync_next_attempt_at: None,
        header.c.sync_unconfirmed: False,
        header.c.updated_at: local_now(),
    }
    not_yet = header.c.status != SyncStatus.SUCCESS.value
    if stored is not None:
        values[column] = stored
        not_yet = or_(not_yet, column.is_(None), column == "")
    return bool(
        connection.execute(
            update(header)
            .where(
                and_(
                    header.c.id == ref.record_id,
                    tables.local_id(pipeline) == ref.local_id,
                    header.c.pharmacy_code == ref.pharmacy_code,
                ),
                not_yet,
            )
            .values(values)
        ).rowcount
    )


def resolve_by_hand(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    ref: DocumentRef,
    national_id: str,
    message: str,
) -> bool:
    """Mark a failed document accepted that nobody holds; True also where it already is so."""
    header, column = tables.header(pipeline), tables.national_id(pipeline)
    stored, message_stored = _fitting(national_id, message, _length(tables, pipeline))
    this_one = and_(
        header.c.id == ref.record_id,
        tables.local_id(pipeline) == ref.local_id,
        header.c.pharmacy_code == ref.pharmacy_code,
    )
    changed = connection.execute(
        update(header)
        .where(
            this_one,
            header.c.status == SyncStatus.FAILED.value,
            # A row under a claim is pending; one that carries a token all the same is not ours.
            header.c.sync_claim_token.is_(None),
        )
        .values(
            {
                header.c.status: SyncStatus.SUCCESS.value,
                column: stored,
                header.c.sync_response_message: message_stored,
                header.c.sync_lease_expires_at: None,
                header.c.sync_next_attempt_at: None,
                header.c.sync_unconfirmed: False,
                header.c.updated_at: local_now(),
            }
        )
    ).rowcount
    if changed:
        return True
    row = connection.execute(select(header.c.status, column).where(this_one)).one_or_none()
    return row is not None and row[0] == SyncStatus.SUCCESS.value and row[1] == stored


def _lock_rows(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, ids: Iterable[int]
) -> Sequence[Row[Any]]:
    header = tables.header(pipeline)
    query = select(
        header.c.id,
        header.c.status,
        header.c.sync_claim_token.label("token"),
        tables.national_id(pipeline).label("national_id"),
        header.c.sync_response_message.label("message"),
        func.coalesce(header.c.sync_attempts, 0).label("attempts"),
        utc_now().label("now"),
    )
    # By id, so that two savers lock in one order.
    query = query.where(one_of(header.c.id, sorted(ids))).order_by(header.c.id)
    return connection.execute(lock(query, header)).all()


def _change(row: Row[Any], outcome: Outcome, length: int) -> dict[str, Any]:
    national_id, message = _fitting(outcome.national_id, outcome.message, length)
    change: dict[str, Any] = {
        "row_id": row.id,
        "row_token": outcome.claim_token,
        "message": row.message if message is None else message,
    }
    if outcome.kind is OutcomeKind.ACCEPTED:
        return change | {"national_id": national_id or row.national_id}
    change["unconfirmed"] = outcome.unconfirmed
    if outcome.kind is OutcomeKind.RELEASED:
        attempts = row.attempts if outcome.costs_attempt else max(row.attempts - 1, 0)
        return change | {"attempts": attempts, "next_attempt": _next_attempt(row.now, outcome)}
    return change


def _next_attempt(now: datetime, outcome: Outcome) -> datetime | None:
    return now + outcome.retry_in if outcome.retry_in else None


def _statement(tables: SourceTables, pipeline: Pipeline, kind: OutcomeKind) -> Update:
    # NULL goes into the text: as a parameter it would have no type in an array of parameters.
    header = tables.header(pipeline)
    values: dict[Any, Any] = {
        header.c.sync_claim_token: null(),
        header.c.sync_lease_expires_at: null(),
        header.c.sync_next_attempt_at: null(),
        header.c.sync_response_message: bindparam("message"),
        header.c.sync_unconfirmed: bindparam("unconfirmed"),
    }
    if kind is OutcomeKind.RELEASED:
        values[header.c.sync_attempts] = bindparam("attempts")
        values[header.c.sync_next_attempt_at] = bindparam("next_attempt")
    else:
        values[header.c.status] = _STATUS[kind].value
        values[header.c.updated_at] = local_now()
    if kind is OutcomeKind.ACCEPTED:
        values[tables.national_id(pipeline)] = bindparam("national_id")
        values[header.c.sync_unconfirmed] = false()
    return (
        update(header)
        .where(
            header.c.id == bindparam("row_id"),
            header.c.sync_claim_token == bindparam("row_token"),
        )
        .values(values)
    )


def _is_as_told(row: Row[Any], outcome: Outcome, length: int) -> bool:
    if row.token is not None or outcome.kind is OutcomeKind.RELEASED:
        return False
    national_id, message = _fitting(outcome.national_id, outcome.message, length)
    return (
        row.status == _STATUS[outcome.kind]
        and national_id in (None, row.national_id)
        and message in (None, row.message)
    )


def _length(tables: SourceTables, pipeline: Pipeline) -> int:
    type_ = tables.national_id(pipeline).type
    return (type_.length if isinstance(type_, Unicode) else None) or 0


def _fitting(
    national_id: str | None, message: str | None, length: int
) -> tuple[str | None, str | None]:
    """A national id too long for its column is kept whole in the message, and cut in its column.

    The document is accepted: an error here would have it sent again.
    """
    if national_id is None or len(national_id) <= length:
        return national_id, message
    return national_id[:length], f"national id in full: {national_id}; {message or ''}".rstrip("; ")
