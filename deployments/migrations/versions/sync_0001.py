"""Our bookkeeping on the three header tables that are there: claim columns and indexes.

Adds only what is missing, and reports documents that have one code several times: such rows are
sent one after another, but a person should know of them. Written out as a script (`--sql`) it adds
everything, because a script cannot look first.

On SQL Server filtered indexes demand of every writer of the table the SET options that current
drivers have by default (QUOTED_IDENTIFIER, ANSI_NULLS and the related ones ON).
"""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from deployments.migrations.context import source_settings
from lib.errors import ConfigurationError
from lib.pipelines import PIPELINES, Pipeline
from lib.source.tables import SourceTables, build_tables

revision = "sync_0001"
down_revision = None
branch_labels = ("sync",)
depends_on = None

logger = logging.getLogger("deployments.migrations")

_UTC_MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(7), "mssql")  # type: ignore[no-untyped-call]

_COLUMNS: dict[str, Any] = {
    "sync_claim_token": sa.Unicode(36),
    "sync_lease_expires_at": _UTC_MOMENT,
    "sync_attempts": sa.Integer(),
    "sync_next_attempt_at": _UTC_MOMENT,
    "sync_unconfirmed": sa.Boolean(),
}
#: Codes named in the report of one table.
_REPORTED = 20


def upgrade() -> None:
    settings = source_settings(op.get_context().config)
    tables = build_tables(settings)
    for pipeline in PIPELINES.values():
        present = _Present(tables, pipeline, settings.db_schema)
        header = tables.header(pipeline)
        for standard, type_ in _COLUMNS.items():
            name = header.c[standard].name
            if name not in present.columns:
                op.add_column(
                    header.name, sa.Column(name, type_, nullable=True), schema=settings.db_schema
                )
        for index in _indexes(tables, pipeline):
            if not present.serves(index):
                op.create_index(
                    index.name,
                    index.table,
                    index.columns,
                    schema=settings.db_schema,
                    **index.options(op.get_bind().dialect.name),
                )
        if not op.get_context().as_sql:
            _report_duplicates(tables, pipeline)


def downgrade() -> None:
    settings = source_settings(op.get_context().config)
    tables = build_tables(settings)
    for pipeline in PIPELINES.values():
        present = _Present(tables, pipeline, settings.db_schema, all_of_ours=True)
        header = tables.header(pipeline)
        for index in _indexes(tables, pipeline):
            if index.name in present.index_names:
                op.drop_index(index.name, index.table, schema=settings.db_schema)
        for standard in _COLUMNS:
            name = header.c[standard].name
            if name in present.columns:
                op.drop_column(header.name, name, schema=settings.db_schema)


class _Index:
    """An index of ours.

    Attributes:
        always: ours alone will do; else any index that begins with the same column.
    """

    def __init__(
        self,
        purpose: str,
        table: sa.Table,
        *columns: sa.Column[Any],
        where: sa.ColumnElement[bool] | None = None,
        include: tuple[sa.Column[Any], ...] = (),
    ) -> None:
        self.name = f"ix_dqg_{purpose}_{table.name}"
        self.table = table.name
        self.columns = [column.name for column in columns]
        self.always = where is not None
        self._where = where
        self._include = [column.name for column in include]

    def options(self, dialect: str) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._where is not None:
            options[f"{dialect}_where"] = self._where
        if self._include:
            options[f"{dialect}_include"] = self._include
        return options


def _indexes(tables: SourceTables, pipeline: Pipeline) -> list[_Index]:
    header, details = tables.header(pipeline), tables.details(pipeline)
    token = header.c.sync_claim_token
    return [
        _Index(
            "claim",
            header,
            # By shop, so that each shop's share of a batch is one seek.
            header.c.shop_pharmacy_code,
            header.c.created_at,
            header.c.id,
            # Not NVARCHAR: SQL Server refuses a condition that converts a VARCHAR column.
            where=_bare(header.c.status) == sa.literal("PENDING_SYNC", sa.String()),
            include=(
                token,
                header.c.sync_lease_expires_at,
                header.c.sync_next_attempt_at,
                header.c.sync_unconfirmed,
                header.c.pharmacy_code,
                tables.local_id(pipeline),
            ),
        ),
        _Index("token", header, token, where=_bare(token).is_not(None)),
        # What was finished lately is counted every minute.
        _Index("finished", header, header.c.status, header.c.updated_at),
        # The local id comes first because a person who sends one document may name it alone.
        _Index("code", header, tables.local_id(pipeline), header.c.pharmacy_code),
        _Index("lines", details, tables.foreign_key(pipeline)),
    ]


def _bare(column: sa.Column[Any]) -> sa.ColumnClause[Any]:
    """The column without its table, as an index's condition takes it."""
    return sa.column(column.name, sa.Unicode())


class _Present:
    """What the database has already; nothing (or all of ours) where a script cannot look."""

    def __init__(
        self,
        tables: SourceTables,
        pipeline: Pipeline,
        schema: str | None,
        *,
        all_of_ours: bool = False,
    ) -> None:
        header, details = tables.header(pipeline), tables.details(pipeline)
        self.columns: set[str] = set()
        self.index_names: set[str] = set()
        self._keys: list[tuple[str, list[str]]] = []
        if op.get_context().as_sql:
            if all_of_ours:
                self.columns = {header.c[name].name for name in _COLUMNS}
                self.index_names = {index.name for index in _indexes(tables, pipeline)}
            return
        inspector = sa.inspect(op.get_bind())
        for table in (header.name, details.name):
            if not inspector.has_table(table, schema):
                raise ConfigurationError(f"there is no table {table} to add the claim columns to")
        self.columns = {column["name"] for column in inspector.get_columns(header.name, schema)}
        for table in (header.name, details.name):
            for found in inspector.get_indexes(table, schema):
                self.index_names.add(found["name"] or "")
                if not _is_partial(found):
                    self._keys.append((table, [name or "" for name in found["column_names"]]))
            # Unique constraints are among the indexes; SQL Server's dialect knows them only there.
            key = inspector.get_pk_constraint(table, schema)["constrained_columns"]
            self._keys.append((table, list(key)))

    def serves(self, index: _Index) -> bool:
        if index.name in self.index_names:
            return True
        return not index.always and any(
            table == index.table and columns[:1] == index.columns[:1]
            for table, columns in self._keys
        )


def _is_partial(index: Any) -> bool:
    options = index.get("dialect_options", {})
    return any(options.get(f"{name}_where") is not None for name in ("mssql", "postgresql"))


def _report_duplicates(tables: SourceTables, pipeline: Pipeline) -> None:
    header = tables.header(pipeline)
    code = (header.c.pharmacy_code, tables.local_id(pipeline))
    twice = sa.select(*code).group_by(*code).having(sa.func.count() > 1)
    bind = op.get_bind()
    total = bind.execute(sa.select(sa.func.count()).select_from(twice.subquery())).scalar_one()
    if not total:
        return
    rows = bind.execute(twice.order_by(*code).limit(_REPORTED))
    named = ", ".join(f"{local_id} of pharmacy {pharmacy}" for pharmacy, local_id in rows)
    more = f" and {total - _REPORTED} more" if total > _REPORTED else ""
    logger.warning(
        "%s: %d codes stand on more than one row; these are sent one after another: %s%s",
        header.name,
        total,
        named,
        more,
    )
