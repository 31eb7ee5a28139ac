"""Makes the engine of the source database, alike for SQL Server and PostgreSQL."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from lib.errors import ConfigurationError
from lib.settings import SourceSettings
from lib.source.driver_errors import translate_errors
from lib.source.odbc import find_odbc_driver, registered_drivers

__all__ = ["create_source_engine", "translate_errors"]

APPLICATION = "dqg-sync"
#: Firewalls drop connections that were idle for long; none gets that old.
RECYCLE_SECONDS = 1800

_DRIVERS = {"mssql": "mssql+pyodbc", "postgresql": "postgresql+psycopg"}
_ODBC_KEY = r"(?:^|;)\s*{}\s*="


def create_source_engine(url: str | URL, settings: SourceSettings) -> Engine:
    """A pooled engine. Connects to nothing yet.

    Transactions are READ COMMITTED, and no error text of its own shows parameters.

    Raises:
        ConfigurationError: the URL is malformed or of another database, or no ODBC driver is
            found. Its text never shows the URL.
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
    return (_sql_server if backend == "mssql" else _postgresql)(url, settings)


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
    milliseconds = settings.statement_timeout * 1000
    # A process that stands still in a transaction keeps rows locked: without an end of that, their
    # claim could run out and nobody could take them over.
    limits = " ".join(
        f"-c {name}={milliseconds}"
        for name in ("statement_timeout", "idle_in_transaction_session_timeout")
    )
    return _create(
        url.difference_update_query(["options"]),
        settings,
        connect_args={
            "connect_timeout": settings.connect_timeout,
            "application_name": APPLICATION,
            # What the URL says comes last and wins.
            "options": f"{limits} {given}".strip(),
        },
    )


def _sql_server(url: URL, settings: SourceSettings) -> Engine:
    registered_drivers()  # says in plain words when the driver manager is missing
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
    def _limit_statements(connection: Any, _record: Any) -> None:
        connection.timeout = settings.statement_timeout

    return engine


def complete_odbc_url(url: URL, settings: SourceSettings) -> URL:
    """The URL with what it leaves open: ODBC driver, encryption, name of the application.

    A URL that names a data source (DSN) has these from there and stays as it is.

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
