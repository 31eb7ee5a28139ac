"""Where documents may be sent from, and an index that serves claims from a cut-off date on.

`dqg_installation` gets its first row here: the server and the database this runs in. A restored
copy brings that row along, and is found to be another place.

The claim index is made again with the document's own date in it, oldest first by that date, so that
documents before the cut-off cost a claim nothing, however many there are. Adds only what is
missing; written out as a script (`--sql`) it does everything.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from deployments.migrations.context import source_settings
from lib.pipelines import PIPELINES, Pipeline
from lib.source.dialects import database_name, login_name, server_identity, utc_now
from lib.source.tables import SourceTables, build_tables

revision = "sync_0002"
down_revision = "sync_0001"
branch_labels = None
depends_on = None

_UTC_MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(7), "mssql")  # type: ignore[no-untyped-call]
_TABLE = "dqg_installation"


def upgrade() -> None:
    settings = source_settings(op.get_context().config)
    schema = settings.db_schema
    tables = build_tables(settings)
    if not _has_table(schema):
        _make_table(schema)
    for pipeline in PIPELINES.values():
        header = tables.header(pipeline)
        present = _index_names(header.name, schema)
        new, old = _name("due", header), _name("claim", header)
        if present is None or new not in present:
            _make_index(new, tables, pipeline, schema, dated=True)
        if present is None or old in present:
            op.drop_index(old, header.name, schema=schema)


def downgrade() -> None:
    settings = source_settings(op.get_context().config)
    schema = settings.db_schema
    tables = build_tables(settings)
    for pipeline in PIPELINES.values():
        header = tables.header(pipeline)
        present = _index_names(header.name, schema)
        new, old = _name("due", header), _name("claim", header)
        if present is None or old not in present:
            _make_index(old, tables, pipeline, schema, dated=False)
        if present is None or new in present:
            op.drop_index(new, header.name, schema=schema)
    op.drop_table(_TABLE, schema=schema)


def _make_table(schema: str | None) -> None:
    table = op.create_table(
        _TABLE,
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("server_name", sa.Unicode(256), nullable=False),
        sa.Column("database_name", sa.Unicode(256), nullable=False),
        sa.Column("recorded_at", _UTC_MOMENT, nullable=False),
        sa.Column("recorded_by", sa.Unicode(256), nullable=False),
        sa.Column("why", sa.Unicode(500), nullable=False),
        sa.Column("replaces", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{_TABLE}"),
        schema=schema,
    )
    op.execute(
        sa.insert(table)
        .values(
            server_name=server_identity(),
            database_name=database_name(),
            recorded_at=utc_now(),
            recorded_by=login_name(),
            why=sa.literal("recorded by the migration", sa.Unicode()),
            replaces=sa.true(),
        )
        .inline()
    )


def _make_index(
    name: str, tables: SourceTables, pipeline: Pipeline, schema: str | None, *, dated: bool
) -> None:
    header = tables.header(pipeline)
    dialect = op.get_bind().dialect.name
    date = [header.c[pipeline.date_column]] if dated else []
    key = [header.c.shop_pharmacy_code, *date, header.c.created_at, header.c.id]
    included = [
        header.c.sync_claim_token,
        header.c.sync_lease_expires_at,
        header.c.sync_next_attempt_at,
        header.c.sync_unconfirmed,
        header.c.pharmacy_code,
        tables.local_id(pipeline),
    ]
    # Not NVARCHAR: SQL Server refuses a condition that converts a VARCHAR column.
    pending = sa.column(header.c.status.name, sa.Unicode()) == sa.literal(
        "PENDING_SYNC", sa.String()
    )
    options: dict[str, Any] = {
        f"{dialect}_where": pending,
        f"{dialect}_include": [column.name for column in included],
    }
    op.create_index(name, header.name, [column.name for column in key], schema=schema, **options)


def _name(purpose: str, header: sa.Table) -> str:
    return f"ix_dqg_{purpose}_{header.name}"


def _has_table(schema: str | None) -> bool:
    if op.get_context().as_sql:
        return False
    return sa.inspect(op.get_bind()).has_table(_TABLE, schema)


def _index_names(table: str, schema: str | None) -> set[str] | None:
    """Indexes of a table; None where a script cannot look."""
    if op.get_context().as_sql:
        return None
    return {index["name"] or "" for index in sa.inspect(op.get_bind()).get_indexes(table, schema)}
