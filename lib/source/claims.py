"""Claims, renews and releases documents. A claim is a token with a lease on delivery rows.

Constraints of the database guarantee that a document has one delivery row per platform, and that at
most one of the rows with the same code (same pharmacy, same local id) carries a token. Each
claiming statement checks its full condition, so a race is resolved without any lock hint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    func,
    null,
    select,
)
from sqlalchemy.exc import IntegrityError

from lib.models import Claim, DocumentRef, HeldClaim, SyncStatus, comparable
from lib.pipelines import Pipeline
from lib.source.claim_statements import (
    ClaimFilter,
    choose_due,
    end_expired_statement,
    insert_statement,
    mark_statement,
    take_statement,
)
from lib.source.dialects import (
    chunks,
    local_now,
    seconds_until,
    update_rows,
    utc_in,
)
from lib.source.documents import busy, choose_one, pending_shops
from lib.source.rows import (
    after_vanished,
    belongs,
    read_rows,
    ref_columns,
    to_ref,
)
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions

#: Documents inserted by one statement; each takes three of SQL Server's 2100 parameters.
_INSERTED = 500


class Claims:
    """Claims, renews and releases documents.

    Args:
        cut_off: documents dated earlier are not claimed.
        settle: rows that were written within this time are left for the next claim.
    """

    def __init__(
        self,
        transactions: Transactions,
        tables: SourceTables,
        cut_off: date | None,
        settle: timedelta = timedelta(0),
    ) -> None:
        self._run = transactions.run
        self._tables = tables
        self._delivery = tables.delivery
        self._cut_off = cut_off
        self._settle = settle

    def claim(
        self,
        pipeline: Pipeline,
        *,
        token: str,
        limit: int,
        lease: timedelta,
        exclude_shops: Collection[str] = (),
        only_shops: Collection[str] | None = None,
        crashes: tuple[int, int] | None = None,
        least_recent_first: bool = False,
    ) -> Claim:
        """Claim up to `limit` pending documents: an equal share per shop, oldest first.

        The unused part of a shop's share goes to the others. Do not retry with the same token
        after `StoreUnavailable`: documents that were claimed, if any, become free when the lease
        runs out.

        Args:
            crashes: minimum and maximum number of vanished holders; None for any.
            least_recent_first: documents that were never put back come first, then those that have
                been due again for the longest time.
        """
        if limit <= 0 or (only_shops is not None and not only_shops):
            return Claim(token, pipeline.name, ())
        excluded = {comparable(shop) for shop in exclude_shops}
        only = None if only_shops is None else {comparable(shop) for shop in only_shops}
        chosen: list[DocumentRef] = []

        def work(connection: Connection) -> set[int]:
            shops = [
                shop.code
                for shop in pending_shops(connection, self._tables, pipeline, self._cut_off)
                if (code := comparable(shop.code)) not in excluded
                and (only is None or code in only)
            ]
            wanted = ClaimFilter(self._cut_off, self._settle, crashes)
            chosen[:] = choose_due(
                connection, self._tables, pipeline, shops, limit, wanted, least_recent_first
            )
            return self._take(connection, pipeline, chosen, token, lease)

        try:
            taken = self._run(work)
        except IntegrityError:
            # Another claim took one of them first, or an expired claim still holds its code.
            taken = set()
            for ref in list(chosen):
                taken |= self._take_alone(pipeline, ref, token, lease)
        return Claim(token, pipeline.name, tuple(r for r in chosen if r.record_id in taken))

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
        """Claim one document for a person: with any status, also before its next attempt is due.

        If several rows have this code and pharmacy, the pending one with the lowest id is claimed,
        else the one with the lowest id. Its status becomes PENDING_SYNC.

        Raises:
            DocumentNotFound: there is no such document.
            AmbiguousDocument: several pharmacies have one, and `pharmacy_code` was not given.
            DocumentBusy: it, or another row of the same code, is under a live claim.
            AlreadySent: it is SYNC_SUCCESS and `force` was not given.
            BeforeCutOff: it is dated before the cut-off and `force` was not given.
        """
        header = self._tables.header(pipeline)

        def work(connection: Connection) -> DocumentRef:
            chosen = choose_one(
                connection,
                self._tables,
                pipeline,
                local_id,
                pharmacy_code,
                force=force,
                cut_off=self._cut_off,
            )
            connection.execute(
                update_rows(header)
                .where(
                    header.c.id == chosen.record_id,
                    header.c.status != SyncStatus.PENDING.value,
                )
                .values(
                    {header.c.status: SyncStatus.PENDING.value, header.c.updated_at: local_now()}
                )
            )
            connection.execute(end_expired_statement(self._tables, pipeline, chosen))
            if not self._take(connection, pipeline, [chosen], token, lease, early=True):
                raise busy(pipeline, local_id, pharmacy_code)
            return chosen

        try:
            return Claim(token, pipeline.name, (self._run(work),))
        except IntegrityError:
            raise busy(pipeline, local_id, pharmacy_code) from None

    def renew(self, pipeline: Pipeline, token: str, lease: timedelta) -> int:
        """Extend the lease of the documents a token still holds: its holder is alive. Idempotent.

        Returns:
            The number of these documents: 0 if the claim is lost or every document is done.
        """
        held = self._held(pipeline, token)

        def work(connection: Connection) -> int:
            connection.execute(
                update_rows(self._delivery)
                .where(held)
                .values(
                    {
                        self._delivery.c.lease_expires_at: utc_in(lease.total_seconds()),
                        self._delivery.c.begun: True,
                    }
                )
            )
            query = select(func.count()).select_from(self._delivery).where(held)
            return int(connection.execute(query).scalar_one())

        return self._run(work)

    def mark_sending(
        self,
        pipeline: Pipeline,
        token: str,
        digests: Mapping[int, str | None],
        under_way: timedelta,
    ) -> set[int]:
        """Mark documents as about to be sent, if the token still holds them. Idempotent.

        From now on they count as unconfirmed, until an outcome changes that.

        Args:
            digests: of what is about to be sent, by record id.
            under_way: how long the calls may take, including their processing at the platform.

        Returns:
            Record ids of those that may be sent: held by the token, under a live lease.
        """
        marked: set[int] = set()
        items = sorted(digests.items())
        for part in chunks(items, _INSERTED):
            some = mark_statement(self._tables, pipeline, token, part, under_way)
            marked.update(self._run(partial(_scalars, statement=some)))
        return marked

    def release(
        self,
        pipeline: Pipeline,
        token: str,
        *,
        unconfirmed: bool | None,
        costs_attempt: bool,
        vanished: bool = False,
    ) -> list[DocumentRef]:
        """Release all documents of a token, by record id. Idempotent: a second call finds none.

        Args:
            unconfirmed: whether the API may have the documents; None leaves the flag as it is.
            costs_attempt: if False, this claim does not count as an attempt.
            vanished: its holder ended without outcomes; if it had begun, that is counted in
                `crashes`, and the documents become unconfirmed, whatever `unconfirmed` is.
        """
        delivery, header = self._delivery, self._tables.header(pipeline)
        changes: dict[Any, Any] = {
            delivery.c.claim_token: null(),
            delivery.c.lease_expires_at: null(),
        }
        if unconfirmed is not None:
            changes[delivery.c.unconfirmed] = unconfirmed
        if unconfirmed is False:
            changes[delivery.c.sent_digest] = null()
        if not costs_attempt:
            changes[delivery.c.attempts] = case(
                (delivery.c.attempts > 0, delivery.c.attempts - 1), else_=0
            )
        if vanished:
            changes.update(after_vanished(delivery))
        held = self._held(pipeline, token)

        def work(connection: Connection) -> list[DocumentRef]:
            query = (
                select(*ref_columns(header, pipeline))
                .select_from(
                    header.join(
                        delivery,
                        and_(belongs(delivery, pipeline), delivery.c.record_id == header.c.id),
                    )
                )
                .where(held)
                .order_by(header.c.id)
            )
            refs = [to_ref(pipeline, row) for row in read_rows(connection, query, header.c.id)]
            released = connection.execute(
                update_rows(self._delivery)
                .where(held)
                .values(changes)
                .returning(delivery.c.record_id)
            )
            ids = set(released.scalars())
            return [ref for ref in refs if ref.record_id in ids]

        return self._run(work)

    def held(self, pipeline: Pipeline) -> list[HeldClaim]:
        """Every token found on documents, live or expired, ordered by the end of its lease."""
        delivery = self._delivery
        left = func.max(func.coalesce(seconds_until(delivery.c.lease_expires_at), 0))
        query = (
            select(delivery.c.claim_token, func.count(), left)
            .where(belongs(delivery, pipeline), delivery.c.claim_token.is_not(None))
            .group_by(delivery.c.claim_token)
        )
        rows = self._run(lambda c: c.execute(query).all())
        claims = [
            HeldClaim(token, pipeline.name, count, float(left)) for token, count, left in rows
        ]
        return sorted(claims, key=lambda claim: claim.lease_seconds_left)

    def _take(
        self,
        connection: Connection,
        pipeline: Pipeline,
        refs: Sequence[DocumentRef],
        token: str,
        lease: timedelta,
        *,
        early: bool = False,
    ) -> set[int]:
        """Set the token on documents that are still free; returns the record ids it holds now.

        Args:
            early: also documents whose next attempt is not due yet.
        """
        for ids in chunks([ref.record_id for ref in refs]):
            connection.execute(take_statement(self._tables, pipeline, ids, token, lease, early))
        for new in chunks(refs, _INSERTED):
            connection.execute(
                insert_statement(self._tables, pipeline, new, token, lease, connection.dialect)
            )
        held = select(self._delivery.c.record_id).where(self._held(pipeline, token))
        return set(connection.execute(held).scalars())

    def _take_alone(
        self, pipeline: Pipeline, ref: DocumentRef, token: str, lease: timedelta
    ) -> set[int]:
        def work(connection: Connection) -> set[int]:
            connection.execute(end_expired_statement(self._tables, pipeline, ref))
            return self._take(connection, pipeline, [ref], token, lease)

        try:
            return self._run(work)
        except IntegrityError:
            return set()

    def _held(self, pipeline: Pipeline, token: str) -> ColumnElement[bool]:
        return and_(belongs(self._delivery, pipeline), self._delivery.c.claim_token == token)


def _scalars(connection: Connection, statement: Update) -> Sequence[int]:
    return connection.execute(statement).scalars().all()
