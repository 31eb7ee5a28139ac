"""The databases that documents may be sent from. A restored copy of production is not one.

A copy contains the table `dqg_installation`, but has another server or database name. Rows are only
added, never changed, so the table also records who decided what, and when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, true

from lib.errors import ConfigurationError, UnconfirmedDatabase
from lib.source.dialects import database_name, server_identity, utc_now
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions, translate_errors


@dataclass(frozen=True, slots=True)
class DatabaseName:
    """A database and its server: a name on SQL Server, a cluster identifier on PostgreSQL."""

    server: str
    database: str

    def __str__(self) -> str:
        return f"database {self.database!r} on server {self.server!r}"


@dataclass(frozen=True, slots=True)
class Record:
    """A database that a person recorded.

    Attributes:
        replaces: earlier records are no longer valid.
    """

    place: DatabaseName
    recorded_at: datetime
    recorded_by: str
    why: str
    replaces: bool


@dataclass(frozen=True, slots=True)
class Installation:
    """The connected database, and the records, newest first."""

    here: DatabaseName
    records: tuple[Record, ...]

    def valid(self) -> Iterator[Record]:
        """The valid records: the newest one with `replaces`, and later ones."""
        for record in self.records:
            yield record
            if record.replaces:
                return

    def check(self) -> None:
        """Raises UnconfirmedDatabase if nothing may be sent from the connected database."""
        places = [record.place for record in self.valid()]
        if self.here in places:
            return
        recorded = " and ".join(map(str, places)) or "no database"
        raise UnconfirmedDatabase(
            f"nothing is sent from here: this is {self.here}, but the record has {recorded}. If "
            f"this is a copy of the production database, no action is needed. If documents should "
            f"be sent from here from now on: dqg installation confirm --why ..."
        )


class Installations:
    """The record of the databases that documents may be sent from."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def read(self) -> Installation:
        """The connected database and the recorded ones. One statement."""
        return self._run(lambda c: _read(c, self._tables))

    def confirm(self, *, by: str, why: str, also: bool = False) -> None:
        """Record this database as one to send from.

        Args:
            also: earlier records stay valid.
        """
        self._run(lambda c: _record(c, self._tables, by=by, why=why, replaces=not also))


def _read(connection: Connection, tables: SourceTables) -> Installation:
    table = tables.installation
    here = select(
        server_identity().label("here_server"), database_name().label("here_database")
    ).subquery("here")
    query = (
        select(here, table).select_from(here.outerjoin(table, true())).order_by(table.c.id.desc())
    )
    try:
        with translate_errors():
            rows = connection.execute(query).all()
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error.message}. The table {table.name} is created by `alembic upgrade sync@head`, "
            f"and the service must be allowed to read it"
        ) from error
    return Installation(
        DatabaseName(rows[0].here_server, rows[0].here_database),
        tuple(
            Record(
                DatabaseName(row.server_name, row.database_name),
                row.recorded_at.replace(tzinfo=UTC),
                row.recorded_by,
                row.why,
                row.replaces,
            )
            for row in rows
            if row.id is not None
        ),
    )


def _record(
    connection: Connection, tables: SourceTables, *, by: str, why: str, replaces: bool
) -> None:
    table = tables.installation
    connection.execute(
        insert(table).values(
            server_name=server_identity(),
            database_name=database_name(),
            recorded_at=utc_now(),
            recorded_by=by,
            why=why,
            replaces=replaces,
        )
    )
