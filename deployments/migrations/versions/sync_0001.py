"""Our own tables; the pharmacy's tables keep exactly their columns and indexes.

`dqg_delivery` holds the delivery state of each document, `dqg_account` encrypted passwords of
AccountShop, `dqg_installation` the databases that documents may be sent from; the migration records
this database there.

Reports codes that several documents have: such rows are sent one after another, but a person
should know of them.
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
from lib.source.dialects import database_name, login_name, server_identity, utc_now
from lib.source.tables import SourceTables, build_tables

revision = "sync_0001"
down_revision = None
branch_labels = ("sync",)
depends_on = None

logger = logging.getLogger("deployments.migrations")

# The types are written out here and not taken from lib.source.tables: a released revision must
# not change.
_UTC_MOMENT = sa.DateTime().with_variant(mssql.DATETIME2(7), "mssql")  # type: ignore[no-untyped-call]
_LONG_TEXT = sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
_DELIVERY, _ACCOUNT, _INSTALLATION = "dqg_delivery", "dqg_account", "dqg_installation"
#: Maximum of codes listed in the report of one table.
_REPORTED = 20


def upgrade() -> None:
    settings = source_settings(op.get_context().config)
    tables = build_tables(settings)
    schema = settings.db_schema
    if not op.get_context().as_sql:
        _check_tables(tables, schema)
    _make_delivery(schema, _collation(tables, schema))
    op.create_table(
        _ACCOUNT,
        sa.Column("shop_pharmacy_code", sa.Unicode(100), nullable=False),
        sa.Column("pharmacy_code", sa.Unicode(100), nullable=False),
        sa.Column("account", sa.Unicode(100), nullable=False),
        sa.Column("encrypted_password", sa.Unicode(400), nullable=True),
        sa.PrimaryKeyConstraint(
            "shop_pharmacy_code", "pharmacy_code", "account", name=f"pk_{_ACCOUNT}"
        ),
        schema=schema,
    )
    _make_installation(schema)
    if not op.get_context().as_sql:
        for pipeline in PIPELINES.values():
            _report_duplicates(tables, pipeline)


def downgrade() -> None:
    schema = source_settings(op.get_context().config).db_schema
    if not op.get_context().as_sql:
        count = sa.select(sa.func.count()).select_from(sa.table(_ACCOUNT, schema=schema))
        if found := op.get_bind().execute(count).scalar_one():
            raise ConfigurationError(
                f"{_ACCOUNT} has {found} encrypted passwords, which would be lost: "
                "run `dqg accounts decrypt` first"
            )
    for table in (_DELIVERY, _ACCOUNT, _INSTALLATION):
        op.drop_table(table, schema=schema)


def _make_delivery(schema: str | None, collation: str | None) -> None:
    code = sa.Unicode(100, collation=collation)
    op.create_table(
        _DELIVERY,
        sa.Column("platform", sa.Unicode(20), nullable=False),
        sa.Column("pipeline", sa.Unicode(20), nullable=False),
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pharmacy_code", code, nullable=False),
        sa.Column("local_id", code, nullable=False),
        sa.Column("claim_token", sa.Unicode(36), nullable=True),
        sa.Column("lease_expires_at", _UTC_MOMENT, nullable=True),
        sa.Column("begun", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("crashed_at", _UTC_MOMENT, nullable=True),
        sa.Column("next_attempt_at", _UTC_MOMENT, nullable=True),
        sa.Column("unconfirmed", sa.Boolean(), nullable=False),
        sa.Column("transaction_id", sa.Unicode(100), nullable=True),
        sa.Column("state", sa.Unicode(20), nullable=True),
        sa.Column("national_id", sa.Unicode(100), nullable=True),
        sa.Column("message", _LONG_TEXT, nullable=True),
        sa.Column("payload_digest", sa.Unicode(64), nullable=True),
        sa.Column("sent_digest", sa.Unicode(64), nullable=True),
        sa.Column("settles_at", _UTC_MOMENT, nullable=True),
        sa.Column("settled_at", _UTC_MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("platform", "pipeline", "record_id", name=f"pk_{_DELIVERY}"),
        schema=schema,
    )
    held = sa.column("claim_token", sa.Unicode()).is_not(None)
    where: dict[str, Any] = {"mssql_where": held, "postgresql_where": held}
    # At most one live claim per code. Filtered, which is safe: only our sessions write this table.
    op.create_index(
        f"uq_{_DELIVERY}_code",
        _DELIVERY,
        ["platform", "pipeline", "pharmacy_code", "local_id"],
        unique=True,
        schema=schema,
        **where,
    )
    op.create_index(
        f"ix_{_DELIVERY}_code", _DELIVERY, ["platform", "pipeline", "local_id"], schema=schema
    )
    op.create_index(f"ix_{_DELIVERY}_token", _DELIVERY, ["claim_token"], schema=schema, **where)
    op.create_index(
        f"ix_{_DELIVERY}_settled", _DELIVERY, ["platform", "pipeline", "settled_at"], schema=schema
    )


def _make_installation(schema: str | None) -> None:
    table = op.create_table(
        _INSTALLATION,
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("server_name", sa.Unicode(256), nullable=False),
        sa.Column("database_name", sa.Unicode(256), nullable=False),
        sa.Column("recorded_at", _UTC_MOMENT, nullable=False),
        sa.Column("recorded_by", sa.Unicode(256), nullable=False),
        sa.Column("why", sa.Unicode(500), nullable=False),
        sa.Column("replaces", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{_INSTALLATION}"),
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


def _check_tables(tables: SourceTables, schema: str | None) -> None:
    inspector = sa.inspect(op.get_bind())
    for pipeline in PIPELINES.values():
        for table in (tables.header(pipeline), tables.details(pipeline)):
            if not inspector.has_table(table.name, schema):
                raise ConfigurationError(f"there is no table {table.name}")
    if not inspector.has_table(tables.accounts.name, schema):
        raise ConfigurationError(f"there is no table {tables.accounts.name}")


def _collation(tables: SourceTables, schema: str | None) -> str | None:
    """Collation of the documents' codes, so that codes in our tables compare in the same way.

    None, which is the database's default, if a script is written offline or the tables differ.
    """
    if op.get_context().as_sql:
        return None
    inspector = sa.inspect(op.get_bind())
    found = set()
    for pipeline in PIPELINES.values():
        header = tables.header(pipeline)
        codes = {header.c.pharmacy_code.name, tables.local_id(pipeline).name}
        for column in inspector.get_columns(header.name, schema):
            if column["name"] in codes:
                found.add(getattr(column["type"], "collation", None))
    return found.pop() if len(found) == 1 else None


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
        "%s: %d codes occur in more than one row; these rows are sent one after another: %s%s",
        header.name,
        total,
        named,
        more,
    )
