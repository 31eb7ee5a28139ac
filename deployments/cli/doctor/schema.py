"""Checks of the actual document tables, and of other software that uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from deployments.cli.doctor.findings import DoctorContext, Finding, fault, note, ok
from deployments.cli.language import N_, _, _n
from deployments.cli.status import foreign_text, foreign_todo
from lib.pipelines import PIPELINES
from lib.source import inspection
from lib.source.advised_indexes import Purpose, missing_indexes
from lib.source.engine import translate_errors
from lib.source.inspection import ColumnMismatch, ColumnProblem, OldClients, Trigger
from lib.source.tables import SourceTables

T = TypeVar("T")

_MISFITS = {
    ColumnMismatch.MISSING: N_("{column} does not exist"),
    ColumnMismatch.TYPE: N_("{column} is {found}, which cannot be used as {wanted}"),
    ColumnMismatch.LENGTH: N_(
        "{column} is {found}, too short for the values that are written to it"
    ),
    ColumnMismatch.BLANK_PADDED: N_("{column} is {found}: each value has trailing blanks"),
    ColumnMismatch.NOT_UNICODE: N_("{column} is {found}, which loses Vietnamese letters"),
    ColumnMismatch.NULLABLE: N_("{column} allows NULL; documents with NULL there are never sent"),
    ColumnMismatch.NOT_NULLABLE: N_(
        "{column} does not allow NULL, but documents not sent yet need NULL there"
    ),
}


async def _ask(context: DoctorContext, question: Callable[[Connection, SourceTables], T]) -> T:
    def work() -> T:
        with translate_errors(), context.engine.connect() as connection:
            return question(connection, context.tables)

    return await asyncio.to_thread(work)


async def check_columns(context: DoctorContext) -> Sequence[Finding]:
    """All seven tables have every mapped column, each with a suitable type."""
    return await _ask(context, _columns)


def _columns(connection: Connection, tables: SourceTables) -> Sequence[Finding]:
    ours = list(tables.metadata.tables.values())
    reflected = inspection.reflect_columns(connection, ours)
    found = []
    for table in ours:
        if table.fullname not in reflected:
            found.append(
                fault(
                    _("there is no table {table}", table=table.fullname),
                    _("set its schema and name with DQG_SOURCE__DB_SCHEMA and DQG_SOURCE__TABLES"),
                )
            )
            continue
        problems = inspection.column_problems(table, reflected[table.fullname], connection.dialect)
        found += [fault(_mismatch(problem), _correction(problem)) for problem in problems]
    return found or [ok(_("all seven tables have the columns that are needed"))]


def _mismatch(problem: ColumnProblem) -> str:
    column = f"{problem.table}.{problem.column}"
    text = _MISFITS[problem.mismatch]
    return _(text, column=column, found=problem.found, wanted=problem.wanted)


def _correction(problem: ColumnProblem) -> str:
    if problem.mismatch is ColumnMismatch.MISSING:
        return _(
            "set its name with DQG_SOURCE__COLUMNS; if it is missing, add it as {wanted}",
            wanted=problem.wanted,
        )
    if problem.statement is None:
        return _("change its type, or map a view: docs/installation.md, Tables of another shape")
    return problem.statement


async def check_triggers(context: DoctorContext) -> Sequence[Finding]:
    """Triggers on the header tables: each fires once per document, when its outcome is written."""
    return await _ask(context, _triggers)


def _triggers(connection: Connection, tables: SourceTables) -> Sequence[Finding]:
    if not inspection.sees_definitions(connection, tables):
        return [
            note(
                _("this login has no permission to see triggers"),
                _("GRANT VIEW DEFINITION on the header tables, or run this as an administrator"),
            )
        ]
    found = inspection.enabled_triggers(connection, tables)
    return [_trigger(trigger) for trigger in found] or [
        ok(_("no trigger is enabled on the header tables"))
    ]


def _trigger(trigger: Trigger) -> Finding:
    name, table = trigger.name, trigger.table
    if trigger.sets_nocount is False:
        return note(
            _("trigger {trigger} on {table} lacks SET NOCOUNT ON", trigger=name, table=table),
            _("add it: otherwise other programs count its rows too; this service does not"),
        )
    fires = _(
        "trigger {trigger} on {table} fires when an outcome is written", trigger=name, table=table
    )
    return note(fires)


async def check_statuses(context: DoctorContext) -> Sequence[Finding]:
    """Statuses set by other software, and pending documents that another sender has sent."""
    return await _ask(context, _statuses)


def _statuses(connection: Connection, tables: SourceTables) -> Sequence[Finding]:
    pipelines = list(PIPELINES.values())
    found = [
        note(foreign_text(item), foreign_todo(item))
        for item in inspection.foreign_statuses(connection, tables, pipelines)
    ]
    for pipeline in pipelines:
        count = inspection.pending_with_national_id(connection, tables, pipeline)
        if count:
            found.append(
                note(
                    _n(
                        "{count} pending document of {pipeline} already has a national id",
                        "{count} pending documents of {pipeline} already have a national id",
                        count,
                        pipeline=pipeline.name,
                    ),
                    _(
                        "each is looked up before it is sent; if other software still sends "
                        "documents, stop it first"
                    ),
                )
            )
    return found or [ok(_("all documents have a status that this service knows"))]


_WITHOUT = {
    Purpose.PENDING: N_("{table} has no index for pending documents: claims read the whole table"),
    Purpose.CODE: N_("{table} has no index on the document's code: sending one by hand is slow"),
    Purpose.LINES: N_("{table} has no index on the document: loading lines reads the whole table"),
}


async def check_indexes(context: DoctorContext) -> Sequence[Finding]:
    """The advised indexes exist; on SQL Server: clients that filtered indexes would break."""
    return await _ask(context, _indexes)


def _indexes(connection: Connection, tables: SourceTables) -> Sequence[Finding]:
    found: list[Finding] = []
    filtered = True
    if connection.dialect.name == "mssql":
        clients = inspection.clients_against_filtered_indexes(connection)
        filtered = clients.all_visible and not clients.sessions and not clients.modules
        found += _old_clients(clients)
    missing = missing_indexes(connection, tables, filtered=filtered)
    if not missing:
        return [ok(_("all are there"))]
    return [note(_(_WITHOUT[m.purpose], table=m.table), m.statement) for m in missing] + found


def _old_clients(clients: OldClients) -> Sequence[Finding]:
    plain = _("use the plain index: a filtered index would make their writes fail (error 1934)")
    found = [note(_("session with old SET options: {who}", who=s), plain) for s in clients.sessions]
    found += [note(_("created with old SET options: {who}", who=m), plain) for m in clients.modules]
    if not clients.all_visible:
        grant = "GRANT VIEW SERVER STATE"
        found.append(note(_("this login cannot see other sessions; a plain index is safe"), grant))
    return found
