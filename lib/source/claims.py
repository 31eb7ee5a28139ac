"""Taking, keeping and giving back documents. A claim is a token with a lease on header rows.

What holds in every moment: a row under a claim has the status PENDING_SYNC, and of the rows with
one code (same pharmacy, same local id) at most one is under a live claim.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    Table,
    Update,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    update,
)

from lib.errors import (
    AlreadySent,
    AmbiguousDocument,
    BeforeCutOff,
    DocumentBusy,
    DocumentNotFound,
)
from lib.models import Claim, DocumentRef, SyncStatus
from lib.pipelines import Pipeline
from lib.source.dialects import (
    ROW_LOCK_HINT,
    evaluated_once,
    local_now,
    lock,
    lock_skipping_locked,
    one_of,
    read_current,
    utc_in,
    utc_now,
)
from lib.source.rows import (
    dated_from,
    is_free,
    is_live,
    is_pending,
    live_flag,
    ref_columns,
    same_code,
    to_ref,
)
from lib.source.shops import pending_shops
from lib.source.tables import SourceTables


def claim(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    *,
    token: str,
    limit: int,
    lease: timedelta,
    exclude_shops: Collection[str],
    only_shops: Collection[str] | None,
    cut_off: date | None = None,
) -> Claim:
    """Take up to `limit` due documents: each shop the same share, its oldest first.

    What a shop leaves of its share goes to the others, so that neither a large backlog of one
    shop holds up the others nor an idle shop leaves room unused. One statement a shop and pass.
    """
    header = tables.header(pipeline)
    waiting = [
        shop.code
        for shop in pending_shops(connection, header, pipeline, cut_off)
        if shop.code not in exclude_shops and (only_shops is None or shop.code in only_shops)
    ]
    taken: list[Row[Any]] = []
    while waiting and len(taken) < limit:
        share = max((limit - len(taken)) // len(waiting), 1)
        unsatisfied = []
        for shop in waiting:
            size = min(share, limit - len(taken))
            if size == 0:
                break
            due = due_documents(header, pipeline, shop, size, cut_off)
            found = connection.execute(
                claim_statement(header, pipeline, due, token, lease, connection)
            ).all()
            taken.extend(found)
            if len(found) == size:
                unsatisfied.append(shop)
        waiting = unsatisfied
    taken.sort(key=lambda row: (row.dated, row.created_at, row.id))
    return Claim(token, pipeline.name, tuple(to_ref(pipeline, row) for row in taken))


def due_documents(
    header: Table, pipeline: Pipeline, shop: str, limit: int, cut_off: date | None = None
) -> Select[Any]:
    """Ids of a shop's documents to be claimed now, locked; those others are claiming are left out.

    The oldest by their own date come first, and none from before the cut-off. Of several rows with
    one code only the lowest pending one of these is due, and none while another of them is under a
    live claim.
    """
    due, other = header.alias("due"), header.alias("other")
    rival = read_current(
        select(other.c.id).where(
            same_code(due, other, pipeline),
            is_pending(other),
            or_(
                and_(other.c.id < due.c.id, dated_from(other, pipeline, cut_off)),
                and_(other.c.id != due.c.id, is_live(other)),
            ),
        ),
        other,
    )
    query = (
        select(due.c.id)
        .where(
            is_pending(due),
            due.c.shop_pharmacy_code == shop,
            dated_from(due, pipeline, cut_off),
            is_free(due),
            or_(due.c.sync_next_attempt_at.is_(None), due.c.sync_next_attempt_at <= utc_now()),
            ~exists(rival),
        )
        .order_by(due.c[pipeline.date_column], due.c.created_at, due.c.id)
        .limit(limit)
    )
    return lock_skipping_locked(query, due)


def claim_statement(
    header: Table,
    pipeline: Pipeline,
    due: Select[Any],
    token: str,
    lease: timedelta,
    connection: Connection | Dialect,
) -> Update:
    """The one statement that claims what `due` finds and answers with it."""
    dialect = connection if isinstance(connection, Dialect) else connection.dialect
    return (
        update(header)
        .with_hint(ROW_LOCK_HINT, dialect_name="mssql")
        .where(header.c.id.in_(evaluated_once(due, dialect)))
        .values(_claimed(header, token, lease))
        .returning(
            *ref_columns(header, pipeline),
            header.c[pipeline.date_column].label("dated"),
            header.c.created_at,
        )
    )


def claim_one(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    *,
    local_id: str,
    pharmacy_code: str | None,
    token: str,
    lease: timedelta,
    force: bool,
    cut_off: date | None = None,
) -> Claim:
    """Take one document by name, whatever its status and next attempt.

    Raises:
        DocumentNotFound, AmbiguousDocument, DocumentBusy, AlreadySent, BeforeCutOff.
    """
    header = tables.header(pipeline)
    rows = _lock_code(connection, header, pipeline, local_id, pharmacy_code, cut_off)
    label = f"{pipeline.name} document {local_id!r}"
    if pharmacy_code is not None:
        label += f" of pharmacy {pharmacy_code}"
    if not rows:
        raise DocumentNotFound(f"there is no {label}")
    pharmacies = sorted({row.pharmacy_code for row in rows})
    if len(pharmacies) > 1:
        raise AmbiguousDocument(
            f"there is more than one {label}: name the pharmacy, one of {', '.join(pharmacies)}"
        )
    if any(row.live for row in rows):
        raise DocumentBusy(f"{label} is being sent by another run")
    pending = [row for row in rows if row.status == SyncStatus.PENDING]
    chosen = (pending or rows)[0]
    if chosen.status == SyncStatus.SUCCESS and not force:
        raise AlreadySent(f"{label} is already accepted; only force sends it again")
    if not chosen.in_scope and not force:
        raise BeforeCutOff(
            f"{label} is dated before {cut_off} (DQG_SYNC__NOT_BEFORE); only force sends it"
        )
    connection.execute(
        update(header)
        .where(header.c.id == chosen.id)
        .values(
            _claimed(header, token, lease)
            | {header.c.status: SyncStatus.PENDING.value, header.c.updated_at: local_now()}
        )
    )
    return Claim(token, pipeline.name, (to_ref(pipeline, chosen),))


def renew(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    token: str,
    lease: timedelta,
) -> int:
    """Extend the lease of what the token still holds; how many documents that is."""
    header = tables.header(pipeline)
    return connection.execute(
        update(header)
        .where(header.c.sync_claim_token == token)
        .values({header.c.sync_lease_expires_at: utc_in(lease.total_seconds())})
    ).rowcount


def release_claim(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    token: str,
    *,
    unconfirmed: bool | None,
    costs_attempt: bool,
    only_expired: bool,
) -> list[DocumentRef]:
    """Give back everything the token holds; what that was, by id."""
    header = tables.header(pipeline)
    values: dict[Any, Any] = {
        header.c.sync_claim_token: None,
        header.c.sync_lease_expires_at: None,
    }
    if unconfirmed is not None:
        values[header.c.sync_unconfirmed] = unconfirmed
    if not costs_attempt:
        values[header.c.sync_attempts] = case(
            (header.c.sync_attempts > 0, header.c.sync_attempts - 1), else_=0
        )
    statement = update(header).where(header.c.sync_claim_token == token).values(values)
    if only_expired:
        statement = statement.where(is_free(header))
    rows = connection.execute(statement.returning(*ref_columns(header, pipeline)))
    return sorted((to_ref(pipeline, row) for row in rows), key=lambda ref: ref.record_id)


def requeue(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    record_ids: Sequence[int],
) -> int:
    """Make failed documents pending again with a fresh count of attempts; how many."""
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


def _claimed(header: Table, token: str, lease: timedelta) -> dict[Any, Any]:
    left_behind = header.c.sync_claim_token.is_not(None)
    attempts = func.coalesce(header.c.sync_attempts, 0)
    return {
        header.c.sync_claim_token: token,
        header.c.sync_lease_expires_at: utc_in(lease.total_seconds()),
        # A holder that vanished says nothing about the document: its attempt becomes this one.
        header.c.sync_attempts: case(
            (and_(left_behind, attempts > 0), attempts), else_=attempts + 1
        ),
        header.c.sync_unconfirmed: case((left_behind, true()), else_=header.c.sync_unconfirmed),
    }


def _lock_code(
    connection: Connection,
    header: Table,
    pipeline: Pipeline,
    local_id: str,
    pharmacy_code: str | None,
    cut_off: date | None,
) -> Sequence[Row[Any]]:
    in_scope: ColumnElement[int] = literal(1)
    if cut_off is not None:
        in_scope = case((dated_from(header, pipeline, cut_off), 1), else_=0)
    query = (
        select(
            *ref_columns(header, pipeline),
            header.c.status,
            live_flag(header),
            in_scope.label("in_scope"),
        )
        .where(header.c[pipeline.local_id_column] == local_id)
        .order_by(header.c.id)
    )
    if pharmacy_code is not None:
        query = query.where(header.c.pharmacy_code == pharmacy_code)
    return connection.execute(lock(query, header)).all()
