"""A restored copy of the production database sends nothing until a person confirms it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, delete, make_url, text, update

from deployments.local.parts.postgres import PostgresServer
from deployments.migrations import BUSINESS, migrate
from flows.orchestrate import orchestrate
from flows.pipelines import sale
from flows.reconcile import reconcile
from lib.errors import ConfigurationError, UnconfirmedDatabase
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import build_tables
from tests.support.cli import dqg, dqg_json
from tests.support.system import System

TABLES = build_tables(SourceSettings())


@dataclass(frozen=True)
class Database:
    url: str
    engine: Engine
    store: Source

    @property
    def name(self) -> str:
        return self.engine.url.database or ""


def _open(url: str) -> Database:
    engine = create_source_engine(url, SourceSettings())
    return Database(url, engine, open_source(engine, TABLES))


@pytest.fixture
def production(migrated_url: str) -> Iterator[Database]:
    database = _open(migrated_url)
    yield database
    database.store.dispose()


@pytest.fixture
def copy(production: Database, postgres: PostgresServer) -> Iterator[Database]:
    """The production database, restored under another name."""
    production.store.dispose()
    name = f"copy_{secrets.token_hex(4)}"
    admin = create_source_engine(postgres.url("postgres"), SourceSettings())
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{production.name}"')
    admin.dispose()
    database = _open(postgres.url(name))
    yield database
    database.store.dispose()
    postgres.drop_database(database.url)


def test_the_migration_records_where_it_ran(production: Database) -> None:
    found = production.store.installation.read()
    found.check()
    (record,) = found.records
    assert record.place == found.here
    assert found.here.database == production.name
    assert found.here.server


def test_a_restored_copy_is_refused_with_both_names_and_what_to_do(
    production: Database, copy: Database
) -> None:
    with pytest.raises(UnconfirmedDatabase) as refusal:
        copy.store.installation.read().check()
    for part in (production.name, copy.name, "installation confirm"):
        assert part in refusal.value.message
    production.store.installation.read().check()


def test_another_server_is_refused(production: Database) -> None:
    with production.engine.begin() as connection:
        connection.execute(update(TABLES.installation).values(server_name="SQLPROD01"))
    with pytest.raises(UnconfirmedDatabase, match="SQLPROD01"):
        production.store.installation.read().check()


def test_a_confirmed_copy_is_sent_from_and_replaces_the_original(
    production: Database, copy: Database
) -> None:
    copy.store.installation.confirm(by="lan", why="moved to a new server")
    found = copy.store.installation.read()
    found.check()
    assert [record.place.database for record in found.valid()] == [copy.name]
    assert found.records[0].recorded_by == "lan"


def test_places_that_take_turns_are_all_valid(production: Database) -> None:
    with production.engine.begin() as connection:
        connection.execute(update(TABLES.installation).values(server_name="REPLICA-1"))
    production.store.installation.confirm(by="lan", why="the other replica", also=True)
    found = production.store.installation.read()
    found.check()
    assert [record.place.server for record in found.valid()] == [found.here.server, "REPLICA-1"]


def test_where_nothing_is_recorded_nothing_is_sent(production: Database) -> None:
    with production.engine.begin() as connection:
        connection.execute(delete(TABLES.installation))
    with pytest.raises(UnconfirmedDatabase, match="the record has no database"):
        production.store.installation.read().check()


def test_a_missing_table_is_named_with_its_migration(database_url: str) -> None:
    migrate(database_url, BUSINESS)
    database = _open(database_url)
    with pytest.raises(ConfigurationError, match=r"dqg_installation.*alembic upgrade sync@head"):
        database.store.installation.read()
    database.store.dispose()


def test_a_login_that_may_only_read_the_table_is_enough(
    production: Database, postgres: PostgresServer
) -> None:
    role, password = f"service_{secrets.token_hex(4)}", secrets.token_hex(8)
    with production.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
        connection.execute(text(f"GRANT SELECT ON dqg_installation TO {role}"))
    url = make_url(production.url).set(username=role, password=password)
    service = _open(url.render_as_string(hide_password=False))
    service.store.installation.read().check()
    with pytest.raises(ConfigurationError, match="permission denied"):
        service.store.installation.confirm(by="nobody", why="-")
    service.store.dispose()
    with production.engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


@pytest.fixture
def moved(system: System) -> System:
    """The system on a database that was recorded on another server, with a pending document."""
    system.add("sale", "HD-1")
    with system.engine.begin() as connection:
        connection.execute(update(TABLES.installation).values(server_name="SQLPROD01"))
    return system


@pytest.mark.anyio
@pytest.mark.usefixtures("deployed")
async def test_no_run_claims_sends_or_fails_anything_there(moved: System) -> None:
    for state in (
        await orchestrate(return_state=True),
        await sale(local_invoice_id="HD-1", return_state=True),
        await reconcile(return_state=True),
    ):
        assert state.is_failed()
        assert "SQLPROD01" in (state.message or "")
    document = moved.document("sale", "HD-1")
    assert (document.status, document.claim_token) == ("PENDING_SYNC", None)
    assert moved.admin.summary()["posts"] == 0
    assert moved.mongo.sync_failures.count_documents({}) == 0


def test_a_person_sees_it_and_confirms_it(moved: System) -> None:
    assert "SQLPROD01" in dqg("installation", "show", status=1)
    dqg("installation", "confirm", status=2)
    dqg("installation", "confirm", "--why", " ", status=2)
    found = dqg_json("installation", "confirm", "--why", "new server", "--by", "lan")
    assert found["confirmed"]
    assert [record["valid"] for record in found["records"]] == [True, False]
    assert found["records"][0]["why"] == "new server"
    assert "lan" in dqg("installation", "show")
    (kept,) = moved.mongo.audit.find({})
    assert (kept["action"], kept["by"], kept["why"]) == ("confirmed", "lan", "new server")
    assert dqg_json("installation", "show")["here"] == {
        name: found["records"][0][name] for name in ("server", "database")
    }
