"""`dqg person`: finds a person's name in failure records, and erases it."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from deployments.cli.context import AsJson, open_operator, print_json, run
from deployments.cli.language import _, _n
from deployments.cli.output import code, console, table, text
from lib.tracking.audit import Action, AuditEntry
from lib.tracking.persons import Persons

app = typer.Typer(
    help="Find and erase names of persons in failure records.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="the name as written in the documents")]
Yes = Annotated[
    bool, typer.Option("--yes", help="carry it out; without --yes only a preview is shown")
]


@app.command("find")
def find(name: Name, json: AsJson = False) -> None:
    """Documents whose failure record names this person."""
    run(_find(name, json), as_json=json)


@app.command("erase")
def erase(name: Name, yes: Yes = False, json: AsJson = False) -> None:
    """Replace the name in failure records. The pharmacy's own tables and the API keep it."""
    if not name.strip():
        raise typer.BadParameter(_("the name is empty"))
    run(_erase(name, json) if yes else _find(name, json), as_json=json)


async def _find(name: str, json: bool) -> int:
    async with open_operator() as operator:
        refs = await Persons(operator.tracking.database).find(name)
    if json:
        print_json(
            {"documents": [{"pipeline": ref.pipeline, "local_id": ref.local_id} for ref in refs]}
        )
        return 0
    shown = table(
        _n("named in {count} document", "named in {count} documents", len(refs)),
        [text(_("pipeline")), code(_("shop")), code(_("document"))],
        [(ref.pipeline, ref.shop_pharmacy_code, ref.local_id) for ref in refs],
    )
    console().print(shown)
    return 0


async def _erase(name: str, json: bool) -> int:
    async with open_operator() as operator:
        erased = await Persons(operator.tracking.database).erase(name)
        if erased:
            # Without the name: it must not be stored any more.
            entry = AuditEntry(Action.ERASED, getpass.getuser(), detail=str(erased))
            await operator.audit.try_note(entry)
    if json:
        print_json({"erased": erased})
    else:
        console().print(_n("erased in {count} record", "erased in {count} records", erased))
    return 0
