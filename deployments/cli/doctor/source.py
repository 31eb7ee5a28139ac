"""Checks of the settings and of the source database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Engine

from deployments.cli.doctor.clocks import note_clock
from deployments.cli.doctor.findings import DoctorContext, Finding, fault, ok
from deployments.cli.language import _
from deployments.cli.prefect_api import prefect_errors
from deployments.migrations import SYNC, alembic_config
from deployments.migrations.context import VERSION_TABLE
from lib.errors import ConfigurationError
from lib.source.engine import create_source_engine, translate_errors
from lib.source.odbc import find_odbc_driver
from lib.source.store import open_source
from lib.source.tables import SourceTables, build_tables
from tasks.configuration import read_settings, source_url

_UPGRADE = "alembic upgrade sync@head"


async def check_settings(context: DoctorContext) -> Sequence[Finding]:
    """Every required setting is set, and all values are valid."""
    try:
        context.settings = await read_settings()
        context.tables = build_tables(context.settings.source)
    except ConfigurationError as error:
        first, *rest = error.message.splitlines()
        return [
            fault(line.strip(), _("correct it in .env or in the environment: docs/settings.md"))
            for line in rest or [first]
        ]
    return [ok(_("all required settings are set and valid"))]


async def check_driver(context: DoctorContext) -> Sequence[Finding]:
    """The address of the source database is valid, and its driver is installed."""
    settings = context.settings.source
    if settings.url is None:
        async with prefect_errors():
            url = await source_url(context.settings)
    else:
        url = await source_url(context.settings)
    if settings.odbc_driver is not None and str(url).startswith("mssql"):
        # Checked first: a wrong path must be reported even if the driver manager is missing too.
        find_odbc_driver(settings.odbc_driver)
    context.engine = create_source_engine(url, settings)
    context.source = open_source(
        context.engine, context.tables, cut_off=context.settings.sync.not_before
    )
    context.closing.callback(context.source.dispose)
    if context.engine.dialect.name != "mssql":
        return [ok(_("not needed: the source database is not SQL Server"))]
    driver = context.engine.url.query.get("driver")
    return [ok(_("found: {driver}", driver=driver or _("the one named in the address")))]


async def check_source(context: DoctorContext) -> Sequence[Finding]:
    """The source database answers."""
    await asyncio.to_thread(context.source.ping)
    before = time.time()
    now = await asyncio.to_thread(context.source.now)
    note_clock(context, "source database", now.timestamp(), before)
    return [ok(_("it answers"))]


async def check_migrations(context: DoctorContext) -> Sequence[Finding]:
    """The newest migration has been run."""
    return await asyncio.to_thread(_migrations, context.engine, context.tables)


def _migrations(engine: Engine, tables: SourceTables) -> Sequence[Finding]:
    schema = tables.metadata.schema
    with translate_errors(), engine.connect() as connection:
        migration = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "version_table_schema": schema}
        )
        heads = migration.get_current_heads()
    return _revisions(heads) or [ok(_("the newest migration has been run"))]


def _revisions(heads: tuple[str, ...]) -> list[Finding]:
    scripts = ScriptDirectory.from_config(alembic_config(""))
    wanted = scripts.get_revision(f"{SYNC}@head").revision
    if wanted in heads:
        return []
    try:
        scripts.get_revisions(heads)
    except ResolutionError:
        return [
            fault(
                _("the database has a migration this checkout does not know"),
                _("update this checkout"),
            )
        ]
    ours = sorted(head for head in heads if head.startswith(SYNC))
    return [
        fault(
            _(
                "migration {wanted} has not been run; the last one was {last}",
                wanted=wanted,
                last=", ".join(ours) or _("none"),
            ),
            _UPGRADE,
        )
    ]


async def check_installation(context: DoctorContext) -> Sequence[Finding]:
    """This is the recorded database, not a restored copy of it."""
    installation = await asyncio.to_thread(context.source.installation.read)
    installation.check()
    return [ok(_("recorded: {place}", place=installation.here))]
