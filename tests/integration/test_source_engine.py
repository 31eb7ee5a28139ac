"""The source engine against a real server: who waits for whom, and what a failover looks like."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, make_url, text

from deployments.local.parts.postgres import PostgresServer
from lib.errors import ConfigurationError, StoreUnavailable
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.transactions import Transactions


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_source_engine(database_url, SourceSettings(lock_timeout=1))
    yield engine
    engine.dispose()


def _ping(engine: Engine) -> None:
    Transactions(engine).run(lambda connection: connection.execute(text("SELECT 1")))


def test_a_lock_of_other_software_is_waited_for_briefly(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE work (id integer)"))
        connection.execute(text("INSERT INTO work VALUES (1)"))
    with engine.begin() as till:
        till.execute(text("UPDATE work SET id = 2"))
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            Transactions(engine).run(lambda c: c.execute(text("UPDATE work SET id = 3")))


def test_a_database_that_moves_away_is_passing_once_it_has_worked(
    engine: Engine, postgres: PostgresServer
) -> None:
    _ping(engine)
    engine.dispose()
    name = engine.url.database or ""
    _rename(postgres, name, "moved_away")
    try:
        with pytest.raises(StoreUnavailable, match="does not exist"):
            _ping(engine)
        started_now = create_source_engine(engine.url, SourceSettings())
        with pytest.raises(ConfigurationError, match="does not exist"):
            _ping(started_now)
    finally:
        _rename(postgres, "moved_away", name)
    _ping(engine)


def test_a_login_that_comes_later_is_passing_once_it_has_worked(
    engine: Engine, postgres: PostgresServer
) -> None:
    _ping(engine)
    engine.dispose()
    with _administrator(postgres) as connection:
        connection.execute("ALTER ROLE dqg NOLOGIN")
        try:
            with pytest.raises(StoreUnavailable, match="not permitted to log in"):
                _ping(engine)
        finally:
            connection.execute("ALTER ROLE dqg LOGIN")
    _ping(engine)


def _administrator(postgres: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    url = make_url(postgres.url("postgres")).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _rename(postgres: PostgresServer, old: str, new: str) -> None:
    with _administrator(postgres) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(old), sql.Identifier(new)
            )
        )
