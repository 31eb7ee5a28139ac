"""The application `dqg` with all its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli import VERSION
from deployments.cli.command_line import CommandLine, LazyCommand
from deployments.cli.language import N_

#: Every command, in the order of the list that `dqg --help` shows.
COMMANDS = {
    "status": LazyCommand(
        "status",
        "status",
        N_(
            "Where the documents of each shop are, and what needs attention: then the exit "
            "status is 1."
        ),
    ),
    "failures": LazyCommand("failures", "app", N_("Documents that failed, and why.")),
    "send": LazyCommand(
        "send",
        "send",
        N_("Send one document now, whatever its status, and follow it to its end."),
    ),
    "trace": LazyCommand(
        "trace",
        "trace",
        N_("Everything that happened to a document, in order of time, from all stores."),
    ),
    "requeue": LazyCommand(
        "repair",
        "requeue",
        N_("Make failed documents pending again: one, those of a filter, or a whole group."),
    ),
    "resolve": LazyCommand(
        "repair",
        "resolve",
        N_("Mark a failed document as entered by hand at the portal: it is never sent again."),
    ),
    "pause": LazyCommand("control", "pause", N_("Send nothing of a pipeline or shop for now.")),
    "resume": LazyCommand("control", "resume", N_("Let a pipeline or shop go on.")),
    "config": LazyCommand("configuration", "app", N_("The settings.")),
    "accounts": LazyCommand("accounts", "app", N_("How the passwords of AccountShop are stored.")),
    "alerts": LazyCommand("alerts", "app", N_("Messages to people: where they go.")),
    "doctor": LazyCommand(
        "doctor.command",
        "doctor",
        N_("Look at every part of the installation, and say what to do about what is wrong."),
    ),
    "installation": LazyCommand(
        "installation",
        "app",
        N_("Which database documents are sent from: a restored copy sends nothing."),
    ),
    "person": LazyCommand(
        "person",
        "app",
        N_("Persons named in failure records: find them, and erase their names."),
    ),
    "close": LazyCommand(
        "close",
        "app",
        N_("Close days: compare every document of them across all stores, and write the proof."),
    ),
    "console": LazyCommand("console", "app", N_("The web console, and who may use it.")),
}


class Dqg(CommandLine):
    """`dqg` and its commands."""

    lazy_commands = COMMANDS


app = typer.Typer(
    name="dqg",
    cls=Dqg,
    help="Watch and steer the sending of documents to the national database.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dqg-sync {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="show the version and exit"
        ),
    ] = False,
) -> None:
    pass


def _not_loaded() -> None:
    """Placeholder in the list of commands; the parser replaces it with the real command."""


for _name, _place in COMMANDS.items():
    app.command(_name, help=_place.help)(_not_loaded)

if __name__ == "__main__":
    app(prog_name="dqg")
