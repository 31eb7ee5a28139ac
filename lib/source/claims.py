"""Taking, keeping and giving back documents. A claim is a token with a lease on header rows.

What holds in every moment: a row under a claim has the status PENDING_SYNC, and of the rows with
one code (same pharmacy, same local id) at most one is under a live claim.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
from lib.models import Claim, DocumentRef, HeldClaim, SyncStatus
from lib.pipelines import Pipeline
from lib.source.counts import pending_shops
from lib.source.dialects import (
    ROW_LOCK_HINT,
    evaluated_once,
    local_now,
    lock,
    lock_skipping_locked,
    one_of,
    read_current,
    seconds_until,
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
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions


class Claims:
    """Takes, keeps and gives back documents.

    Args:
        cut_off: documents dated earlier are left alone.
    """

    def __init__(
        self, transactions: Transactions, tables: SourceTables, cut_off: date | None
    ) -> None:
        self._run = transactions.run
        self._tables = tables
        self._cut_off = cut_off

    def claim(
        self,
        pipeline: Pipeline,
        *,
        token: str,
        limit: int,
        lease: timedelta,
        exclude_shops: Collection[str] = (),
        only_shops: Collection[str] | None = None,
    ) -> Claim:
        """Claim up to `limit` pending documents, shops in equal shares, each call others.

        Not to be repeated with the same token after `StoreUnavailable`: what was claimed then, if
        anything, comes free when the lease runs out.
        """
        if limit <= 0 or (only_shops is not None and not only_shops):
            return Claim(token, pipeline.name, ())

        def work(connection: Connection) -> Claim:
            header = self._tables.header(pipeline)
            waiting = [
                shop.code
                for shop in pending_shops(connection, header, pipeline, self._cut_off)
                if shop.code not in exclude_shops
                and (only_shops is None or shop.code in only_shops)
            ]
            taken: list[Row[Any]] = []
            while waiting and len(taken) < limit:
                share = max((limit - len(taken)) // len(waiting), 1)
                unsatisfied = []
                for shop in waiting:
                    size = min(share, limit - len(taken))
                    if size == 0:
                        break
                    due = due_documents(header, pipeline, shop, size, self._cut_off)
                    found = connection.execute(
                        claim_statement(header, pipeline, due, token, lease, connection)
                    ).all()
                    taken.extend(found)
                    if len(found) == size:
                        unsatisfied.append(shop)
                waiting = unsatisfied
            taken.sort(key=lambda row: (row.dated, row.created_at, row.id))
            return Claim(token, pipeline.name, tuple(to_ref(pipeline, row) for row in taken))

        return self._run(work)

    def claim_one(
        self,
        pipeline: Pipeline,
        *,
        local_id: str,
        pharmacy_code: str | None = None,
        token: str,
        lease: timedelta,
        force: bool = False,
    ) -> Claim:
        """Claim one document for a person: whatever its status, before its next attempt too.

        Of several rows with this code and pharmacy, the pending one with the lowest id, else the
        one with the lowest id.

        Raises:
            DocumentNotFound: there is none.
            AmbiguousDocument: several pharmacies have one, and none was named.
            DocumentBusy: it, or another row of the same code, is under a live claim.
            AlreadySent: it is SYNC_SUCCESS and `force` was not given.
            BeforeCutOff: it is dated before the cut-off and `force` was not given.
        """

        def work(connection: Connection) -> Claim:
            header = self._tables.header(pipeline)
            rows = _lock_code(connection, header, pipeline, local_id, pharmacy_code, self._cut_off)
            label = f"{pipeline.name} document {local_id!r}"
            if pharmacy_code is not None:
                label += f" of pharmacy {pharmacy_code}"
            if not rows:
                raise DocumentNotFound(f"there is no {label}")
            pharmacies = sorted({row.pharmacy_code for row in rows})
            if len(pharmacies) > 1:
                raise AmbiguousDocument(
                    f"there is more than one {label}: name the pharmacy, "
                    f"one of {', '.join(pharmacies)}"
                )
            if any(row.live for row in rows):
                raise DocumentBusy(f"{label} is being sent by another run")
            pending = [row for row in rows if row.status == SyncStatus.PENDING]
            chosen = (pending or rows)[0]
            if chosen.status == SyncStatus.SUCCESS and not force:
                raise AlreadySent(f"{label} is already accepted; only force sends it again")
            if not chosen.in_scope and not force:
                raise BeforeCutOff(
                    f"{label} is dated before {self._cut_off} (DQG_SYNC__NOT_BEFORE); "
                    f"only force sends it"
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

        return self._run(work)

    def renew(self, pipeline: Pipeline, token: str, lease: timedelta) -> int:
        """Extend the lease of the documents a token still holds. Idempotent.

        Returns:
            How many that is: 0 when the claim is lost or every document is done.
        """

        def work(connection: Connection) -> int:
            header = self._tables.header(pipeline)
            return connection.execute(
                update(header)
                .where(header.c.sync_claim_token == token)
                .values({header.c.sync_lease_expires_at: utc_in(lease.total_seconds())})
            ).rowcount

        return self._run(work)

    def mark_sending(self, pipeline: Pipeline, token: str, record_ids: Iterable[int]) -> set[int]:
        """Note that documents are about to be sent, where the token still holds them. Idempotent.

        Until an outcome says otherwise they count as unconfirmed from now on.

        Returns:
            Record ids of those that may be sent: held by the token, under a live lease.
        """
        header = self._tables.header(pipeline)

        def work(connection: Connection) -> set[int]:
            return set(
                connection.execute(
                    update(header)
                    .where(
                        header.c.sync_claim_token == token,
                        is_live(header),
                        one_of(header.c.id, sorted(set(record_ids))),
                    )
                    .values({header.c.sync_unconfirmed: true()})
                    .returning(header.c.id)
                ).scalars()
            )

        return self._run(work)

    def release(
        self,
        pipeline: Pipeline,
        token: str,
        *,
        unconfirmed: bool | None,
        costs_attempt: bool,
        only_expired: bool = False,
    ) -> list[DocumentRef]:
        """Give back everything a token holds. May be repeated; then it finds nothing.

        Args:
            unconfirmed: whether the API may have the documents; None leaves the flag as it is.
            costs_attempt: False gives the claim's attempt back.
            only_expired: leave documents alone whose lease has not run out.
        """

        def work(connection: Connection) -> list[DocumentRef]:
            header = self._tables.header(pipeline)
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

        return self._run(work)

    def held(self, pipeline: Pipeline) -> list[HeldClaim]:
        """Every token found on documents, live or not, soonest to end first."""

        def work(connection: Connection) -> list[HeldClaim]:
            header = self._tables.header(pipeline)
            left = func.max(func.coalesce(seconds_until(header.c.sync_lease_expires_at), 0))
            rows = connection.execute(
                select(header.c.sync_claim_token, func.count(), left)
                .where(header.c.sync_claim_token.is_not(None))
                .group_by(header.c.sync_claim_token)
            )
            claims = [
                HeldClaim(token, pipeline.name, count, float(left)) for token, count, left in rows
            ]
            return sorted(claims, key=lambda claim: claim.lease_seconds_left)

        return self._run(work)


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
