"""The commands of `dqg`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli import (
    VERSION,
    accounts,
    alerts,
    close,
    configuration,
    console,
    control,
    failures,
    installation,
    repair,
    send,
    status,
    trace,
)
from deployments.cli.doctor.command import doctor
from deployments.cli.language import TranslatedGroup

app = typer.Typer(
    name="dqg",
    cls=TranslatedGroup,
    help="Watch and steer the sending of documents to the national database.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
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


app.command("status")(status.status)
app.add_typer(failures.app, name="failures")
app.command("send")(send.send)
app.command("trace")(trace.trace)
app.command("requeue")(repair.requeue)
app.command("resolve")(repair.resolve)
app.add_typer(control.pause, name="pause")
app.add_typer(control.resume, name="resume")
app.add_typer(configuration.app, name="config")
app.add_typer(accounts.app, name="accounts")
app.add_typer(alerts.app, name="alerts")
app.command("doctor")(doctor)
app.add_typer(installation.app, name="installation")
app.add_typer(close.app, name="close")
app.add_typer(console.app, name="console")

if __name__ == "__main__":
    app(prog_name="dqg")
