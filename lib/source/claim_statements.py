"""The statements that choose documents and put a claim's token on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    Insert,
    Select,
    Table,
    Unicode,
    Update,
    and_,
    case,
    cast,
    column,
    exists,
    false,
    literal,
    null,
    or_,
    select,
    true,
    values,
)

from lib.models import DocumentRef, comparable
from lib.pipelines import Pipeline
from lib.source.dialects import (
    CODE_LENGTH,
    age_in_seconds,
    chunks,
    code_value,
    insert_missing,
    one_of,
    skip_locked,
    update_rows,
    utc_in,
    utc_now,
)
from lib.source.rows import (
    after_vanished,
    belongs,
    crashes_of,
    dated_from,
    flag,
    is_due,
    is_free,
    is_live,
    is_pending,
    is_taken_or_waiting,
    read_rows,
    ref_columns,
    sort_age,
    to_ref,
    was_put_back,
    without,
)
from lib.source.tables import PLATFORM, SourceTables


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """Which due documents a claim takes.

    Attributes:
        cut_off: documents dated earlier are not taken.
        settle: documents whose row was written within this time are not taken.
        crashes: minimum and maximum number of vanished holders; None for any.
        put_back: True: only documents put back after a claim; False: only the others; None: all.
    """

    cut_off: date | None = None
    settle: timedelta = timedelta(0)
    crashes: tuple[int, int] | None = None
    put_back: bool | None = None


_ANY = ClaimFilter()


def choose_due(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    shops: Sequence[str],
    limit: int,
    wanted: ClaimFilter,
    least_recent_first: bool = False,
) -> list[DocumentRef]:
    """Due documents, an equal share per shop, oldest first, at most one per code."""
    rows: list[Sequence[Any]] = []
    for put_back in (False, True) if least_recent_first else (None,):
        some = replace(wanted, put_back=put_back)
        rows += _shares(connection, tables, pipeline, shops, limit - len(rows), some)
    rows.sort(key=lambda row: (*(-sort_age(age) for age in row[4:6]), row[0]))
    refs = [to_ref(pipeline, row) for row in rows]
    first = first_of_codes(connection, tables, pipeline, refs)
    chosen: dict[tuple[str, str], DocumentRef] = {}
    for ref in refs:
        code = code_of(ref.pharmacy_code, ref.local_id)
        if first.get(code, ref.record_id) == ref.record_id:
            chosen.setdefault(code, ref)
    return list(chosen.values())


def _shares(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    shops: Sequence[str],
    limit: int,
    wanted: ClaimFilter,
) -> list[Sequence[Any]]:
    """Rows of `due_documents`; the unused part of a shop's share goes to the others."""
    found: dict[str, Sequence[Any]] = {}
    waiting, room = list(shops), limit
    while waiting and room > 0:
        share = max(room // len(waiting), 1)
        unsatisfied = []
        for shop in waiting:
            size = min(share, room)
            if size == 0:
                break
            before = len(found.get(shop, ()))
            query = due_documents(tables, pipeline, shop, before + size, wanted)
            found[shop] = read_rows(connection, query, tables.header(pipeline).c.id)
            room -= len(found[shop]) - before
            if len(found[shop]) == before + size:
                unsatisfied.append(shop)
        waiting = unsatisfied
    return [row for rows in found.values() for row in rows]


def due_documents(
    tables: SourceTables, pipeline: Pipeline, shop: str, limit: int, wanted: ClaimFilter = _ANY
) -> Select[Any]:
    """A shop's documents that may be claimed now, the oldest document date first.

    With `put_back`, the documents that have been due again for the longest time come first.
    Dates are selected as ages, which a driver can always read.
    """
    header, delivery = tables.header(pipeline), tables.delivery
    dated = header.c[pipeline.date_column]
    rows: FromClause = header
    order = [dated, header.c.created_at, header.c.id]
    conditions = [*_with_crashes(tables, header, pipeline, wanted.crashes)]
    if wanted.put_back is False:
        conditions.append(without(tables, header, pipeline, was_put_back))
    elif wanted.put_back:
        ours = and_(belongs(delivery, pipeline), delivery.c.record_id == header.c.id)
        rows = header.join(delivery, and_(ours, was_put_back(delivery)))
        order.insert(0, delivery.c.next_attempt_at)

    return skip_locked(
        select(
            *ref_columns(header, pipeline),
            age_in_seconds(dated).label("age"),
            age_in_seconds(header.c.created_at).label("created_age"),
        )
        .select_from(rows)
        .where(
            is_pending(header),
            header.c.shop_pharmacy_code == code_value(shop),
            dated_from(header, pipeline, wanted.cut_off),
            without(tables, header, pipeline, is_taken_or_waiting),
            *conditions,
            *_untouched(header, wanted.settle),
        )
        .order_by(*order)
        .limit(limit),
        header,
    )


def _untouched(header: Table, settle: timedelta) -> list[ColumnElement[bool]]:
    """The row was not written recently: other software may still be writing its lines."""
    if not settle:
        return []
    age = age_in_seconds(header.c.updated_at)
    # A time in the future was written by another clock, and is ignored.
    return [or_(age.is_(None), age < 0, age >= settle.total_seconds())]


def _with_crashes(
    tables: SourceTables, header: Table, pipeline: Pipeline, crashes: tuple[int, int] | None
) -> list[ColumnElement[bool]]:
    if crashes is None:
        return []
    least, most = crashes
    conditions = [without(tables, header, pipeline, lambda d: crashes_of(d) > most)]
    if least > 0:
        conditions.append(~without(tables, header, pipeline, lambda d: crashes_of(d) >= least))
    return conditions


def take_statement(
    tables: SourceTables,
    pipeline: Pipeline,
    record_ids: Sequence[int],
    token: str,
    lease: timedelta,
    early: bool = False,
) -> Update:
    """Sets the token on the delivery rows of pending documents that are free."""
    delivery, header = tables.delivery, tables.header(pipeline)
    left_behind = delivery.c.claim_token.is_not(None)
    pending = skip_locked(
        select(literal(1)).where(header.c.id == delivery.c.record_id, is_pending(header)), header
    )
    statement = (
        update_rows(delivery)
        .where(
            belongs(delivery, pipeline),
            one_of(delivery.c.record_id, record_ids),
            is_free(delivery),
            exists(pending.correlate(delivery)),
        )
        .values(
            {
                delivery.c.claim_token: token,
                delivery.c.lease_expires_at: utc_in(lease.total_seconds()),
                # A vanished holder shows nothing about the document: this claim reuses its
                # attempt.
                delivery.c.attempts: case(
                    (and_(left_behind, delivery.c.attempts > 0), delivery.c.attempts),
                    else_=delivery.c.attempts + 1,
                ),
                delivery.c.begun: False,
                **after_vanished(delivery),
            }
        )
    )
    if not early:
        statement = statement.where(is_due(delivery))
    return statement


def mark_statement(
    tables: SourceTables,
    pipeline: Pipeline,
    token: str,
    digests: Sequence[tuple[int, str | None]],
    under_way: timedelta,
) -> Update:
    """Marks what is about to be sent, if the token holds it; returns the record ids.

    Args:
        digests: record ids, each with the digest of what is sent.
        under_way: how long the call may take, including its processing at the platform.
    """
    delivery, digest = tables.delivery, Unicode(64)
    rows = values(
        column("record_id", BigInteger), column("sent_digest", digest), name="sending"
    ).data(list(digests))
    return (
        update_rows(delivery)
        .where(
            belongs(delivery, pipeline),
            delivery.c.record_id == rows.c.record_id,
            delivery.c.claim_token == token,
            is_live(delivery),
        )
        .values(
            {
                delivery.c.unconfirmed: True,
                delivery.c.sent_digest: cast(rows.c.sent_digest, digest),
                delivery.c.settles_at: utc_in(under_way.total_seconds()),
            }
        )
        .returning(delivery.c.record_id)
    )


def end_expired_statement(tables: SourceTables, pipeline: Pipeline, ref: DocumentRef) -> Update:
    """Removes expired tokens from other rows with the same code: they block this document."""
    delivery = tables.delivery
    return (
        update_rows(delivery)
        .where(
            belongs(delivery, pipeline),
            delivery.c.pharmacy_code == bare_code(ref.pharmacy_code),
            delivery.c.local_id == bare_code(ref.local_id),
            delivery.c.record_id != ref.record_id,
            delivery.c.claim_token.is_not(None),
            delivery.c.lease_expires_at <= utc_now(),
        )
        .values(
            {
                delivery.c.claim_token: null(),
                delivery.c.lease_expires_at: null(),
                delivery.c.begun: False,
                **after_vanished(delivery),
            }
        )
    )


def insert_statement(
    tables: SourceTables,
    pipeline: Pipeline,
    refs: Sequence[DocumentRef],
    token: str,
    lease: timedelta,
    dialect: Dialect,
) -> Insert:
    """Inserts delivery rows under the token for pending documents that have none yet."""
    delivery, header = tables.delivery, tables.header(pipeline)
    code = Unicode(CODE_LENGTH)
    chosen = values(
        column("record_id", BigInteger),
        column("pharmacy_code", code),
        column("local_id", code),
        name="chosen",
    ).data([(ref.record_id, bare_code(ref.pharmacy_code), bare_code(ref.local_id)) for ref in refs])

    rows = select(
        _labelled(delivery.c.platform, PLATFORM),
        _labelled(delivery.c.pipeline, pipeline.name),
        chosen.c.record_id,
        chosen.c.pharmacy_code,
        chosen.c.local_id,
        _labelled(delivery.c.claim_token, token),
        utc_in(lease.total_seconds()).label("lease_expires_at"),
        _labelled(delivery.c.attempts, 1),
        _labelled(delivery.c.crashes, 0),
        false().label("begun"),
        false().label("unconfirmed"),
    ).select_from(chosen.join(header, header.c.id == chosen.c.record_id))
    rows = rows.where(is_pending(header), without(tables, header, pipeline, lambda _: true()))
    rows = skip_locked(rows, header)
    return insert_missing(delivery, rows, dialect)


def _labelled(column: Column[Any], value: Any) -> ColumnElement[Any]:
    return literal(value, column.type).label(column.name)


def first_of_codes(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    refs: Iterable[DocumentRef],
) -> dict[tuple[str, str], int | None]:
    """By code attempted before: the one pending row that may be sent; None while the code is held.

    A row that the platform may have needs an outcome before another row of its code is sent.
    """
    delivery, header = tables.delivery, tables.header(pipeline)
    local_ids = sorted({bare_code(ref.local_id) for ref in refs})
    query = (
        select(
            delivery.c.pharmacy_code,
            delivery.c.local_id,
            delivery.c.record_id,
            flag(is_live(delivery)),
        )
        .select_from(delivery.join(header, header.c.id == delivery.c.record_id))
        .where(belongs(delivery, pipeline), or_(is_pending(header), is_live(delivery)))
        .order_by(delivery.c.record_id.desc())
    )
    first: dict[tuple[str, str], int | None] = {}
    held: set[tuple[str, str]] = set()
    for part in chunks(local_ids):
        some = query.where(one_of(delivery.c.local_id, part))
        for pharmacy_code, local_id, record_id, live in connection.execute(some):
            code = code_of(pharmacy_code, local_id)
            first[code] = record_id
            if live:
                held.add(code)
    return first | dict.fromkeys(held, None)


def bare_code(code: str) -> str:
    return code.strip()[:CODE_LENGTH]


def code_of(pharmacy_code: str, local_id: str) -> tuple[str, str]:
    return comparable(bare_code(pharmacy_code)), comparable(bare_code(local_id))
