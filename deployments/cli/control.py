"""`dqg pause` and `dqg resume`: hold a pipeline or a shop by hand, and let it go on."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from deployments.cli.context import (
    AsJson,
    PipelineName,
    open_operator,
    print_json,
    run,
)
from deployments.cli.language import _
from deployments.cli.selection import check_shop
from lib.errors import DocumentNotFound, StoreUnavailable
from lib.operations.operator import Operator
from lib.operations.pause import pause as hold
from lib.operations.pause import pipeline_entry, shop_breakers, shop_entry
from lib.operations.pause import resume as let_go
from lib.resilience.breaker import pipeline_breaker
from lib.tracking.audit import Action

pause = typer.Typer(help="Send nothing of a pipeline or shop for now.", no_args_is_help=True)
resume = typer.Typer(help="Let a pipeline or shop go on.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--why", help="the reason, shown wherever the pause is")]
By = Annotated[str | None, typer.Option("--by", help="who decides; by default the login name")]
Name = Annotated[PipelineName, typer.Argument(metavar="NAME", help="import, sale, cancellation")]
Shop = Annotated[str, typer.Argument(metavar="CODE", help="code of the shop")]


@pause.command("pipeline")
def pause_pipeline(name: Name, why: Why, by: By = None, json: AsJson = False) -> None:
    """Hold a pipeline until it is resumed. What is on its way to the API still ends."""
    run(_change(None, name.value, _given(why), by or getpass.getuser(), json), as_json=json)


@pause.command("shop")
def pause_shop(code: Shop, why: Why, by: By = None, json: AsJson = False) -> None:
    """Hold a shop's accounts until it is resumed. Shops that share an account pause with it."""
    run(_change(code, None, _given(why), by or getpass.getuser(), json), as_json=json)


@resume.command("pipeline")
def resume_pipeline(name: Name, by: By = None, json: AsJson = False) -> None:
    """Let a pipeline go on, also one that its breaker had paused."""
    run(_change(None, name.value, None, by or getpass.getuser(), json), as_json=json)


@resume.command("shop")
def resume_shop(code: Shop, by: By = None, json: AsJson = False) -> None:
    """Let a shop go on, also one whose account had been refused."""
    run(_change(code, None, None, by or getpass.getuser(), json), as_json=json)


def _given(why: str) -> str:
    if not why.strip():
        raise typer.BadParameter(_("--why is empty"))
    return why.strip()


async def _change(
    shop: str | None, pipeline: str | None, why: str | None, by: str, json: bool
) -> int:
    action = Action.RESUMED if why is None else Action.PAUSED
    async with open_operator() as operator:
        if pipeline is not None:
            names = [pipeline_breaker(pipeline)]
            entry = pipeline_entry(action, pipeline, by, why or "")
        else:
            names = await _accounts_of(operator, shop or "")
            entry = shop_entry(action, (shop or "").strip(), by, why or "")
        if why is not None:
            snapshots = await hold(operator, names, by=by, why=why, entry=entry)
        else:
            snapshots = await let_go(operator, names, entry=entry)
    if snapshots is None:
        raise StoreUnavailable("Redis", _("away, nothing was changed"))
    result = {name: snapshot.state.value for name, snapshot in snapshots.items()}
    if json:
        print_json(result)
    else:
        for name, state in result.items():
            typer.echo(
                _("{what}: {breaker} is {state}", what=pipeline or shop, breaker=name, state=state)
            )
    return 0


async def _accounts_of(operator: Operator, shop: str) -> list[str]:
    """Breakers of a shop's own accounts.

    Raises:
        UnknownName: there is no such shop.
        DocumentNotFound: it has none; pausing the installation's account would pause every shop.
    """
    names = shop_breakers(operator, shop)
    if not names:
        await check_shop(shop, operator.source, operator.accounts, operator.failures)
        raise DocumentNotFound(
            _("shop {shop} has no active account in AccountShop", shop=repr(shop))
        )
    return names
