"""Room for encrypted passwords beside the plain ones of AccountShop.

A column of our own: the column `password` is other software's, and too short for an encrypted one.
Nothing is encrypted here; `dqg accounts encrypt` does that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from deployments.migrations.context import source_settings
from lib.errors import ConfigurationError
from lib.source.tables import build_tables

revision = "sync_0003"
down_revision = "sync_0002"
branch_labels = None
depends_on = None

_COLUMN = "sync_encrypted_password"
_LENGTH = 400


def upgrade() -> None:
    settings = source_settings(op.get_context().config)
    accounts = build_tables(settings).accounts
    name = accounts.c[_COLUMN].name
    if op.get_context().as_sql or name not in _columns(accounts.name, settings.db_schema):
        op.add_column(
            accounts.name,
            sa.Column(name, sa.Unicode(_LENGTH), nullable=True),
            schema=settings.db_schema,
        )


def downgrade() -> None:
    settings = source_settings(op.get_context().config)
    accounts = build_tables(settings).accounts
    column = accounts.c[_COLUMN]
    if not op.get_context().as_sql:
        if column.name not in _columns(accounts.name, settings.db_schema):
            return
        encrypted = sa.select(sa.func.count()).select_from(accounts).where(column.is_not(None))
        if count := op.get_bind().execute(encrypted).scalar_one():
            raise ConfigurationError(
                f"{accounts.name} holds {count} encrypted passwords, which would be lost: "
                "`dqg accounts decrypt` comes first"
            )
    op.drop_column(accounts.name, column.name, schema=settings.db_schema)


def _columns(table: str, schema: str | None) -> set[str]:
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table(table, schema):
        raise ConfigurationError(f"there is no table {table}, which holds the logins by shop")
    return {column["name"] for column in inspector.get_columns(table, schema)}
