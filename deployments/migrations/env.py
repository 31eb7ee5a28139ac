"""Alembic runs this file for every command: online, or offline to write a script (`--sql`)."""

from __future__ import annotations

from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import make_url

from deployments.migrations.context import VERSION_TABLE, source_settings, source_url
from lib.errors import SyncError
from lib.source.engine import create_source_engine, translate_errors

#: Options that a session needs to create a filtered index; an error rolls back everything.
SCRIPT_HEAD = """\
SET QUOTED_IDENTIFIER, ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS ON;
SET ARITHABORT, CONCAT_NULL_YIELDS_NULL, XACT_ABORT ON;
SET NUMERIC_ROUNDABORT OFF;
GO
"""
#: Tools that run such scripts continue after an error, although it has ended the transaction. With
#: NOEXEC they execute nothing more, not even the line that marks the migration as done.
SCRIPT_BATCH_END = """\
GO
IF @@TRANCOUNT = 0 SET NOEXEC ON;
GO"""
SCRIPT_END = """\
SET NOEXEC OFF;
GO"""


def run_offline() -> None:
    """Write the statements instead of running them, on SQL Server as one transaction."""
    settings = source_settings(context.config)
    url = make_url(source_url(context.config))
    context.configure(
        url=url,
        version_table=VERSION_TABLE,
        version_table_schema=settings.db_schema,
        literal_binds=True,
        mssql_batch_separator=SCRIPT_BATCH_END,
    )
    output = context.get_context().impl.static_output
    on_sql_server = url.get_backend_name() == "mssql"
    if on_sql_server:
        output(SCRIPT_HEAD)
    with context.begin_transaction():
        context.run_migrations()
    if on_sql_server:
        output(SCRIPT_END)


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
    """Run the command; with the `alembic` command, errors are one line without a traceback."""
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
