"""The claim as SQL Server and PostgreSQL get to see it."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Dialect, Select, select
from sqlalchemy.dialects import mssql, postgresql

from lib.pipelines import IMPORT, SALE
from lib.settings import SourceSettings
from lib.source.claims import claim_statement, due_documents
from lib.source.daily import documents_statement, lines_statement
from lib.source.dialects import age_in_seconds, lock, one_of, seconds_until, utc_in, utc_now
from lib.source.tables import build_tables

TABLES = build_tables(SourceSettings())
HEADER = TABLES.header(SALE)


def _sql(statement: Any, dialect: Dialect) -> str:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return re.sub(r"\s+", " ", str(compiled))


def _claim(dialect: Dialect, due: Select[Any] | None = None) -> str:
    due = due_documents(HEADER, SALE, "SHOP01", 100) if due is None else due
    return _sql(claim_statement(HEADER, SALE, due, "token", timedelta(minutes=5), dialect), dialect)


def test_sql_server_claims_in_one_update_with_output_over_locked_rows() -> None:
    sql = _claim(mssql.dialect())
    assert sql.startswith("UPDATE [SalesInvoices] WITH (ROWLOCK) SET sync_claim_token=")
    assert "OUTPUT inserted.id, inserted.local_invoice_id" in sql
    assert "IN (SELECT TOP 100 due.id FROM [SalesInvoices] AS due WITH" in sql
    assert "AS due WITH (ROWLOCK, READPAST, UPDLOCK) WHERE" in sql
    assert "ORDER BY due.sale_date, due.created_at, due.id)" in sql
    assert "sync_lease_expires_at=dateadd(millisecond, " in sql
    assert "due.sync_lease_expires_at <= sysutcdatetime()" in sql
    assert sql.count("UPDATE ") == 1
    assert "MERGE" not in sql
    assert not sql.startswith("WITH")


def test_sql_server_never_skips_a_locked_row_of_the_same_code() -> None:
    sql = _claim(mssql.dialect())
    rivals = sql[sql.index("NOT (EXISTS") :]
    assert "[SalesInvoices] AS other WITH (READCOMMITTEDLOCK)" in rivals
    assert "READPAST" not in rivals


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_a_cut_off_bounds_the_claim_in_the_type_of_the_column(dialect: Dialect) -> None:
    sql = _claim(dialect, due_documents(HEADER, SALE, "SHOP01", 100, date(2026, 11, 1)))
    kind = "DATETIME" if dialect.name == "mssql" else "TIMESTAMP WITHOUT TIME ZONE"
    assert sql.count("sale_date >= CAST(") == 2
    assert f" AS {kind})" in sql
    assert "sale_date >=" not in _claim(dialect)


def test_the_status_is_a_literal_so_that_the_filtered_index_serves() -> None:
    for dialect in (mssql.dialect(), postgresql.dialect()):
        sql = _claim(dialect)
        assert "due.status = 'PENDING_SYNC'" in sql
        assert "other.status = 'PENDING_SYNC'" in sql


def test_postgresql_claims_in_one_update_over_rows_it_locked_once() -> None:
    sql = _claim(postgresql.dialect())
    assert sql.startswith("WITH found AS MATERIALIZED (SELECT due.id")
    assert "FOR UPDATE OF due SKIP LOCKED) UPDATE" in sql
    assert "RETURNING" in sql
    assert "timezone('utc', clock_timestamp())" in sql
    assert "ROWLOCK" not in sql


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_many_values_stay_out_of_the_parameters(dialect: Dialect) -> None:
    def parameters(count: int) -> int:
        shops = [f"S'{n}" for n in range(count)]
        statement = select(HEADER.c.id).where(one_of(HEADER.c.shop_pharmacy_code, shops))
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        assert ("'S''0'" in str(compiled)) == (count > 1000)
        return len(compiled.params)

    assert parameters(5000) == 0
    assert parameters(900) == 900


def test_rows_are_locked_while_they_are_read() -> None:
    query = lock(select(HEADER.c.id), HEADER)
    assert _sql(query, mssql.dialect()).endswith("FROM [SalesInvoices] WITH (ROWLOCK, UPDLOCK)")
    assert _sql(query, postgresql.dialect()).endswith('FOR UPDATE OF "SalesInvoices"')


def test_moments_are_by_the_databases_clock() -> None:
    lease, created = HEADER.c.sync_lease_expires_at, HEADER.c.created_at
    query = select(utc_now(), utc_in(90), seconds_until(lease), age_in_seconds(created))
    sql = _sql(query, mssql.dialect())
    assert "sysutcdatetime()" in sql
    assert "dateadd(millisecond, " in sql
    assert "datediff(second, sysutcdatetime(), [SalesInvoices].sync_lease_expires_at)" in sql
    assert "datediff(second, [SalesInvoices].created_at, getdate())" in sql


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_a_day_is_a_range_that_an_index_can_serve(dialect: Dialect) -> None:
    day = date(2026, 2, 28)
    for statement in (documents_statement, lines_statement):
        compiled = statement(TABLES, SALE, day).compile(dialect=dialect)
        assert re.search(r"sale_date\W* >= .*sale_date\W* < ", str(compiled).replace("\n", " "))
        bounds = [value for value in compiled.params.values() if hasattr(value, "isoformat")]
        assert [bound.isoformat() for bound in bounds] == [
            "2026-02-28T00:00:00",
            "2026-03-01T00:00:00",
        ]


def test_lines_without_a_total_come_to_quantity_times_price() -> None:
    assert "sum([SalesInvoiceDetails].line_total)" in _sql(
        lines_statement(TABLES, SALE, date(2026, 1, 1)), mssql.dialect()
    )
    assert "quantity * coalesce([PurchaseReceiptDetails].unit_price, " in _sql(
        lines_statement(TABLES, IMPORT, date(2026, 1, 1)), mssql.dialect()
    )
