"""Alembic runs this file for every command: connected, or writing a script (`--sql`)."""

from __future__ import annotations

from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import make_url

from deployments.migrations.context import VERSION_TABLE, source_settings, source_url
from lib.errors import SyncError
from lib.source.engine import create_source_engine, translate_errors


def run_offline() -> None:
    """Write the statements instead of running them."""
    settings = source_settings(context.config)
    url = make_url(source_url(context.config))
    context.configure(
        url=url,
        version_table=VERSION_TABLE,
        version_table_schema=settings.db_schema,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the statements, each revision in a separate transaction."""
    settings = source_settings(context.config)
    engine = create_source_engine(source_url(context.config), settings)
    try:
        with translate_errors(), engine.connect() as connection:
            context.configure(
                connection=connection,
                version_table=VERSION_TABLE,
                version_table_schema=settings.db_schema,
                transaction_per_migration=True,
            )
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


def main() -> None:
    """Do what the command asks for; a person at the `alembic` command gets a line, no traceback."""
    # A program that calls `migrate` has its own logging, which this must not replace.
    by_a_person = "url" not in context.config.attributes
    if context.config.config_file_name and by_a_person:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    try:
        (run_offline if context.is_offline_mode() else run_online)()
    except SyncError as error:
        if by_a_person:
            raise CommandError(str(error)) from error
        raise


main()
