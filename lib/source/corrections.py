"""Corrections of documents outside of a claim: by a person, or by `reconcile`.

As with outcomes, triggers of the pharmacy may run when a header row is written, so the row is read
again in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    false,
    literal,
    null,
    or_,
    select,
    true,
)

from lib.models import DocumentRef, OutcomeKind, SyncStatus, comparable
from lib.pipelines import Pipeline, get_pipeline
from lib.source.claim_statements import bare_code, code_of
from lib.source.dialects import (
    chunks,
    insert_missing,
    local_now,
    one_of,
    update_rows,
    utc_now,
)
from lib.source.outcomes import column_lengths, fitting
from lib.source.rows import belongs, is_free, is_live, without
from lib.source.tables import PLATFORM, SourceTables
from lib.source.transactions import Transactions

_OPEN = (SyncStatus.PENDING, SyncStatus.FAILED)


class Corrections:
    """Marks documents accepted, or pending again."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def record_acceptance(
        self,
        ref: DocumentRef,
        national_id: str | None,
        message: str,
        *,
        payload_digest: str | None = None,
    ) -> bool:
        """Mark a document that the API is known to have as SYNC_SUCCESS, under any claim.

        Idempotent. A status of other software is not changed.

        Args:
            payload_digest: of what was accepted; None if that is not known.

        Returns:
            False if it was marked already, no longer exists, or has a status of other software.
        """
        return self._run(
            lambda c: self._accept(c, ref, national_id, message, digest=payload_digest)
        )

    def resolve_by_hand(self, ref: DocumentRef, national_id: str, message: str) -> bool:
        """Mark a SYNC_FAILED document that a person entered at the portal as SYNC_SUCCESS.

        Idempotent: a second call with the same national id returns True.

        Returns:
            False if it is not failed, is held, or no longer exists; nothing was changed.
        """

        def work(connection: Connection) -> bool:
            if self._accept(connection, ref, national_id, message, by_hand=True):
                return True
            status, found = self._state(connection, ref)
            return status == SyncStatus.SUCCESS and comparable(found) == comparable(national_id)

        return self._run(work)

    def requeue(self, pipeline: Pipeline, record_ids: Sequence[int]) -> int:
        """Make SYNC_FAILED documents pending again, with attempts counted from zero.

        Idempotent. Other documents are not changed.

        Returns:
            How many were made pending.
        """
        ids = sorted(set(record_ids))
        total = 0
        for part in chunks(ids):
            total += self._run(partial(self._requeue, pipeline=pipeline, ids=part))
        return total

    def _accept(
        self,
        connection: Connection,
        ref: DocumentRef,
        national_id: str | None,
        message: str,
        *,
        by_hand: bool = False,
        digest: str | None = None,
    ) -> bool:
        pipeline = get_pipeline(ref.pipeline)
        header, id_column = self._tables.header(pipeline), self._tables.national_id(pipeline)
        if self._state(connection, ref)[0] is None or self._is_accepted(
            connection, ref, national_id
        ):
            return False
        lengths = column_lengths(connection, self._tables, pipeline)
        stored, text = fitting(national_id, message, lengths)
        changes: dict[Any, Any] = {
            header.c.status: SyncStatus.SUCCESS.value,
            header.c.sync_response_message: text,
            header.c.updated_at: local_now(),
        }
        if by_hand:
            open_status: ColumnElement[bool] = and_(
                header.c.status == SyncStatus.FAILED.value,
                without(self._tables, header, pipeline, is_live),
            )
        else:
            open_status = header.c.status.in_([status.value for status in _OPEN])
        if stored is not None:
            changes[id_column] = stored
            if not by_hand:
                nameless = or_(id_column.is_(None), id_column == "")
                open_status = or_(
                    open_status, and_(header.c.status == SyncStatus.SUCCESS.value, nameless)
                )
        connection.execute(
            update_rows(header).where(header.c.id == ref.record_id, open_status).values(changes)
        )
        if not self._is_accepted(connection, ref, national_id):
            return False
        self._record_accepted(connection, pipeline, ref, national_id, message, digest)
        return True

    def _is_accepted(
        self, connection: Connection, ref: DocumentRef, national_id: str | None
    ) -> bool:
        """Whether the row is accepted and, if `national_id` is given, has a national id."""
        status, found = self._state(connection, ref)
        return status == SyncStatus.SUCCESS and (national_id is None or bool(comparable(found)))

    def _state(
        self, connection: Connection, ref: DocumentRef
    ) -> tuple[SyncStatus | str | None, str | None]:
        """Status and national id of a row; None for both if it is gone or another document."""
        pipeline = get_pipeline(ref.pipeline)
        header = self._tables.header(pipeline)
        query = select(
            header.c.status,
            self._tables.national_id(pipeline),
            self._tables.local_id(pipeline),
            header.c.pharmacy_code,
        ).where(header.c.id == ref.record_id)
        row = connection.execute(query).one_or_none()
        if row is None or code_of(row[3], row[2]) != code_of(ref.pharmacy_code, ref.local_id):
            return None, None
        return SyncStatus.read(row[0]), row[1]

    def _record_accepted(
        self,
        connection: Connection,
        pipeline: Pipeline,
        ref: DocumentRef,
        national_id: str | None,
        message: str,
        digest: str | None,
    ) -> None:
        delivery, header = self._tables.delivery, self._tables.header(pipeline)
        connection.execute(
            insert_missing(
                delivery,
                select(
                    *_constants(
                        delivery,
                        platform=PLATFORM,
                        pipeline=pipeline.name,
                        record_id=ref.record_id,
                        pharmacy_code=bare_code(ref.pharmacy_code),
                        local_id=bare_code(ref.local_id),
                        attempts=0,
                        crashes=0,
                    ),
                    false().label("begun"),
                    false().label("unconfirmed"),
                )
                .select_from(header)
                .where(
                    header.c.id == ref.record_id,
                    without(self._tables, header, pipeline, lambda _: true()),
                ),
                connection.dialect,
            )
        )
        changes: dict[Any, Any] = {
            delivery.c.claim_token: null(),
            delivery.c.lease_expires_at: null(),
            delivery.c.next_attempt_at: null(),
            delivery.c.unconfirmed: False,
            delivery.c.state: OutcomeKind.ACCEPTED.value,
            delivery.c.message: message,
            # Not known for a document that a person entered: an older digest would be wrong.
            delivery.c.payload_digest: null() if digest is None else digest,
            delivery.c.sent_digest: null(),
            delivery.c.settles_at: null(),
            delivery.c.settled_at: utc_now(),
        }
        if national_id is not None:
            changes[delivery.c.national_id] = national_id[:100]
        connection.execute(
            update_rows(delivery)
            .where(belongs(delivery, pipeline), delivery.c.record_id == ref.record_id)
            .values(changes)
        )

    def _requeue(self, connection: Connection, pipeline: Pipeline, ids: Sequence[int]) -> int:
        header, delivery = self._tables.header(pipeline), self._tables.delivery
        these = one_of(header.c.id, ids)
        failed = header.c.status == SyncStatus.FAILED.value
        before = set(connection.execute(select(header.c.id).where(these, failed)).scalars())
        connection.execute(
            update_rows(header)
            .where(these, failed, without(self._tables, header, pipeline, is_live))
            .values({header.c.status: SyncStatus.PENDING.value, header.c.updated_at: local_now()})
        )
        pending = header.c.status == SyncStatus.PENDING.value
        after = set(connection.execute(select(header.c.id).where(these, pending)).scalars())
        changed = sorted(before & after)
        connection.execute(
            update_rows(delivery)
            .where(
                belongs(delivery, pipeline),
                one_of(delivery.c.record_id, changed),
                is_free(delivery),
            )
            .values(
                {
                    delivery.c.attempts: 0,
                    delivery.c.crashes: 0,
                    delivery.c.crashed_at: null(),
                    delivery.c.next_attempt_at: null(),
                }
            )
        )
        return len(changed)


def _constants(table: Table, **given: Any) -> list[ColumnElement[Any]]:
    return [literal(value, table.c[name].type).label(name) for name, value in given.items()]
