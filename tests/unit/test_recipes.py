"""The recipes for tables of another shape, as T-SQL."""

from __future__ import annotations

import re

import pytest
import sqlglot
from sqlalchemy import Table
from sqlglot import exp

from deployments.local.supervisor.stack import ROOT
from lib.settings import SourceSettings
from lib.source.tables import build_tables

RECIPES = ROOT / "deployments" / "migrations" / "recipes"
T_SQL = (RECIPES / "integer_status_sqlserver.sql").read_text(encoding="utf-8")
POSTGRESQL = (RECIPES / "integer_status_postgresql.sql").read_text(encoding="utf-8")
TABLES = build_tables(SourceSettings()).metadata.tables.values()


def _batches() -> list[str]:
    return [batch for batch in re.split(r"^GO$", T_SQL, flags=re.MULTILINE) if batch.strip()]


def test_every_batch_parses_as_t_sql() -> None:
    for batch in _batches():
        for statement in sqlglot.parse(batch, read="tsql"):
            assert statement is not None


def test_triggers_count_no_rows_and_end_where_nothing_changed() -> None:
    triggers = [batch for batch in _batches() if "CREATE TRIGGER" in batch]
    assert len(triggers) == 6
    for trigger in triggers:
        assert "SET NOCOUNT ON;" in trigger
        assert "IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;" in trigger
        assert "INSTEAD OF UPDATE" not in trigger


@pytest.mark.parametrize("table", [t for t in TABLES if t.name != "AccountShop"], ids=str)
def test_both_recipes_have_a_view_with_every_column(table: Table) -> None:
    ours = re.compile("sync_(?!response)")
    wanted = {column.name for column in table.columns if not ours.match(column.name)}
    for script, dialect in ((T_SQL.replace("\nGO\n", "\n;\n"), "tsql"), (POSTGRESQL, "postgres")):
        (view,) = re.findall(rf'CREATE VIEW dqg\."?{table.name}"? AS\n(.*?);\n', script, re.DOTALL)
        query = sqlglot.parse_one(view, read=dialect)
        assert isinstance(query, exp.Select)
        assert set(query.named_selects) == wanted
