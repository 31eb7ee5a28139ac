"""`dqg console`: starts the web console, and manages its users."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.context import ATTENTION, AsJson, open_operator, print_error, print_json, run
from deployments.cli.language import _
from deployments.cli.output import code, table, text
from deployments.cli.output import console as screen
from deployments.cli.prefect_api import read_pools
from deployments.cli.runs import read_runs
from deployments.cli.selection import check_shop
from deployments.cli.send import start_run
from deployments.console.access import Role, User
from deployments.console.users import UsersFile, with_password
from lib.errors import ConfigurationError, StoreUnavailable
from lib.models import StoredDocument
from lib.operations.events import Run
from lib.operations.operator import Operator
from lib.pipelines import Pipeline
from tasks.configuration import read_settings
from tasks.runtime import open_services

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Seconds that a page waits for Prefect.
_PREFECT_SECONDS = 3.0

app = typer.Typer(help="The web console, and who may use it.", invoke_without_command=True)
user = typer.Typer(help="Who may use the console.", no_args_is_help=True)
app.add_typer(user, name="user")

Name = Annotated[str, typer.Argument(help="the user's login name")]


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="address to listen on; by default the one in the settings")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port to listen on; by default the one in the settings")
    ] = None,
) -> None:
    """Start the web console; it runs until it is stopped."""
    if context.invoked_subcommand is None:
        run(_serve(host, port), as_json=False)


async def _serve(host: str | None, port: int | None) -> int:
    # Imported here: the other commands do not need it.
    import uvicorn

    settings = (await read_settings()).console
    app = await make_app()
    config = uvicorn.Config(
        app,
        host=host or settings.host,
        port=settings.port if port is None else port,
        # The console reads the client's address itself, by its own settings.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
    )
    typer.echo(_("the console listens on http://{host}:{port}", host=config.host, port=config.port))
    await uvicorn.Server(config).serve()
    return 0


async def make_app() -> FastAPI:
    """The console application, with the stores of the settings.

    Raises:
        ConfigurationError.
    """
    from deployments.console.app import create_app

    settings = (await read_settings()).console

    @asynccontextmanager
    async def stores() -> AsyncIterator[Operator]:
        async with open_operator(source_optional=True) as operator:
            await operator.tracking.prepare()
            yield operator

    async def runs(ids: Iterable[str | None], names: Collection[str]) -> dict[str, Run]:
        return await read_runs(ids, names, seconds=_PREFECT_SECONDS)

    async def start(pipeline: Pipeline, document: StoredDocument) -> str:
        return str((await start_run(pipeline, document, force=False)).run_id)

    return create_app(
        settings,
        stores,
        read_pools=read_pools,
        read_runs=runs,
        start_run=start,
        open_services=open_services,
    )


@user.command("add")
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="what the user may see and do")],
    shop: Annotated[
        list[str] | None,
        typer.Option(help="code of a shop that the user may see; can be given several times"),
    ] = None,
    password: Annotated[
        bool,
        typer.Option(
            "--password/--no-password",
            help="ask for a password, or read it from standard input; without a password, the user "
            "can log in only through a trusted proxy",
        ),
    ] = True,
) -> None:
    """Add a user, or replace the role, shops and password of an existing user."""
    added = User(name, role, frozenset(code.strip() for code in shop or ()))
    run(_add(added, _read_password() if password else None), as_json=False)


async def _add(added: User, password: str | None) -> int:
    users = await _users()
    if added.shops:
        await _check_shops(added)
    users.put(added if password is None else with_password(added, password))
    typer.echo(_("{name} may use the console as {role}", name=added.name, role=added.role.value))
    return 0


async def _check_shops(added: User) -> None:
    """Checks that the shops of a user exist; only warns if the stores cannot be queried.

    Raises:
        UnknownName: a shop does not exist; the message suggests the most similar code.
    """
    try:
        async with open_operator() as operator:
            for shop in sorted(added.shops):
                await check_shop(shop, operator.source, operator.accounts, operator.failures)
    except (ConfigurationError, StoreUnavailable) as error:
        print_error(_("could not check whether these shops exist: {error}", error=error))


def _read_password() -> str:
    """Reads it from the terminal or standard input: other processes can see a command line."""
    if sys.stdin.isatty():
        typed: str = typer.prompt(_("Password"), hide_input=True, confirmation_prompt=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


@user.command("remove")
def remove(name: Name) -> None:
    """Remove a user; their sessions end immediately."""
    run(_remove(name), as_json=False)


async def _remove(name: str) -> int:
    if (await _users()).remove(name):
        typer.echo(_("{name} may no longer use the console", name=name))
        return 0
    typer.echo(_("there is no user {name}", name=name), err=True)
    return ATTENTION


@user.command("list")
def list_(json: AsJson = False) -> None:
    """Who may use the console."""
    run(_list(json), as_json=json)


async def _list(json: bool) -> int:
    users = (await _users()).all()
    if json:
        print_json(
            [{"name": u.name, "role": u.role.value, "shops": sorted(u.shops)} for u in users]
        )
    else:
        rows = [(u.name, u.role.value, ", ".join(sorted(u.shops))) for u in users]
        heads = [code(_("name")), code(_("role")), text(_("shops"))]
        screen().print(table(_("Users of the console"), heads, rows))
    return 0


async def _users() -> UsersFile:
    return UsersFile((await read_settings()).console.users_file)
