"""The interface to the source database for the rest of the system."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, select

from lib.source.accounts import Accounts
from lib.source.claims import Claims
from lib.source.corrections import Corrections
from lib.source.counts import Counts
from lib.source.daily import DailyDocuments
from lib.source.dialects import utc_now
from lib.source.documents import Documents
from lib.source.installation import Installations
from lib.source.outcomes import Outcomes
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Source:
    """The source database, divided by purpose. Synchronous; threads may share it.

    Each call is one transaction. Every method raises `StoreUnavailable` while the database is
    unavailable, and `ConfigurationError` if login, permission, or a table or column is wrong.
    """

    claims: Claims
    documents: Documents
    outcomes: Outcomes
    corrections: Corrections
    accounts: Accounts
    counts: Counts
    daily: DailyDocuments
    installation: Installations
    _engine: Engine = field(repr=False)
    _transactions: Transactions = field(repr=False)

    def now(self) -> datetime:
        """The current time by the database's clock."""
        moment: datetime = self._transactions.run(
            lambda c: c.execute(select(utc_now())).scalar_one()
        )
        return moment.replace(tzinfo=UTC)

    def ping(self) -> None:
        """Check that the database can be reached; raises if not."""
        self._transactions.run(lambda c: c.execute(select(1)).all())

    def dispose(self) -> None:
        """Close the pooled connections. Idempotent."""
        self._engine.dispose()


def open_source(
    engine: Engine,
    tables: SourceTables,
    *,
    cut_off: date | None = None,
    settle: timedelta = timedelta(0),
    sleep: Callable[[float], None] = time.sleep,
) -> Source:
    """The source database behind an engine. Does not connect yet.

    Args:
        cut_off: documents dated earlier are not claimed, and counted separately.
        settle: documents whose row was written within this time are not claimed yet.
    """
    transactions = Transactions(engine, sleep=sleep)
    return Source(
        claims=Claims(transactions, tables, cut_off, settle),
        documents=Documents(transactions, tables),
        outcomes=Outcomes(transactions, tables),
        corrections=Corrections(transactions, tables),
        accounts=Accounts(transactions, tables),
        counts=Counts(transactions, tables, cut_off),
        daily=DailyDocuments(transactions, tables),
        installation=Installations(transactions, tables),
        _engine=engine,
        _transactions=transactions,
    )
