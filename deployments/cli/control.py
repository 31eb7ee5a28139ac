"""`dqg pause` and `dqg resume`: hold a pipeline or a shop by hand, and let it go on."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from deployments.cli.context import (
    AsJson,
    Operator,
    PipelineName,
    open_operator,
    print_json,
    require_redis,
    run,
)
from deployments.cli.language import _
from lib.errors import DocumentNotFound
from lib.sync.submit import pipeline_breaker

pause = typer.Typer(help="Send nothing of a pipeline or shop for now.", no_args_is_help=True)
resume = typer.Typer(help="Let a pipeline or shop go on.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--why", help="the reason, shown wherever the pause is")]
By = Annotated[str | None, typer.Option("--by", help="who decides; by default the login name")]
Name = Annotated[PipelineName, typer.Argument(metavar="NAME", help="import, sale, cancellation")]
Shop = Annotated[str, typer.Argument(metavar="CODE", help="code of the shop")]


@pause.command("pipeline")
def pause_pipeline(name: Name, why: Why, by: By = None, json: AsJson = False) -> None:
    """Hold a pipeline until it is resumed. What is on its way to the API still ends."""
    run(_change(None, name.value, _reason(why, by), json), as_json=json)


@pause.command("shop")
def pause_shop(code: Shop, why: Why, by: By = None, json: AsJson = False) -> None:
    """Hold a shop's accounts until it is resumed. Shops that share an account pause with it."""
    run(_change(code, None, _reason(why, by), json), as_json=json)


@resume.command("pipeline")
def resume_pipeline(name: Name, json: AsJson = False) -> None:
    """Let a pipeline go on, also one that its breaker had paused."""
    run(_change(None, name.value, None, json), as_json=json)


@resume.command("shop")
def resume_shop(code: Shop, json: AsJson = False) -> None:
    """Let a shop go on, also one whose account had been refused."""
    run(_change(code, None, None, json), as_json=json)


def _reason(why: str, by: str | None) -> str:
    if not why.strip():
        raise typer.BadParameter(_("--why is empty"))
    return f"{by or getpass.getuser()}: {why.strip()}"


async def _change(shop: str | None, pipeline: str | None, hold: str | None, json: bool) -> int:
    async with open_operator() as operator:
        names = (
            [pipeline_breaker(pipeline)]
            if pipeline is not None
            else _accounts_of(operator, shop or "")
        )
        for name in names:
            if hold is not None:
                await operator.breakers.hold(name, hold)
            else:
                await operator.breakers.unhold(name)
                await operator.breakers.reset(name)
        require_redis(operator)
        snapshots = await operator.breakers.snapshot(names)
        require_redis(operator)
    result = {name: snapshot.state.value for name, snapshot in snapshots.items()}
    if json:
        print_json(result)
    else:
        for name, state in result.items():
            typer.echo(
                _("{what}: {breaker} is {state}", what=pipeline or shop, breaker=name, state=state)
            )
    return 0


def _accounts_of(operator: Operator, shop: str) -> list[str]:
    """Breakers of a shop's own accounts.

    Raises:
        DocumentNotFound: it has none; pausing the installation's account would pause every shop.
    """
    keys = operator.accounts.keys().get(shop.strip())
    if not keys:
        raise DocumentNotFound(
            _("shop {shop} has no active account of its own in AccountShop", shop=repr(shop))
        )
    return sorted(f"account:{key}" for key in keys)
