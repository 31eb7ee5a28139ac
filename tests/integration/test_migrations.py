"""Migrations: on an empty database, on tables that are there already, and as a T-SQL script."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Index, create_engine, delete, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from deployments.migrations import BUSINESS, SYNC, alembic_config, migrate
from deployments.migrations.context import VERSION_TABLE
from lib.errors import ConfigurationError, StoreUnavailable
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.tables import build_tables
from tests.support.source import unmigrate

ROOT = Path(__file__).parents[2]
OUR_TABLES = {"dqg_delivery", "dqg_account", "dqg_installation"}
RENAMED = SourceSettings(
    tables={"SalesInvoices": "HoaDon"},
    columns={"SalesInvoices": {"status": "trang_thai", "local_invoice_id": "ma_hoa_don"}},
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _make_existing_tables(engine: Engine, settings: SourceSettings | None = None) -> None:
    """The business tables as an installation has them."""
    build_tables(settings or SourceSettings()).metadata.create_all(engine)


def _schema(engine: Engine) -> dict[str, list[tuple[str, str]]]:
    """Names and types of all columns, by table."""
    inspector = inspect(engine)
    return {
        table: [(column["name"], repr(column["type"])) for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
    }


def _columns(engine: Engine, table: str) -> set[str]:
    return {column["name"] for column in inspect(engine).get_columns(table)}


def _script(direction: str, revision: str, settings: SourceSettings | None = None) -> str:
    """What `alembic ... --sql` writes for SQL Server."""
    output = io.StringIO()
    config = alembic_config("mssql+pyodbc://user:secret@server/database", settings)
    config.output_buffer = output
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[direction](
        config, revision, sql=True
    )
    return re.sub(r"\s+", " ", output.getvalue())


def test_both_branches_give_exactly_the_tables_that_the_code_reads(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda _o, name, kind, _r, _c: (
                    kind in ("table", "column") and name != VERSION_TABLE
                ),
            },
        )
        tables = build_tables(SourceSettings())
        expected = [tables.metadata, tables.delivery.metadata]
        differences = compare_metadata(context, expected)  # type: ignore[arg-type]
    # Keys and indexes are the migrations' own affair.
    assert [d for d in differences if "index" not in d[0] and "constraint" not in d[0]] == []


def test_the_business_branch_works_alone_and_is_repeatable(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS)
    migrate(_url(engine), BUSINESS)
    assert "dqg_delivery" not in inspect(engine).get_table_names()
    unique = inspect(engine).get_unique_constraints("SalesInvoices")
    assert [key["column_names"] for key in unique] == [["pharmacy_code", "local_invoice_id"]]


def test_the_sync_branch_leaves_the_pharmacys_tables_exactly_as_they_were(engine: Engine) -> None:
    _make_existing_tables(engine)
    before = _schema(engine)
    migrate(_url(engine), SYNC)
    migrate(_url(engine), SYNC)
    after = _schema(engine)
    assert {table: after[table] for table in before} == before
    assert set(after) - set(before) == {*OUR_TABLES, VERSION_TABLE}
    for table in before:
        assert inspect(engine).get_indexes(table) == []
    with engine.connect() as connection:
        heads = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE}
        ).get_current_heads()
    assert heads == ("sync_0001",)


def test_one_live_claim_per_code_is_held_by_the_database(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    row = {
        "platform": "dqg",
        "pipeline": "sale",
        "pharmacy_code": "79",
        "local_id": "HD-1",
        "attempts": 1,
        "crashes": 0,
        "begun": False,
        "unconfirmed": False,
    }
    delivery = build_tables(SourceSettings()).delivery
    with engine.begin() as connection:
        connection.execute(insert(delivery), [row | {"record_id": n} for n in (1, 2)])
        connection.execute(
            update(delivery).values(claim_token="a").where(delivery.c.record_id == 1)
        )
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(
            update(delivery).values(claim_token="b").where(delivery.c.record_id == 2)
        )
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(delivery), row | {"record_id": 1})


def test_undoing_the_sync_branch_removes_ours_alone(engine: Engine) -> None:
    _make_existing_tables(engine)
    before = _schema(engine)
    Index("their_index", build_tables(SourceSettings()).header(SALE).c.status).create(engine)
    migrate(_url(engine), SYNC)

    unmigrate(_url(engine), SYNC)

    assert {t: c for t, c in _schema(engine).items() if t != VERSION_TABLE} == before
    assert [i["name"] for i in inspect(engine).get_indexes("SalesInvoices")] == ["their_index"]


def test_undoing_the_sync_branch_keeps_documents_and_the_business_branch(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    unmigrate(_url(engine), SYNC)
    assert "SalesInvoices" in inspect(engine).get_table_names()
    unmigrate(_url(engine), BUSINESS)
    assert inspect(engine).get_table_names() == [VERSION_TABLE]


def test_encrypted_passwords_are_not_thrown_away(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    encrypted = build_tables(SourceSettings()).encrypted
    key = {"shop_pharmacy_code": "SHOP01", "pharmacy_code": "79", "account": "demo"}
    with engine.begin() as connection:
        connection.execute(insert(encrypted), key | {"encrypted_password": "gAAAA"})
    with pytest.raises(ConfigurationError, match="dqg accounts decrypt"):
        unmigrate(_url(engine), SYNC)
    with engine.begin() as connection:
        connection.execute(delete(encrypted))
    unmigrate(_url(engine), SYNC)
    assert "dqg_account" not in inspect(engine).get_table_names()


def test_codes_on_several_rows_are_reported_and_stop_nothing(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    _make_existing_tables(engine)
    with engine.begin() as connection:
        for local_id in ["HD-1", "HD-1", "HD-1", "HD-2"]:
            connection.execute(
                text(
                    'INSERT INTO "SalesInvoices" (local_invoice_id, pharmacy_code,'
                    " shop_pharmacy_code, sale_date, status)"
                    " VALUES (:local_id, '790760001234', 'SHOP01', now(), 'PENDING_SYNC')"
                ),
                {"local_id": local_id},
            )
    with caplog.at_level(logging.WARNING, logger="deployments.migrations"):
        migrate(_url(engine), SYNC)
    assert len(caplog.records) == 1
    assert "SalesInvoices: 1 codes" in caplog.text
    assert "HD-1 of pharmacy 790760001234" in caplog.text
    assert "HD-2" not in caplog.text
    assert "dqg_delivery" in inspect(engine).get_table_names()


def test_names_come_from_the_settings(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC, settings=RENAMED)
    columns = _columns(engine, "HoaDon")
    assert {"trang_thai", "ma_hoa_don"} <= columns
    assert "status" not in columns
    with engine.connect() as connection:
        assert connection.execute(select(build_tables(RENAMED).header(SALE))).all() == []


def test_tables_that_are_missing_are_a_configuration_error(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="PurchaseReceipts"):
        migrate(_url(engine), SYNC)


def test_a_database_that_is_away_is_unavailable(engine: Engine) -> None:
    url = engine.url.set(port=1).render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable):
        migrate(url, BUSINESS)


def test_the_command_line_takes_database_and_names_from_the_settings(engine: Engine) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DQG_SOURCE__URL": _url(engine),
        "DQG_SOURCE__TABLES": '{"SalesInvoices": "HoaDon"}',
    }
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "business@head"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "HoaDon" in inspect(engine).get_table_names()


def test_the_script_for_sql_server_is_exact() -> None:
    script = _script("upgrade", "sync@head", RENAMED)
    go = "GO IF @@TRANCOUNT = 0 SET NOEXEC ON; GO "
    assert script.startswith(
        "SET QUOTED_IDENTIFIER, ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS ON; "
        "SET ARITHABORT, CONCAT_NULL_YIELDS_NULL, XACT_ABORT ON; "
        "SET NUMERIC_ROUNDABORT OFF; GO BEGIN TRANSACTION; CREATE TABLE dqg_alembic_version"
    )
    assert (
        "transaction_id NVARCHAR(100) NULL, state NVARCHAR(20) NULL, "
        "national_id NVARCHAR(100) NULL, message NVARCHAR(max) NULL, "
        "payload_digest NVARCHAR(64) NULL, sent_digest NVARCHAR(64) NULL, "
        "settles_at DATETIME2(7) NULL, "
        "settled_at DATETIME2(7) NULL, "
        "CONSTRAINT pk_dqg_delivery PRIMARY KEY (platform, pipeline, record_id) ); " + go
    ) in script
    assert (
        "CREATE UNIQUE INDEX uq_dqg_delivery_code ON dqg_delivery "
        "(platform, pipeline, pharmacy_code, local_id) WHERE claim_token IS NOT NULL; " + go
    ) in script
    assert "secret" not in script
    # Nothing but tables of ours, which need no brackets.
    assert "HoaDon" not in script
    assert "ALTER TABLE" not in script


def test_a_script_that_failed_does_not_mark_itself_as_done() -> None:
    batches = _script("upgrade", "sync@head").strip().split(" GO ")
    done = next(n for n, batch in enumerate(batches) if "VALUES ('sync_0001')" in batch)
    assert batches[done - 1] == "IF @@TRANCOUNT = 0 SET NOEXEC ON;"
    assert batches[done + 2] == "COMMIT;"
    assert batches[-1].removesuffix(" GO") == "SET NOEXEC OFF;"
    assert sum("BEGIN TRANSACTION" in batch for batch in batches) == 1


def test_the_script_is_t_sql() -> None:
    for batch in _script("upgrade", "sync@head").split(" GO "):
        # SET of several options and NOEXEC are the tools' own, no statements of the grammar.
        if not batch.startswith("SET ") and "NOEXEC" not in batch:
            sqlglot.parse(batch.replace("BEGIN TRANSACTION;", ""), dialect="tsql")


def test_the_script_for_sql_server_records_where_documents_may_be_sent_from() -> None:
    script = _script("upgrade", "sync@head", RENAMED)
    assert (
        "CREATE TABLE dqg_installation ( id INTEGER NOT NULL IDENTITY, "
        "server_name NVARCHAR(256) NOT NULL, database_name NVARCHAR(256) NOT NULL, "
        "recorded_at DATETIME2(7) NOT NULL, recorded_by NVARCHAR(256) NOT NULL, "
        "why NVARCHAR(500) NOT NULL, replaces BIT NOT NULL, "
        "CONSTRAINT pk_dqg_installation PRIMARY KEY (id) ); "
        "GO IF @@TRANCOUNT = 0 SET NOEXEC ON; GO "
        "INSERT INTO dqg_installation "
        "(server_name, database_name, recorded_at, recorded_by, why, replaces) VALUES "
        "(COALESCE(@@SERVERNAME, CONVERT(nvarchar(256), SERVERPROPERTY('ServerName'))), "
        "DB_NAME(), sysutcdatetime(), SUSER_SNAME(), N'recorded by the migration', 1); GO "
    ) in script


def test_the_business_script_for_sql_server_keeps_vietnamese_text_and_dates() -> None:
    script = _script("upgrade", "business@head", SourceSettings(db_schema="dbo"))
    assert "CREATE TABLE dbo.[SalesInvoices] ( id INTEGER NOT NULL IDENTITY" in script
    assert "dosage NVARCHAR(max) NOT NULL" in script
    assert "created_at DATETIME NOT NULL DEFAULT getdate()" in script
    assert "production_date DATE NULL" in script
    assert "quantity NUMERIC(18, 2) NOT NULL" in script
    assert not re.search(r"(?<!N)VARCHAR(?!\(32\))|TEXT|TIMESTAMP", script)


def test_the_script_that_undoes_the_sync_branch_drops_our_tables() -> None:
    script = _script("downgrade", "sync_0001:base")
    assert sorted(re.findall(r"DROP TABLE (\w+)", script)) == sorted(OUR_TABLES)
