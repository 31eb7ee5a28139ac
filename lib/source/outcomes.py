"""Writes the outcomes of documents, each under the fencing token of its claim.

A header row is written once, at the end, and only while its status is still PENDING_SYNC. Triggers
of the pharmacy may run then, so row count and OUTPUT of the write are not used: the row is read
again in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Unicode,
    Update,
    Values,
    and_,
    case,
    cast,
    column,
    false,
    func,
    inspect,
    null,
    select,
    true,
    values,
)
from sqlalchemy.exc import DBAPIError

from lib.errors import StoreUnavailable, SyncError, WriteRefused
from lib.models import Outcome, OutcomeKind, Saved, SyncStatus
from lib.pipelines import Pipeline, get_pipeline
from lib.source.dialects import (
    chunks,
    local_now,
    one_of,
    update_rows,
    utc_in_milliseconds,
    utc_now,
)
from lib.source.rows import belongs, read_rows
from lib.source.tables import LONG_TEXT, SourceTables
from lib.source.transactions import Transactions, short_text

#: Outcomes written in one transaction; each takes ten of SQL Server's 2100 parameters.
GROUP = 200

FINAL_STATUS = {OutcomeKind.ACCEPTED: SyncStatus.SUCCESS, OutcomeKind.FAILED: SyncStatus.FAILED}
_TEXTS = {
    "claim_token": Unicode(36),
    "state": Unicode(20),
    "national_id": Unicode(100),
    "message": LONG_TEXT,
    "payload_digest": Unicode(64),
}


class Outcomes:
    """Writes the outcomes of documents."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables
        self._lengths: dict[str, dict[str, int | None]] = {}

    def save(self, results: Sequence[Outcome]) -> Saved:
        """Write outcomes of any mix of pipelines and claims, each under its fencing token.

        Idempotent: an outcome that was already written counts as written. Outcomes that cannot be
        written together are written one by one, so that one document never blocks another.

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
            for part in chunks(outcomes, GROUP):
                saved |= self._save_group(get_pipeline(name), part)
        return saved

    def _save_group(self, pipeline: Pipeline, outcomes: Sequence[Outcome]) -> Saved:
        try:
            return self._run(lambda c: self._save(c, pipeline, outcomes))
        except DBAPIError as error:  # an error about a value
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

    def _save(
        self, connection: Connection, pipeline: Pipeline, outcomes: Sequence[Outcome]
    ) -> Saved:
        lengths = self._lengths_of(connection, pipeline)
        delivery = self._tables.delivery
        ended = set(
            connection.execute(outcome_statement(self._tables, pipeline, outcomes)).scalars()
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

    def _lengths_of(self, connection: Connection, pipeline: Pipeline) -> dict[str, int | None]:
        if pipeline.name not in self._lengths:
            self._lengths[pipeline.name] = column_lengths(connection, self._tables, pipeline)
        return self._lengths[pipeline.name]


def _was_written(row: Any, outcome: Outcome) -> bool:
    """Whether an earlier try wrote this outcome: the database's answer may have been lost."""
    if row is None or row.claim_token is not None or outcome.kind not in FINAL_STATUS:
        return False
    return (
        row.state == outcome.kind.value
        and (outcome.national_id or "")[:100] in ("", row.national_id)
        and outcome.message in (None, row.message)
    )


def column_lengths(
    connection: Connection, tables: SourceTables, pipeline: Pipeline
) -> dict[str, int | None]:
    """Lengths of national id and message in the real table; None if there is no limit."""
    header = tables.header(pipeline)
    real = {
        found["name"].casefold(): getattr(found["type"], "length", None)
        for found in inspect(connection).get_columns(header.name, header.schema)
    }
    wanted = {
        "national_id": tables.national_id(pipeline),
        "message": header.c.sync_response_message,
    }
    return {key: real.get(column.name.casefold()) for key, column in wanted.items()}


# -- the statements: one for our rows, one for the pharmacy's rows ---------------------------------


def outcome_statement(
    tables: SourceTables, pipeline: Pipeline, outcomes: Sequence[Outcome]
) -> Update:
    """Ends the claims of outcomes whose token is still on the row; returns their record ids.

    Later outcomes do not delete a recorded acceptance: a row that is made pending again is
    recognised by it. Parameters are only integers and texts, each cast to its column's type.
    """
    delivery = tables.delivery
    rows = _values(
        ["record_id", "retry_ms", "unsettled_ms", "unconfirmed", "costs_attempt"],
        list(_TEXTS),
        [
            (
                o.ref.record_id,
                _milliseconds(o.retry_in),
                _milliseconds(o.unsettled),
                int(o.unconfirmed and o.kind is not OutcomeKind.ACCEPTED),
                int(o.costs_attempt or o.kind is not OutcomeKind.RELEASED),
                o.claim_token,
                o.kind.value if o.kind in FINAL_STATUS else None,
                o.national_id[:100] if o.national_id else None,
                o.message,
                o.payload_digest,
            )
            for o in outcomes
        ],
    )

    def given(name: str) -> ColumnElement[Any]:
        return cast(rows.c[name], _TEXTS[name])

    def kept(name: str) -> ColumnElement[Any]:
        return func.coalesce(given(name), delivery.c[name])

    return (
        update_rows(delivery)
        .where(
            belongs(delivery, pipeline),
            delivery.c.record_id == rows.c.record_id,
            delivery.c.claim_token == given("claim_token"),
        )
        .values(
            {
                delivery.c.claim_token: null(),
                delivery.c.lease_expires_at: null(),
                # Its holder is alive.
                delivery.c.crashes: 0,
                delivery.c.next_attempt_at: case(
                    (rows.c.retry_ms > 0, utc_in_milliseconds(rows.c.retry_ms)), else_=null()
                ),
                delivery.c.unconfirmed: case((rows.c.unconfirmed == 1, true()), else_=false()),
                delivery.c.attempts: case(
                    (
                        and_(rows.c.costs_attempt == 0, delivery.c.attempts > 0),
                        delivery.c.attempts - 1,
                    ),
                    else_=delivery.c.attempts,
                ),
                delivery.c.state: kept("state"),
                delivery.c.national_id: kept("national_id"),
                delivery.c.message: kept("message"),
                delivery.c.payload_digest: case(
                    (given("state") == OutcomeKind.ACCEPTED.value, kept("payload_digest")),
                    else_=delivery.c.payload_digest,
                ),
                delivery.c.sent_digest: case(
                    (rows.c.unconfirmed == 1, given("payload_digest")), else_=null()
                ),
                delivery.c.settles_at: case(
                    (
                        and_(rows.c.unconfirmed == 1, rows.c.unsettled_ms > 0),
                        utc_in_milliseconds(rows.c.unsettled_ms),
                    ),
                    else_=null(),
                ),
                delivery.c.settled_at: case(
                    (given("state").is_not(None), utc_now()), else_=delivery.c.settled_at
                ),
            }
        )
        .returning(delivery.c.record_id)
    )


def header_statement(
    tables: SourceTables,
    pipeline: Pipeline,
    outcomes: Sequence[Outcome],
    lengths: dict[str, int | None],
) -> Update:
    """Writes final outcomes into header rows that are still PENDING_SYNC."""
    header, id_column = tables.header(pipeline), tables.national_id(pipeline)
    data = []
    for outcome in outcomes:
        national_id, message = fitting(outcome.national_id, outcome.message, lengths)
        status = FINAL_STATUS[outcome.kind].value
        data.append((outcome.ref.record_id, status, national_id, message))
    rows = _values(["record_id"], ["state", "national_id", "message"], data)
    message_column = header.c.sync_response_message

    def given(name: str) -> ColumnElement[Any]:
        return cast(rows.c[name], _TEXTS[name])

    return (
        update_rows(header)
        .where(header.c.id == rows.c.record_id, header.c.status == SyncStatus.PENDING.value)
        .values(
            {
                header.c.status: given("state"),
                id_column: func.coalesce(given("national_id"), id_column),
                message_column: func.coalesce(given("message"), message_column),
                header.c.updated_at: local_now(),
            }
        )
    )


def fitting(
    national_id: str | None, message: str | None, lengths: dict[str, int | None]
) -> tuple[str | None, str | None]:
    """National id and message, cut to the lengths of their real columns.

    A national id too long for its column is kept whole in the message: the document is accepted,
    and after an error here it would be sent again.
    """
    longest = lengths.get("national_id")
    if national_id is not None and longest is not None and len(national_id) > longest:
        message = f"national id in full: {national_id}; {message or ''}".rstrip("; ")
        national_id = national_id[:longest]
    longest = lengths.get("message")
    if message is not None and longest is not None and len(message) > longest:
        message = message[: max(longest - 1, 0)] + "…"
    return national_id, message


def _milliseconds(time: timedelta) -> int:
    return round(min(time.total_seconds() * 1000, 2**31 - 1))


def _values(numbers: Sequence[str], texts: Sequence[str], data: list[Any]) -> Values:
    return values(
        *(column(name, BigInteger) for name in numbers),
        *(column(name, _TEXTS[name]) for name in texts),
        name="given",
    ).data(data)
