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
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Index, create_engine, inspect, select, text

from deployments.migrations import BUSINESS, SYNC, alembic_config, migrate, unmigrate
from deployments.migrations.context import VERSION_TABLE
from lib.errors import ConfigurationError, StoreUnavailable
from lib.pipelines import PIPELINES, SALE
from lib.settings import SourceSettings
from lib.source.tables import CLAIM_FIELDS, ENCRYPTED_COLUMN, build_tables

ROOT = Path(__file__).parents[2]
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
    """The business tables as an installation has them: no columns, keys or indexes of ours."""
    tables = build_tables(settings or SourceSettings())
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        for pipeline in PIPELINES.values():
            header = tables.header(pipeline)
            for name in CLAIM_FIELDS:
                connection.execute(text(f'ALTER TABLE "{header.name}" DROP COLUMN {name}'))
        connection.execute(
            text(f'ALTER TABLE "{tables.accounts.name}" DROP COLUMN {ENCRYPTED_COLUMN}')
        )


def _columns(engine: Engine, table: str) -> set[str]:
    return {column["name"] for column in inspect(engine).get_columns(table)}


def _our_indexes(engine: Engine) -> set[str]:
    inspector = inspect(engine)
    return {
        name
        for table in inspector.get_table_names()
        for index in inspector.get_indexes(table)
        if (name := index["name"] or "").startswith("ix_dqg_")
    }


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
        expected = [tables.metadata, tables.installation.metadata]
        differences = compare_metadata(context, expected)  # type: ignore[arg-type]
    # Keys and indexes are the migrations' own affair.
    assert [d for d in differences if "index" not in d[0] and "constraint" not in d[0]] == []


def test_the_business_branch_works_alone_and_is_repeatable(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS)
    migrate(_url(engine), BUSINESS)
    assert "sync_claim_token" not in _columns(engine, "SalesInvoices")
    unique = inspect(engine).get_unique_constraints("SalesInvoices")
    assert [key["column_names"] for key in unique] == [["pharmacy_code", "local_invoice_id"]]


def test_the_sync_branch_works_on_tables_that_were_there_before(engine: Engine) -> None:
    _make_existing_tables(engine)
    migrate(_url(engine), SYNC)
    migrate(_url(engine), SYNC)
    for pipeline in PIPELINES.values():
        assert set(CLAIM_FIELDS) <= _columns(engine, pipeline.header_table)
    assert _our_indexes(engine) == {
        *(f"ix_dqg_{kind}_{p.header_table}" for kind in ("due", "token", "finished", "code")
          for p in PIPELINES.values()),
        *(f"ix_dqg_lines_{p.detail_table}" for p in PIPELINES.values()),
    }  # fmt: skip
    with engine.connect() as connection:
        heads = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE}
        ).get_current_heads()
    assert heads == ("sync_0003",)
    assert ENCRYPTED_COLUMN in _columns(engine, "AccountShop")


def test_the_sync_branch_adds_only_what_is_missing(engine: Engine) -> None:
    _make_existing_tables(engine)
    tables = build_tables(SourceSettings())
    header, details = tables.header(SALE), tables.details(SALE)
    with engine.begin() as connection:
        connection.execute(text('ALTER TABLE "SalesInvoices" ADD sync_attempts INTEGER'))
    Index("their_code", tables.local_id(SALE), header.c.status).create(engine)
    Index("their_lines", tables.foreign_key(SALE), details.c.drug_code).create(engine)

    migrate(_url(engine), SYNC)

    assert set(CLAIM_FIELDS) <= _columns(engine, "SalesInvoices")
    names = _our_indexes(engine)
    assert "ix_dqg_code_SalesInvoices" not in names
    assert "ix_dqg_lines_SalesInvoiceDetails" not in names
    assert "ix_dqg_due_SalesInvoices" in names


def test_undoing_the_sync_branch_removes_ours_alone(engine: Engine) -> None:
    _make_existing_tables(engine)
    before = _columns(engine, "SalesInvoices")
    Index("their_index", build_tables(SourceSettings()).header(SALE).c.status).create(engine)
    migrate(_url(engine), SYNC)

    unmigrate(_url(engine), SYNC)

    assert _columns(engine, "SalesInvoices") == before
    assert _our_indexes(engine) == set()
    assert [i["name"] for i in inspect(engine).get_indexes("SalesInvoices")] == ["their_index"]


def test_undoing_the_sync_branch_keeps_documents_and_the_business_branch(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    unmigrate(_url(engine), SYNC)
    assert "SalesInvoices" in inspect(engine).get_table_names()
    unmigrate(_url(engine), BUSINESS)
    assert inspect(engine).get_table_names() == [VERSION_TABLE]


def test_encrypted_passwords_are_not_thrown_away(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC)
    account = (
        'INSERT INTO "AccountShop" (shop_pharmacy_code, pharmacy_code, account, password, '
        "shop_name, address, phone_number, status, sync_encrypted_password) "
        "VALUES ('SHOP01', '79', 'demo', '', '-', '-', '-', 1, 'gAAAA')"
    )
    with engine.begin() as connection:
        connection.execute(text(account))
    with pytest.raises(ConfigurationError, match="dqg accounts decrypt"):
        unmigrate(_url(engine), SYNC)
    with engine.begin() as connection:
        connection.execute(
            text('UPDATE "AccountShop" SET password = :p, sync_encrypted_password = NULL'),
            {"p": "plain"},
        )
    unmigrate(_url(engine), SYNC)
    assert ENCRYPTED_COLUMN not in _columns(engine, "AccountShop")


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
    assert "ix_dqg_due_SalesInvoices" in _our_indexes(engine)


def test_names_come_from_the_settings(engine: Engine) -> None:
    migrate(_url(engine), BUSINESS, SYNC, settings=RENAMED)
    columns = _columns(engine, "HoaDon")
    assert {"trang_thai", "ma_hoa_don", "sync_claim_token"} <= columns
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
    assert (
        "ALTER TABLE [HoaDon] ADD sync_claim_token NVARCHAR(36) NULL; GO "
        "ALTER TABLE [HoaDon] ADD sync_lease_expires_at DATETIME2(7) NULL; GO "
        "ALTER TABLE [HoaDon] ADD sync_attempts INTEGER NULL; GO "
        "ALTER TABLE [HoaDon] ADD sync_next_attempt_at DATETIME2(7) NULL; GO "
        "ALTER TABLE [HoaDon] ADD sync_unconfirmed BIT NULL; GO "
        "CREATE INDEX [ix_dqg_claim_HoaDon] ON [HoaDon] "
        "(shop_pharmacy_code, created_at, id) INCLUDE "
        "(sync_claim_token, sync_lease_expires_at, sync_next_attempt_at, sync_unconfirmed, "
        "pharmacy_code, ma_hoa_don) WHERE trang_thai = 'PENDING_SYNC'; GO "
        "CREATE INDEX [ix_dqg_token_HoaDon] ON [HoaDon] (sync_claim_token) "
        "WHERE sync_claim_token IS NOT NULL; GO "
        "CREATE INDEX [ix_dqg_finished_HoaDon] ON [HoaDon] (trang_thai, updated_at); GO "
        "CREATE INDEX [ix_dqg_code_HoaDon] ON [HoaDon] (ma_hoa_don, pharmacy_code); GO "
        "CREATE INDEX [ix_dqg_lines_SalesInvoiceDetails] ON [SalesInvoiceDetails] "
        "(sales_invoice_id); GO"
    ) in script
    assert script.count("sync_unconfirmed BIT NULL") == 3
    assert "secret" not in script
    assert "CREATE TABLE [" not in script  # only the version table, which needs no brackets


def test_the_script_for_sql_server_records_where_documents_may_be_sent_from() -> None:
    script = _script("upgrade", "sync@head", RENAMED)
    assert (
        "CREATE TABLE dqg_installation ( id INTEGER NOT NULL IDENTITY, "
        "server_name NVARCHAR(256) NOT NULL, database_name NVARCHAR(256) NOT NULL, "
        "recorded_at DATETIME2(7) NOT NULL, recorded_by NVARCHAR(256) NOT NULL, "
        "why NVARCHAR(500) NOT NULL, replaces BIT NOT NULL, "
        "CONSTRAINT pk_dqg_installation PRIMARY KEY (id) ); GO "
        "INSERT INTO dqg_installation "
        "(server_name, database_name, recorded_at, recorded_by, why, replaces) VALUES "
        "(COALESCE(@@SERVERNAME, CONVERT(nvarchar(256), SERVERPROPERTY('ServerName'))), "
        "DB_NAME(), sysutcdatetime(), SUSER_SNAME(), N'recorded by the migration', 1); GO"
    ) in script
    assert (
        "CREATE INDEX [ix_dqg_due_HoaDon] ON [HoaDon] "
        "(shop_pharmacy_code, sale_date, created_at, id) INCLUDE "
        "(sync_claim_token, sync_lease_expires_at, sync_next_attempt_at, sync_unconfirmed, "
        "pharmacy_code, ma_hoa_don) WHERE trang_thai = 'PENDING_SYNC'; GO "
        "DROP INDEX [ix_dqg_claim_HoaDon] ON [HoaDon]; GO"
    ) in script


def test_the_business_script_for_sql_server_keeps_vietnamese_text_and_dates() -> None:
    script = _script("upgrade", "business@head", SourceSettings(db_schema="dbo"))
    assert "CREATE TABLE dbo.[SalesInvoices] ( id INTEGER NOT NULL IDENTITY" in script
    assert "dosage NVARCHAR(max) NOT NULL" in script
    assert "created_at DATETIME NOT NULL DEFAULT getdate()" in script
    assert "production_date DATE NULL" in script
    assert "quantity NUMERIC(18, 2) NOT NULL" in script
    assert not re.search(r"(?<!N)VARCHAR(?!\(32\))|TEXT|TIMESTAMP", script)


def test_the_script_that_undoes_the_sync_branch_drops_indexes_before_columns() -> None:
    script = _script("downgrade", "sync_0002:base")
    assert script.index("DROP INDEX [ix_dqg_token_SalesInvoices] ON [SalesInvoices]") < (
        script.index("ALTER TABLE [SalesInvoices] DROP COLUMN sync_claim_token")
    )
    assert script.count("DROP TABLE") == script.count("DROP TABLE dqg_") > 0
