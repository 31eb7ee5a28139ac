"""Indexes on the pharmacy's tables that make the service fast. It works without them, but slower.

The service never creates them: an administrator decides, because a filtered index makes the writes
of clients with old SET options fail on SQL Server (error 1934).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sqlalchemy import Connection, Index, MetaData, String, Table, inspect, literal
from sqlalchemy.schema import CreateIndex

from lib.models import SyncStatus
from lib.pipelines import PIPELINES, Pipeline
from lib.source.inspection import is_view
from lib.source.tables import SourceTables


class Purpose(Enum):
    """What an index is for."""

    PENDING = auto()  # a claim finds pending documents without reading all documents
    CODE = auto()  # finds one document by its code
    LINES = auto()  # finds the lines of a document


@dataclass(frozen=True, slots=True)
class AdvisedIndex:
    """An index that is missing.

    Attributes:
        statement: the CREATE INDEX.
    """

    table: str
    purpose: Purpose
    statement: str


def missing_indexes(
    connection: Connection, tables: SourceTables, *, filtered: bool
) -> list[AdvisedIndex]:
    """Indexes that do not exist, and that no other index can replace.

    Args:
        filtered: advise a filtered index for pending documents (small), else a plain one.
    """
    found = []
    for pipeline in PIPELINES.values():
        header = tables.header(pipeline)
        if is_view(connection, header):
            continue  # the tables of the view have other names and columns
        status, shop = header.c.status.name, header.c.shop_pharmacy_code.name
        whole, partial = _existing(connection, header)
        lines = _existing(connection, tables.details(pipeline))[0]
        have = {
            Purpose.PENDING: [status, shop] in [columns[:2] for columns in whole]
            or [shop] in [columns[:1] for columns in partial],
            Purpose.CODE: [tables.local_id(pipeline).name] in [columns[:1] for columns in whole],
            Purpose.LINES: [tables.foreign_key(pipeline).name]
            in [columns[:1] for columns in lines],
        }
        for purpose, index in advised_indexes(tables, pipeline, filtered=filtered):
            if not have[purpose]:
                statement = str(CreateIndex(index).compile(connection))
                found.append(
                    AdvisedIndex(_table_of(index).fullname, purpose, " ".join(statement.split()))
                )
    return found


def advised_indexes(
    tables: SourceTables, pipeline: Pipeline, *, filtered: bool
) -> Iterator[tuple[Purpose, Index]]:
    """The indexes of one pipeline, on copies of its tables."""
    scratch = MetaData()
    header = tables.header(pipeline).to_metadata(scratch)
    details = tables.details(pipeline).to_metadata(scratch)
    order = [header.c[pipeline.date_column], header.c.created_at, header.c.id]
    # Not NVARCHAR: SQL Server refuses a filter that converts a VARCHAR column.
    pending = header.c.status == literal(SyncStatus.PENDING.value, String())
    name = f"ix_dqg_pending_{header.name}"
    if filtered:
        shop_first = (header.c.shop_pharmacy_code, *order)
        index = Index(name, *shop_first, mssql_where=pending, postgresql_where=pending)
        yield Purpose.PENDING, index
    else:
        yield (
            Purpose.PENDING,
            Index(name, header.c.status, header.c.shop_pharmacy_code, *order),
        )
    local_id = header.c[pipeline.local_id_column]
    yield Purpose.CODE, Index(f"ix_dqg_code_{header.name}", local_id, header.c.pharmacy_code)
    foreign_key = details.c[pipeline.foreign_key_column]
    yield Purpose.LINES, Index(f"ix_dqg_lines_{details.name}", foreign_key)


def _existing(connection: Connection, table: Table) -> tuple[list[list[str]], list[list[str]]]:
    """Columns of the indexes over all rows, and of the filtered ones."""
    inspector = inspect(connection)
    key = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    whole: list[list[str]] = [list(key)]
    partial: list[list[str]] = []
    # Includes the indexes of unique constraints, which SQL Server lists only here.
    for index in inspector.get_indexes(table.name, table.schema):
        columns = [name or "" for name in index["column_names"]]
        options = index.get("dialect_options", {})
        filter_ = options.get("mssql_where") or options.get("postgresql_where")
        (partial if filter_ else whole).append(columns)
    return whole, partial


def _table_of(index: Index) -> Table:
    assert index.table is not None  # noqa: S101 - made from columns of a table
    return index.table
