"""`dqg installation`: shows which database may be sent from, and confirms the present one."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer

from deployments.cli.context import ATTENTION, AsJson, print_json, run
from deployments.cli.language import _
from deployments.cli.output import code, console, local_time, table, text, use_zone
from lib.errors import UnconfirmedDatabase
from lib.source.engine import create_source_engine
from lib.source.installation import DatabaseName, Installation
from lib.source.store import Source, open_source
from lib.source.tables import build_tables
from lib.tracking.audit import Action, AuditEntry, AuditLog
from lib.tracking.mongo import open_client
from tasks.configuration import read_settings, source_url

app = typer.Typer(
    help="The database that documents are sent from. A restored copy sends nothing.",
    no_args_is_help=True,
)

_LONGEST_WHY = 500


@asynccontextmanager
async def _open_source() -> AsyncIterator[Source]:
    settings = await read_settings()
    use_zone(settings.cli.time_zone)
    engine = create_source_engine(await source_url(settings), settings.source)
    source = open_source(engine, build_tables(settings.source))
    try:
        yield source
    finally:
        source.dispose()


@app.command("show")
def show(json: AsJson = False) -> None:
    """This database and the recorded ones; exit status 1 if nothing is sent from here."""
    run(_show(json), as_json=json)


@app.command("confirm")
def confirm(
    why: Annotated[str, typer.Option("--why", help="the reason, stored with the record")],
    by: Annotated[
        str | None,
        typer.Option("--by", help="name of the person who decides; by default the login name"),
    ] = None,
    also: Annotated[
        bool,
        typer.Option(
            "--also",
            help="earlier records remain valid, e.g. for replicas that alternate as primary",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Record that documents are sent from this database. Its pending documents are then sent."""
    if not why.strip() or len(why) > _LONGEST_WHY:
        raise typer.BadParameter(_("--why is empty or longer than 500 characters"))
    run(_confirm(by or getpass.getuser(), why.strip(), also, json), as_json=json)


async def _show(json: bool) -> int:
    async with _open_source() as source:
        installation = await asyncio.to_thread(source.installation.read)
    return _report(installation, json)


async def _confirm(by: str, why: str, also: bool, json: bool) -> int:
    async with _open_source() as source:
        await asyncio.to_thread(source.installation.confirm, by=by, why=why, also=also)
        installation = await asyncio.to_thread(source.installation.read)
    await _note(AuditEntry(Action.CONFIRMED, by, why, detail=str(installation.here)))
    return _report(installation, json)


async def _note(entry: AuditEntry) -> None:
    mongo = (await read_settings()).mongo
    async with open_client(mongo) as client:
        await AuditLog(client[mongo.database]).try_note(entry)


def _report(installation: Installation, json: bool) -> int:
    valid = list(installation.valid())
    refusal: str | None = None
    try:
        installation.check()
    except UnconfirmedDatabase as error:
        refusal = error.message
    if json:
        print_json(
            {
                "here": _as_json(installation.here),
                "confirmed": refusal is None,
                "records": [
                    _as_json(record.place)
                    | {
                        "valid": record in valid,
                        "recorded_at": record.recorded_at,
                        "recorded_by": record.recorded_by,
                        "why": record.why,
                    }
                    for record in installation.records
                ],
            }
        )
    else:
        out = console()
        out.print(
            table(
                _("Recorded databases"),
                [
                    *(code(_("server"), 2), code(_("database")), code(_("valid"))),
                    *(code(_("when"), 1), code(_("who"), 3), text(_("why"))),
                ],
                [
                    (
                        *(record.place.server, record.place.database),
                        _("yes") if record in valid else _("no"),
                        local_time(record.recorded_at),
                        *(record.recorded_by, record.why),
                    )
                    for record in installation.records
                ],
            )
        )
        out.print(
            refusal or _("documents are sent from here: {place}", place=installation.here),
            markup=False,
        )
    return ATTENTION if refusal else 0


def _as_json(place: DatabaseName) -> dict[str, Any]:
    return {"server": place.server, "database": place.database}
