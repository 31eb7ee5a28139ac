"""The source database as the rest of the system sees it: documents, claims, outcomes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, Engine, select

from lib.models import (
    Claim,
    Document,
    DocumentRef,
    FinishedCount,
    HeldClaim,
    Outcome,
    PipelineSummary,
    StoredDocument,
)
from lib.pipelines import Pipeline, get_pipeline
from lib.source import claims, daily, installation, outcomes, passwords, queries
from lib.source.daily import DailyDocument
from lib.source.dialects import MAX_IN_LIST, utc_now
from lib.source.installation import Installation
from lib.source.passwords import StoredPassword
from lib.source.queries import ShopAccount, ShopSummary
from lib.source.shops import PendingShop, pending_shops
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions

__all__ = [
    "DailyDocument",
    "PendingShop",
    "ShopAccount",
    "ShopSummary",
    "SourceStore",
    "StoredPassword",
]


class SourceStore:
    """Synchronous; may be shared by threads. Each call is a transaction of its own.

    Every method raises `StoreUnavailable` while the database is away, and `ConfigurationError`
    where login, permission, or a table or column is wrong.

    Args:
        not_before: documents dated earlier are left alone, and counted apart.
    """

    def __init__(
        self,
        engine: Engine,
        tables: SourceTables,
        *,
        not_before: date | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._tables = tables
        self._cut_off = not_before
        self._run = Transactions(engine, sleep=sleep).run

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
            return claims.claim(
                connection,
                self._tables,
                pipeline,
                token=token,
                limit=limit,
                lease=lease,
                exclude_shops=exclude_shops,
                only_shops=only_shops,
                cut_off=self._cut_off,
            )

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
            return claims.claim_one(
                connection,
                self._tables,
                pipeline,
                local_id=local_id,
                pharmacy_code=pharmacy_code,
                token=token,
                lease=lease,
                force=force,
                cut_off=self._cut_off,
            )

        return self._run(work)

    def load(self, pipeline: Pipeline, token: str) -> list[Document]:
        """Headers and lines of all documents a token holds, oldest first. May be repeated."""
        return self._run(lambda c: queries.load(c, self._tables, pipeline, token))

    def renew(self, pipeline: Pipeline, token: str, lease: timedelta) -> int:
        """Extend the lease of the documents a token still holds. May be repeated.

        Returns:
            How many that is: 0 when the claim is lost or every document is done.
        """
        return self._run(lambda c: claims.renew(c, self._tables, pipeline, token, lease))

    def save(self, results: Sequence[Outcome]) -> set[tuple[str, int]]:
        """Write outcomes of any mix of pipelines and claims, each under its fencing token.

        May be repeated: an outcome that was already written counts as written.

        Returns:
            Pipeline and record id of what was written. The rest had lost its claim and belongs to
            another holder; nothing of it was changed.
        """
        by_pipeline: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in results:
            by_pipeline[outcome.ref.pipeline].append(outcome)
        written: set[tuple[str, int]] = set()
        for name, group in by_pipeline.items():
            for start in range(0, len(group), outcomes.GROUP):
                written |= self._save_group(
                    get_pipeline(name), group[start : start + outcomes.GROUP]
                )
        return written

    def _save_group(self, pipeline: Pipeline, group: Sequence[Outcome]) -> set[tuple[str, int]]:
        return self._run(lambda c: outcomes.save_group(c, self._tables, pipeline, group))

    def release_claim(
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
        return self._run(
            lambda c: claims.release_claim(
                c,
                self._tables,
                pipeline,
                token,
                unconfirmed=unconfirmed,
                costs_attempt=costs_attempt,
                only_expired=only_expired,
            )
        )

    def record_acceptance(self, ref: DocumentRef, national_id: str | None, message: str) -> bool:
        """Mark a document SYNC_SUCCESS that the API is known to have, whoever holds it.

        May be repeated.

        Returns:
            False where it already was, or is gone.
        """
        pipeline = get_pipeline(ref.pipeline)
        return self._run(
            lambda c: outcomes.record_acceptance(
                c, self._tables, pipeline, ref, national_id, message
            )
        )

    def resolve_by_hand(self, ref: DocumentRef, national_id: str, message: str) -> bool:
        """Mark a SYNC_FAILED document SYNC_SUCCESS that a person entered at the portal.

        May be repeated: with the same national id it counts as done.

        Returns:
            False where it is not failed, somebody holds it, or it is gone; nothing was changed.
        """
        pipeline = get_pipeline(ref.pipeline)
        return self._run(
            lambda c: outcomes.resolve_by_hand(c, self._tables, pipeline, ref, national_id, message)
        )

    def requeue(self, pipeline: Pipeline, record_ids: Sequence[int]) -> int:
        """Make SYNC_FAILED documents pending again, their attempts counted afresh.

        May be repeated. Others are left alone.

        Returns:
            How many were made pending.
        """
        ids = sorted(set(record_ids))
        return sum(
            self._requeue(pipeline, ids[start : start + MAX_IN_LIST])
            for start in range(0, len(ids), MAX_IN_LIST)
        )

    def _requeue(self, pipeline: Pipeline, ids: Sequence[int]) -> int:
        return self._run(lambda c: claims.requeue(c, self._tables, pipeline, ids))

    def find(
        self, pipeline: Pipeline, local_id: str, pharmacy_code: str | None = None
    ) -> list[StoredDocument]:
        """Documents of a local id, by record id."""
        return self._run(lambda c: queries.find(c, self._tables, pipeline, local_id, pharmacy_code))

    def get(self, pipeline: Pipeline, record_ids: Sequence[int]) -> list[StoredDocument]:
        """Documents by record id; those that are not there are left out."""
        return self._run(lambda c: queries.get(c, self._tables, pipeline, record_ids))

    def held_claims(self, pipeline: Pipeline) -> list[HeldClaim]:
        """Every token found on documents, live or not, soonest to end first."""
        return self._run(lambda c: queries.held_claims(c, self._tables, pipeline))

    def summary(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[PipelineSummary]:
        """Counts of each pipeline; two statements each.

        Args:
            finished_within: count accepted and failed documents of this long only; all of them
                is a scan of every document there ever was.
        """
        return self._run(
            lambda c: [
                queries.summary(c, self._tables, p, finished_within, self._cut_off)
                for p in pipelines
            ]
        )

    def finished(
        self, pipelines: Sequence[Pipeline], within: timedelta
    ) -> dict[str, FinishedCount]:
        """How many documents of each pipeline ended how, in so long; one statement each."""
        return self._run(
            lambda c: {
                p.name: queries.finished(c, self._tables.header(p), within) for p in pipelines
            }
        )

    def shop_summaries(
        self, pipelines: Sequence[Pipeline], *, finished_within: timedelta | None = None
    ) -> list[ShopSummary]:
        """Counts of each pipeline by shop, for a person; two statements each.

        Args:
            finished_within: count accepted and failed documents of this long only; by default
                those of today.
        """
        return self._run(
            lambda c: [
                shop
                for p in pipelines
                for shop in queries.shop_summaries(
                    c, self._tables, p, finished_within, self._cut_off
                )
            ]
        )

    def documents_of_day(self, pipeline: Pipeline, day: date) -> list[DailyDocument]:
        """Documents whose own date is this day, with what their lines come to; two statements."""
        return self._run(lambda c: daily.documents_of_day(c, self._tables, pipeline, day))

    def drug_codes(
        self, pipeline: Pipeline, record_ids: Sequence[int]
    ) -> dict[int, list[str | None]]:
        """Drug codes of documents' lines by record id, in the order the lines are sent in."""
        return self._run(lambda c: queries.drug_codes(c, self._tables, pipeline, record_ids))

    def pending_shops(self, pipeline: Pipeline) -> list[PendingShop]:
        """Shops with pending documents that nobody holds, due or waiting; oldest first."""
        header = self._tables.header(pipeline)
        return self._run(lambda c: pending_shops(c, header, pipeline, self._cut_off))

    def successes_without_national_id(self, pipeline: Pipeline, limit: int) -> list[DocumentRef]:
        """Accepted documents whose national id is missing, by record id."""
        return self._run(
            lambda c: queries.successes_without_national_id(c, self._tables, pipeline, limit)
        )

    def accounts(self) -> list[ShopAccount]:
        """Every shop's logins, switched off ones included."""
        return self._run(lambda c: queries.accounts(c, self._tables))

    def change_password(
        self, account: ShopAccount, change: Callable[[StoredPassword], StoredPassword]
    ) -> StoredPassword | None:
        """Write the password of one account in another form, in one transaction.

        Args:
            change: gets what is stored now, which may be newer than `account`. May be called again
                after a deadlock; what it raises undoes everything.

        Returns:
            What the database holds now, None where the account is gone.

        Raises:
            ConfigurationError: the new form does not fit into its column, or did not arrive there.
        """
        return self._run(lambda c: passwords.change(c, self._tables, account, change))

    def installation(self) -> Installation:
        """Where this is, and where it may be. One statement."""
        return self._run(lambda c: installation.read(c, self._tables))

    def confirm_installation(self, *, by: str, why: str, also: bool = False) -> None:
        """Record this database as one to send from.

        Args:
            also: those that were recorded before stay valid.
        """
        self._run(lambda c: installation.record(c, self._tables, by=by, why=why, replaces=not also))

    def now(self) -> datetime:
        """The present moment by the database's clock."""
        moment: datetime = self._run(lambda c: c.execute(select(utc_now())).scalar_one())
        return moment.replace(tzinfo=UTC)

    def ping(self) -> None:
        """Reach the database, or raise."""
        self._run(lambda c: c.execute(select(1)).all())

    def dispose(self) -> None:
        """Close the pooled connections. May be repeated."""
        self._engine.dispose()
