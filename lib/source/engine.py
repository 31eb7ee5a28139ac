"""Creates the engine of the source database, for SQL Server and PostgreSQL.

Our connections have low priority: other software waits only briefly for our locks, in a deadlock
our transaction is rolled back, and if another session holds a lock, we retry later.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError

from lib.errors import ConfigurationError, StoreUnavailable
from lib.settings import SourceSettings
from lib.source.odbc import find_odbc_driver, registered_drivers
from lib.source.transactions import is_login_refusal, short_text, translate_errors

__all__ = ["create_source_engine", "translate_errors"]

APPLICATION = "dqg-sync"
#: Firewalls drop connections that were idle for long; none is kept longer than this.
RECYCLE_SECONDS = 1800

_DRIVERS = {"mssql": "mssql+pyodbc", "postgresql": "postgresql+psycopg"}
_ODBC_KEY = r"(?:^|;)\s*{}\s*="

#: Executed first in every SQL Server session; `{lock_timeout}` in milliseconds. The SET options
#: are those that indexed views and filtered indexes need. No NOCOUNT: row counts of our
#: own tables are used.
SQL_SERVER_SESSION = """\
SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON;
SET QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET XACT_ABORT ON;
SET DEADLOCK_PRIORITY LOW;
SET LOCK_TIMEOUT {lock_timeout};
"""


def create_source_engine(url: str | URL, settings: SourceSettings) -> Engine:
    """A pooled engine. Does not connect yet.

    Transactions are READ COMMITTED, and error texts of SQLAlchemy show no parameters. After the
    first successful connection, a refused login or database counts as a failover in progress and
    raises StoreUnavailable.

    Raises:
        ConfigurationError: the URL is malformed or for another kind of database, or no ODBC driver
            is found. The error text never shows the URL.
    """
    try:
        url = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("DQG_SOURCE__URL is not a SQLAlchemy URL") from None
    backend = url.get_backend_name()
    drivername = _DRIVERS.get(backend)
    if url.drivername not in (backend, drivername) or drivername is None:
        raise ConfigurationError(
            f"DQG_SOURCE__URL: no support for {url.drivername!r}; "
            f"there are {', '.join(_DRIVERS.values())}"
        )
    url = url.set(drivername=drivername)
    engine = (_sql_server if backend == "mssql" else _postgresql)(url, settings)
    _tolerate_failovers(engine)
    return engine


def _tolerate_failovers(engine: Engine) -> None:
    worked = False

    @event.listens_for(engine, "connect")
    def _note_success(_connection: Any, _record: Any) -> None:
        nonlocal worked
        worked = True

    @event.listens_for(engine, "handle_error")
    def _refused_later(context: ExceptionContext) -> StoreUnavailable | None:
        error = context.sqlalchemy_exception
        if worked and isinstance(error, DBAPIError) and is_login_refusal(error):
            return StoreUnavailable("source database", short_text(error))
        return None


def _create(url: URL, settings: SourceSettings, **options: Any) -> Engine:
    return create_engine(
        url,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_recycle=RECYCLE_SECONDS,
        **options,
    )


def _postgresql(url: URL, settings: SourceSettings) -> Engine:
    given = url.query.get("options", "")
    given = given if isinstance(given, str) else " ".join(given)
    seconds = {
        "statement_timeout": settings.statement_timeout,
        # A process that stops inside a transaction keeps rows locked: without this limit their
        # lease could run out and no other process could claim them.
        "idle_in_transaction_session_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
    }
    limits = " ".join(f"-c {name}={value * 1000}" for name, value in seconds.items())
    return _create(
        url.difference_update_query(["options"]),
        settings,
        connect_args={
            "connect_timeout": settings.connect_timeout,
            "application_name": APPLICATION,
            # Options in the URL come last and take precedence.
            "options": f"{limits} {given}".strip(),
        },
    )


def _sql_server(url: URL, settings: SourceSettings) -> Engine:
    registered_drivers()  # raises a clear error if the driver manager is missing
    engine = _create(
        complete_odbc_url(url, settings),
        settings,
        fast_executemany=True,
        # The login timeout of pyodbc.connect.
        connect_args={"timeout": settings.connect_timeout},
    )
    # Two pools, one inside the other, would hand out dead connections.
    vars(engine.dialect.dbapi)["pooling"] = False

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        begin_session(connection, settings)

    return engine


def begin_session(connection: Any, settings: SourceSettings) -> None:
    """Set the timeouts and options of a new pyodbc connection."""
    connection.timeout = settings.statement_timeout
    cursor = connection.cursor()
    cursor.execute(SQL_SERVER_SESSION.format(lock_timeout=settings.lock_timeout * 1000))
    cursor.close()
    connection.commit()


def complete_odbc_url(url: URL, settings: SourceSettings) -> URL:
    """The URL with missing options added: ODBC driver, encryption, name of the application.

    A URL that names a data source (DSN) gets these from the data source and is not changed.

    Raises:
        ConfigurationError: no ODBC driver is found.
    """
    raw = url.query.get("odbc_connect")
    if raw is not None:
        text = raw if isinstance(raw, str) else ";".join(raw)
        return url.update_query_dict({"odbc_connect": _complete_connection_string(text, settings)})
    given = {key.lower() for key in url.query}
    if "dsn" in given or not url.database:
        return url
    wanted = {"Encrypt": "yes", "APP": APPLICATION}
    if "driver" not in given:
        wanted["driver"] = find_odbc_driver(settings.odbc_driver)
    return url.update_query_dict({k: v for k, v in wanted.items() if k.lower() not in given})


def _complete_connection_string(text: str, settings: SourceSettings) -> str:
    def has(key: str) -> bool:
        return re.search(_ODBC_KEY.format(key), text, re.IGNORECASE) is not None

    if has("DSN") or has("FILEDSN"):
        return text
    parts = [text.rstrip("; ")]
    if not has("DRIVER"):
        parts.insert(0, f"DRIVER={{{find_odbc_driver(settings.odbc_driver)}}}")
    if not has("Encrypt"):
        parts.append("Encrypt=yes")
    return ";".join(parts)
