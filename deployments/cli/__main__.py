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
            "State of each shop's documents, and what needs attention. Exit status 1 if anything "
            "does."
        ),
    ),
    "failures": LazyCommand("failures", "app", N_("Documents that failed, and why.")),
    "send": LazyCommand(
        "send",
        "send",
        N_("Send one document now, regardless of its status, and follow its run to the end."),
    ),
    "trace": LazyCommand(
        "trace",
        "trace",
        N_("Everything that happened to a document, in chronological order, from all stores."),
    ),
    "requeue": LazyCommand(
        "repair",
        "requeue",
        N_("Make failed documents pending again: one, a group, or all that match a filter."),
    ),
    "resolve": LazyCommand(
        "repair",
        "resolve",
        N_("Mark a failed document as entered by hand at the portal: it is never sent again."),
    ),
    "pause": LazyCommand("control", "pause", N_("Pause sending for a pipeline or shop.")),
    "resume": LazyCommand("control", "resume", N_("Resume sending for a pipeline or shop.")),
    "config": LazyCommand("configuration", "app", N_("The settings.")),
    "accounts": LazyCommand("accounts", "app", N_("How the passwords of AccountShop are stored.")),
    "alerts": LazyCommand("alerts", "app", N_("Alert messages: where they are sent.")),
    "doctor": LazyCommand(
        "doctor.command",
        "doctor",
        N_("Check every part of the installation, and show how to fix each problem."),
    ),
    "installation": LazyCommand(
        "installation",
        "app",
        N_("The database that documents are sent from. A restored copy sends nothing."),
    ),
    "person": LazyCommand(
        "person",
        "app",
        N_("Find and erase names of persons in failure records."),
    ),
    "close": LazyCommand(
        "close",
        "app",
        N_(
            "Close one or more days: compare every document across all stores, and write the proof."
        ),
    ),
    "console": LazyCommand("console", "app", N_("The web console, and who may use it.")),
}


class Dqg(CommandLine):
    """`dqg` and its commands."""

    lazy_commands = COMMANDS


app = typer.Typer(
    name="dqg",
    cls=Dqg,
    help="Monitor and control the sending of documents to the national database.",
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
