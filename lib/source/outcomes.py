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
from lib.pipelines import Pipeline, get_pipeline
from lib.source.dialects import MAX_IN_LIST, local_now, lock, one_of, utc_now
from lib.source.rows import same_code
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions

#: Outcomes written in one transaction.
GROUP = MAX_IN_LIST

_STATUS = {OutcomeKind.ACCEPTED: SyncStatus.SUCCESS, OutcomeKind.FAILED: SyncStatus.FAILED}


class Outcomes:
    """Writes what became of documents."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def save(self, results: Sequence[Outcome]) -> set[tuple[str, int]]:
        """Write outcomes of any mix of pipelines and claims, each under its fencing token.

        Idempotent: an outcome that was already written counts as written.

        Returns:
            Pipeline and record id of what was written. The rest had lost its claim and belongs to
            another holder; nothing of it was changed.
        """
        by_pipeline: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in results:
            by_pipeline[outcome.ref.pipeline].append(outcome)
        written: set[tuple[str, int]] = set()
        for name, group in by_pipeline.items():
            for start in range(0, len(group), GROUP):
                written |= self._save_group(get_pipeline(name), group[start : start + GROUP])
        return written

    def _save_group(self, pipeline: Pipeline, group: Sequence[Outcome]) -> set[tuple[str, int]]:
        return self._run(lambda c: _save_group(c, self._tables, pipeline, group))

    def record_acceptance(self, ref: DocumentRef, national_id: str | None, message: str) -> bool:
        """Mark a document SYNC_SUCCESS that the API is known to have, whoever holds it.

        Idempotent.

        Returns:
            False where it already was, or is gone.
        """
        pipeline = get_pipeline(ref.pipeline)
        return self._run(
            lambda c: _record_acceptance(c, self._tables, pipeline, ref, national_id, message)
        )

    def resolve_by_hand(self, ref: DocumentRef, national_id: str, message: str) -> bool:
        """Mark a SYNC_FAILED document SYNC_SUCCESS that a person entered at the portal.

        Idempotent: with the same national id it counts as done.

        Returns:
            False where it is not failed, somebody holds it, or it is gone; nothing was changed.
        """
        pipeline = get_pipeline(ref.pipeline)
        return self._run(
            lambda c: _resolve_by_hand(c, self._tables, pipeline, ref, national_id, message)
        )

    def requeue(self, pipeline: Pipeline, record_ids: Sequence[int]) -> int:
        """Make SYNC_FAILED documents pending again, their attempts counted afresh.

        Idempotent. Others are left alone.

        Returns:
            How many were made pending.
        """
        ids = sorted(set(record_ids))
        return sum(
            self._requeue(pipeline, ids[start : start + MAX_IN_LIST])
            for start in range(0, len(ids), MAX_IN_LIST)
        )

    def _requeue(self, pipeline: Pipeline, ids: Sequence[int]) -> int:
        return self._run(lambda c: _requeue(c, self._tables, pipeline, ids))


def _save_group(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, outcomes: Sequence[Outcome]
) -> set[tuple[str, int]]:
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


def _record_acceptance(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    ref: DocumentRef,
    national_id: str | None,
    message: str,
) -> bool:
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


def _resolve_by_hand(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    ref: DocumentRef,
    national_id: str,
    message: str,
) -> bool:
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


def _requeue(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    record_ids: Sequence[int],
) -> int:
    header = tables.header(pipeline)
    chosen, sibling = header.alias("chosen"), header.alias("sibling")
    # A claim that is about to take another row of the same code must end first, or see this one.
    siblings = lock(
        select(sibling.c.id)
        .join(chosen, same_code(chosen, sibling, pipeline))
        .where(one_of(chosen.c.id, list(record_ids)))
        .order_by(sibling.c.id),
        sibling,
    )
    connection.execute(siblings).all()
    return connection.execute(
        update(header)
        .where(
            one_of(header.c.id, list(record_ids)),
            header.c.status == SyncStatus.FAILED.value,
            header.c.sync_claim_token.is_(None),
        )
        .values(
            {
                header.c.status: SyncStatus.PENDING.value,
                header.c.sync_attempts: 0,
                header.c.sync_next_attempt_at: None,
                header.c.updated_at: local_now(),
            }
        )
    ).rowcount


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
