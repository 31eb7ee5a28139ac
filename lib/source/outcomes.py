"""Writing what became of documents, fenced by the token they were claimed under.

A header row is written once, at the end, and only while its status is still PENDING_SYNC. Triggers
of the pharmacy may run at that moment, so no row count and no OUTPUT of such a write is used: what
the row holds afterwards is read in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    false,
    inspect,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError

from lib.errors import StoreUnavailable, SyncError, WriteRefused
from lib.models import DocumentRef, Outcome, OutcomeKind, Saved, SyncStatus, comparable
from lib.pipelines import Pipeline, get_pipeline
from lib.source.claim_statements import bare_code, code_of
from lib.source.dialects import (
    MAX_IN_LIST,
    ROW_LOCK_HINT,
    insert_missing,
    local_now,
    one_of,
    utc_now,
)
from lib.source.outcome_statements import FINAL_STATUS, fitting, header_statement, settle_statement
from lib.source.rows import belongs, is_free, is_live, read_rows, without
from lib.source.tables import PLATFORM, SourceTables
from lib.source.transactions import Transactions, short_text

#: Outcomes written in one transaction; each takes nine of SQL Server's 2100 parameters.
GROUP = 200

_OPEN = (SyncStatus.PENDING, SyncStatus.FAILED)


class Outcomes:
    """Writes what became of documents."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables
        self._lengths: dict[str, dict[str, int | None]] = {}

    def save(self, results: Sequence[Outcome]) -> Saved:
        """Write outcomes of any mix of pipelines and claims, each under its fencing token.

        Idempotent: an outcome that was already written counts as written. Outcomes that cannot be
        written together are written one by one, so that one document never holds up another.

        Raises:
            StoreUnavailable, ConfigurationError: nothing could be written.
        """
        by_pipeline: dict[str, dict[int, Outcome]] = defaultdict(dict)
        for outcome in results:
            # The first outcome ends the claim, so it is the one that counts.
            by_pipeline[outcome.ref.pipeline].setdefault(outcome.ref.record_id, outcome)
        saved = Saved()
        for name, by_id in by_pipeline.items():
            outcomes = [by_id[record_id] for record_id in sorted(by_id)]
            for start in range(0, len(outcomes), GROUP):
                saved |= self._save_group(get_pipeline(name), outcomes[start : start + GROUP])
        return saved

    def _save_group(self, pipeline: Pipeline, outcomes: Sequence[Outcome]) -> Saved:
        try:
            return self._run(lambda c: self._save(c, pipeline, outcomes))
        except DBAPIError as error:  # about a value
            reason: SyncError = StoreUnavailable("source database", f"refused: {short_text(error)}")
        except WriteRefused as error:
            reason = error
        except StoreUnavailable as error:
            if not error.locked:
                raise
            reason = error
        if len(outcomes) == 1:
            return Saved(failed={outcomes[0].key: reason})
        saved = Saved()
        for outcome in outcomes:
            saved |= self._save_group(pipeline, [outcome])
        return saved

    def record_acceptance(
        self,
        ref: DocumentRef,
        national_id: str | None,
        message: str,
        *,
        payload_digest: str | None = None,
    ) -> bool:
        """Mark a document SYNC_SUCCESS that the API is known to have, under any claim.

        Idempotent. A status that is none of ours is left as it is.

        Args:
            payload_digest: of what was accepted; None where that is not known.

        Returns:
            False where it already was, or is gone.
        """
        return self._run(
            lambda c: self._accept(c, ref, national_id, message, digest=payload_digest)
        )

    def resolve_by_hand(self, ref: DocumentRef, national_id: str, message: str) -> bool:
        """Mark a SYNC_FAILED document SYNC_SUCCESS that a person entered at the portal.

        Idempotent: with the same national id it counts as done.

        Returns:
            False where it is not failed, is held, or is gone; nothing was changed.
        """

        def work(connection: Connection) -> bool:
            if self._accept(connection, ref, national_id, message, by_hand=True):
                return True
            status, found = self._state(connection, ref)
            return status == SyncStatus.SUCCESS and comparable(found) == comparable(national_id)

        return self._run(work)

    def requeue(self, pipeline: Pipeline, record_ids: Sequence[int]) -> int:
        """Make SYNC_FAILED documents pending again, their attempts counted afresh.

        Idempotent. Others are left alone.

        Returns:
            How many were made pending.
        """
        ids = sorted(set(record_ids))
        total = 0
        for start in range(0, len(ids), MAX_IN_LIST):
            some = ids[start : start + MAX_IN_LIST]
            total += self._run(partial(self._requeue, pipeline=pipeline, ids=some))
        return total

    def _save(
        self, connection: Connection, pipeline: Pipeline, outcomes: Sequence[Outcome]
    ) -> Saved:
        lengths = self._lengths_of(connection, pipeline)
        delivery = self._tables.delivery
        ended = set(
            connection.execute(settle_statement(self._tables, pipeline, outcomes)).scalars()
        )
        settled = [outcome for outcome in outcomes if outcome.ref.record_id in ended]
        missed = [outcome for outcome in outcomes if outcome.ref.record_id not in ended]
        if missed:
            query = select(delivery).where(
                belongs(delivery, pipeline),
                one_of(delivery.c.record_id, [outcome.ref.record_id for outcome in missed]),
            )
            rows = {row.record_id: row for row in connection.execute(query)}
            settled += [o for o in missed if _was_written(rows.get(o.ref.record_id), o)]
        final = [outcome for outcome in settled if outcome.kind in FINAL_STATUS]
        overtaken: dict[tuple[str, int], str] = {}
        changed: frozenset[tuple[str, int]] = frozenset()
        if final:
            changed = self._changed_since_load(connection, pipeline, final)
            connection.execute(header_statement(self._tables, pipeline, final, lengths))
            header = self._tables.header(pipeline)
            query = select(header.c.id, header.c.status).where(
                one_of(header.c.id, [outcome.ref.record_id for outcome in final])
            )
            found: dict[int, str | None] = dict(connection.execute(query).tuples().all())
            for outcome in final:
                status = SyncStatus.read(found.get(outcome.ref.record_id))
                if status != FINAL_STATUS[outcome.kind]:
                    overtaken[outcome.key] = str(status) or "deleted"
        return Saved(frozenset(outcome.key for outcome in settled), overtaken, changed)

    def _changed_since_load(
        self, connection: Connection, pipeline: Pipeline, outcomes: Sequence[Outcome]
    ) -> frozenset[tuple[str, int]]:
        """Documents whose row has another `updated_at` than when it was loaded."""
        header = self._tables.header(pipeline)
        loaded = {o.ref.record_id: o for o in outcomes if o.row_updated_at is not None}
        if not loaded:
            return frozenset()
        query = select(header.c.id, header.c.updated_at).where(one_of(header.c.id, list(loaded)))
        return frozenset(
            loaded[row[0]].key
            for row in read_rows(connection, query, header.c.id)
            if row[1] != loaded[row[0]].row_updated_at
        )

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
        lengths = self._lengths_of(connection, pipeline)
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
            update(header)
            .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
            .where(header.c.id == ref.record_id, open_status)
            .values(changes)
        )
        if not self._is_accepted(connection, ref, national_id):
            return False
        self._settle_accepted(connection, pipeline, ref, national_id, message, digest)
        return True

    def _is_accepted(
        self, connection: Connection, ref: DocumentRef, national_id: str | None
    ) -> bool:
        """Whether the row is accepted, and where a national id is given carries one."""
        status, found = self._state(connection, ref)
        return status == SyncStatus.SUCCESS and (national_id is None or bool(comparable(found)))

    def _state(
        self, connection: Connection, ref: DocumentRef
    ) -> tuple[SyncStatus | str | None, str | None]:
        """Status and national id of a row; None for both where it is gone or another document."""
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

    def _settle_accepted(
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
            # Of a document that a person entered it is not known: an older one would be wrong.
            delivery.c.payload_digest: null() if digest is None else digest,
            delivery.c.sent_digest: null(),
            delivery.c.settled_at: utc_now(),
        }
        if national_id is not None:
            changes[delivery.c.national_id] = national_id[:100]
        connection.execute(
            update(delivery)
            .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
            .where(belongs(delivery, pipeline), delivery.c.record_id == ref.record_id)
            .values(changes)
        )

    def _requeue(self, connection: Connection, pipeline: Pipeline, ids: Sequence[int]) -> int:
        header, delivery = self._tables.header(pipeline), self._tables.delivery
        these = one_of(header.c.id, list(ids))
        failed = header.c.status == SyncStatus.FAILED.value
        before = set(connection.execute(select(header.c.id).where(these, failed)).scalars())
        connection.execute(
            update(header)
            .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
            .where(these, failed, without(self._tables, header, pipeline, is_live))
            .values({header.c.status: SyncStatus.PENDING.value, header.c.updated_at: local_now()})
        )
        pending = header.c.status == SyncStatus.PENDING.value
        after = set(connection.execute(select(header.c.id).where(these, pending)).scalars())
        changed = sorted(before & after)
        connection.execute(
            update(delivery)
            .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
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

    def _lengths_of(self, connection: Connection, pipeline: Pipeline) -> dict[str, int | None]:
        """Characters that national id and message hold in the real table; None without a limit."""
        if pipeline.name not in self._lengths:
            header = self._tables.header(pipeline)
            real = {
                found["name"].casefold(): getattr(found["type"], "length", None)
                for found in inspect(connection).get_columns(header.name, header.schema)
            }
            wanted = {
                "national_id": self._tables.national_id(pipeline),
                "message": header.c.sync_response_message,
            }
            self._lengths[pipeline.name] = {
                key: real.get(column.name.casefold()) for key, column in wanted.items()
            }
        return self._lengths[pipeline.name]


def _constants(table: Table, **given: Any) -> list[ColumnElement[Any]]:
    return [literal(value, table.c[name].type).label(name) for name, value in given.items()]


def _was_written(row: Any, outcome: Outcome) -> bool:
    """Whether an earlier try of the same outcome was: its answer may have been lost."""
    if row is None or row.claim_token is not None or outcome.kind not in FINAL_STATUS:
        return False
    return (
        row.state == outcome.kind.value
        and (outcome.national_id or "")[:100] in ("", row.national_id)
        and outcome.message in (None, row.message)
    )
