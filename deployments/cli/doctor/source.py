"""Checks of the settings and of the source database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Engine, inspect

from deployments.cli.doctor.clocks import note_clock
from deployments.cli.doctor.findings import Finding, Patient, fault, ok
from deployments.cli.language import _
from deployments.cli.prefect_state import prefect_errors
from deployments.migrations import SYNC, alembic_config
from deployments.migrations.context import VERSION_TABLE
from lib.errors import ConfigurationError
from lib.pipelines import PIPELINES, Pipeline
from lib.source.engine import create_source_engine, translate_errors
from lib.source.odbc import find_odbc_driver
from lib.source.store import open_source
from lib.source.tables import CLAIM_FIELDS, SourceTables, build_tables
from tasks.services import read_settings, source_url

_UPGRADE = "alembic upgrade sync@head"


async def check_settings(patient: Patient) -> Sequence[Finding]:
    """Every setting is there and possible."""
    try:
        patient.settings = await read_settings()
        patient.tables = build_tables(patient.settings.source)
    except ConfigurationError as error:
        first, *rest = error.message.splitlines()
        return [
            fault(line.strip(), _("correct it in .env or in the environment: docs/settings.md"))
            for line in rest or [first]
        ]
    return [ok(_("all are there, and possible"))]


async def check_driver(patient: Patient) -> Sequence[Finding]:
    """The address of the source database is usable, and there is a driver for it."""
    settings = patient.settings.source
    if settings.url is None:
        async with prefect_errors():
            url = await source_url(patient.settings)
    else:
        url = await source_url(patient.settings)
    if settings.odbc_driver is not None and str(url).startswith("mssql"):
        # The driver first: of a wrong path nobody should hear only that the manager is missing.
        find_odbc_driver(settings.odbc_driver)
    patient.engine = create_source_engine(url, settings)
    patient.source = open_source(
        patient.engine, patient.tables, cut_off=patient.settings.sync.not_before
    )
    patient.closing.callback(patient.source.dispose)
    if patient.engine.dialect.name != "mssql":
        return [ok(_("none is needed: the source database is no SQL Server"))]
    driver = patient.engine.url.query.get("driver")
    return [ok(_("there: {driver}", driver=driver or _("as the address says")))]


async def check_source(patient: Patient) -> Sequence[Finding]:
    """The source database answers."""
    await asyncio.to_thread(patient.source.ping)
    before = time.time()
    now = await asyncio.to_thread(patient.source.now)
    note_clock(patient, "source database", now.timestamp(), before)
    return [ok(_("it answers"))]


async def check_migrations(patient: Patient) -> Sequence[Finding]:
    """The tables are there with our columns, and the newest migration has been run."""
    return await asyncio.to_thread(_migrations, patient.engine, patient.tables)


def _migrations(engine: Engine, tables: SourceTables) -> Sequence[Finding]:
    schema = tables.metadata.schema
    found: list[Finding] = []
    with translate_errors(), engine.connect() as connection:
        inspector = inspect(connection)
        for pipeline in PIPELINES.values():
            header = tables.header(pipeline)
            if not inspector.has_table(header.name, schema):
                found.append(
                    fault(
                        _("there is no table {table}", table=header.fullname),
                        _("DQG_SOURCE__DB_SCHEMA and DQG_SOURCE__TABLES say where it is"),
                    )
                )
                continue
            present = {column["name"] for column in inspector.get_columns(header.name, schema)}
            missing = [header.c[name].name for name in CLAIM_FIELDS]
            missing = [name for name in missing if name not in present]
            if missing:
                found.append(
                    fault(
                        _(
                            "{table} lacks {columns}: a migration is missing",
                            table=header.fullname,
                            columns=", ".join(missing),
                        ),
                        _UPGRADE,
                    )
                )
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "version_table_schema": schema}
        )
        found += _revisions(context.get_current_heads())
    return found or [ok(_("the newest has been run"))]


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
                _("bring this checkout up to date"),
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


async def check_indexes(patient: Patient) -> Sequence[Finding]:
    """The indexes that claims and outcomes need are there."""
    return await asyncio.to_thread(_indexes, patient.engine, patient.tables)


def _indexes(engine: Engine, tables: SourceTables) -> Sequence[Finding]:
    with translate_errors(), engine.connect() as connection:
        inspector = inspect(connection)
        missing = [name for p in PIPELINES.values() for name in _missing(inspector, tables, p)]
    todo = _(
        "make them again: `alembic upgrade sync@head --sql` writes the CREATE INDEX statements; "
        "without them claims read every document"
    )
    return [fault(_("index {index} is missing", index=name), todo) for name in missing] or [
        ok(_("all are there"))
    ]


def _missing(inspector: Any, tables: SourceTables, pipeline: Pipeline) -> list[str]:
    """Names of indexes that are not there, nor another one that would do."""
    header, details = tables.header(pipeline), tables.details(pipeline)
    schema = tables.metadata.schema
    names: set[str] = set()
    first_columns: set[tuple[str, str]] = set()
    for table in (header.name, details.name):
        indexes = inspector.get_indexes(table, schema)
        names |= {index["name"] for index in indexes}
        whole = [
            index["column_names"]
            for index in indexes
            if not any(key.endswith("_where") for key in index.get("dialect_options", {}))
        ]
        whole += [
            inspector.get_pk_constraint(table, schema)["constrained_columns"],
            *(key["column_names"] for key in inspector.get_unique_constraints(table, schema)),
        ]
        first_columns |= {(table, columns[0]) for columns in whole if columns}
    # The first two are filtered, so no other index can stand in for them.
    wanted = {f"ix_dqg_{purpose}_{header.name}": None for purpose in ("due", "token")} | {
        f"ix_dqg_finished_{header.name}": (header.name, header.c.status.name),
        f"ix_dqg_code_{header.name}": (header.name, tables.local_id(pipeline).name),
        f"ix_dqg_lines_{details.name}": (details.name, tables.foreign_key(pipeline).name),
    }
    return [
        name
        for name, column in wanted.items()
        if name not in names and (column is None or column not in first_columns)
    ]


async def check_installation(patient: Patient) -> Sequence[Finding]:
    """This is the database that was recorded, and no restored copy of it."""
    installation = await asyncio.to_thread(patient.source.installation.read)
    installation.check()
    return [ok(_("recorded: {place}", place=installation.here))]
