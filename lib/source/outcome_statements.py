"""The statements that write outcomes: one for rows of ours, one for the pharmacy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Unicode,
    Update,
    Values,
    and_,
    case,
    cast,
    column,
    false,
    func,
    null,
    true,
    update,
    values,
)

from lib.models import Outcome, OutcomeKind, SyncStatus
from lib.pipelines import Pipeline
from lib.source.dialects import ROW_LOCK_HINT, local_now, utc_in_milliseconds, utc_now
from lib.source.rows import belongs
from lib.source.tables import LONG_TEXT, SourceTables

FINAL_STATUS = {OutcomeKind.ACCEPTED: SyncStatus.SUCCESS, OutcomeKind.FAILED: SyncStatus.FAILED}
_TEXTS = {
    "claim_token": Unicode(36),
    "state": Unicode(20),
    "national_id": Unicode(100),
    "message": LONG_TEXT,
    "payload_digest": Unicode(64),
}


def settle_statement(
    tables: SourceTables, pipeline: Pipeline, outcomes: Sequence[Outcome]
) -> Update:
    """Ends the claims of outcomes whose token still holds; answers with their record ids.

    An acceptance on record outlives later outcomes: a row that is made pending again is known by
    it. Only whole numbers and texts go in as parameters, each cast to its column's type.
    """
    delivery = tables.delivery
    rows = _values(
        ["record_id", "retry_ms", "unconfirmed", "costs_attempt"],
        list(_TEXTS),
        [
            (
                o.ref.record_id,
                round(min(o.retry_in.total_seconds() * 1000, 2**31 - 1)),
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
        update(delivery)
        .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
        .where(
            belongs(delivery, pipeline),
            delivery.c.record_id == rows.c.record_id,
            delivery.c.claim_token == given("claim_token"),
        )
        .values(
            {
                delivery.c.claim_token: null(),
                delivery.c.lease_expires_at: null(),
                # Its holder lives.
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
        update(header)
        .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
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
    """National id and message cut to their real columns.

    A national id too long for its column is kept whole in the message: the document is accepted,
    and an error here would have it sent again.
    """
    longest = lengths.get("national_id")
    if national_id is not None and longest is not None and len(national_id) > longest:
        message = f"national id in full: {national_id}; {message or ''}".rstrip("; ")
        national_id = national_id[:longest]
    longest = lengths.get("message")
    if message is not None and longest is not None and len(message) > longest:
        message = message[: max(longest - 1, 0)] + "…"
    return national_id, message


def _values(numbers: Sequence[str], texts: Sequence[str], data: list[Any]) -> Values:
    return values(
        *(column(name, BigInteger) for name in numbers),
        *(column(name, _TEXTS[name]) for name in texts),
        name="given",
    ).data(data)
