"""`dqg pause` and `dqg resume`: pause a pipeline or a shop by hand, and resume it."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from deployments.cli.context import (
    AsJson,
    PipelineName,
    open_operator,
    print_json,
    run,
)
from deployments.cli.language import _, current_language
from deployments.cli.selection import check_shop
from lib.errors import DocumentNotFound, StoreUnavailable
from lib.operations.operator import Operator
from lib.operations.pause import pause as pause_breakers
from lib.operations.pause import pipeline_entry, shop_breakers, shop_entry
from lib.operations.pause import resume as resume_breakers
from lib.resilience.breaker import pipeline_breaker
from lib.tracking.audit import Action, AuditEntry
from lib.words.states import breaker

pause = typer.Typer(help="Pause sending for a pipeline or shop.", no_args_is_help=True)
resume = typer.Typer(help="Resume sending for a pipeline or shop.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--why", help="the reason, shown together with the pause")]
WhyNow = Annotated[str, typer.Option("--why", help="the reason, recorded in the audit log")]
By = Annotated[
    str | None,
    typer.Option("--by", help="name of the person who decides; by default the login name"),
]
Name = Annotated[PipelineName, typer.Argument(metavar="NAME", help="import, sale, cancellation")]
Shop = Annotated[str, typer.Argument(metavar="CODE", help="code of the shop")]


@pause.command("pipeline")
def pause_pipeline(name: Name, why: Why, by: By = None, json: AsJson = False) -> None:
    """Pause a pipeline until it is resumed. Documents that are being sent are still completed."""
    entry = pipeline_entry(Action.PAUSED, name.value, by or getpass.getuser(), _given(why))
    run(_change(None, entry, json), as_json=json)


@pause.command("shop")
def pause_shop(code: Shop, why: Why, by: By = None, json: AsJson = False) -> None:
    """Pause a shop's accounts until it is resumed. Shops that share an account are paused too."""
    entry = shop_entry(Action.PAUSED, code.strip(), by or getpass.getuser(), _given(why))
    run(_change(code, entry, json), as_json=json)


@resume.command("pipeline")
def resume_pipeline(name: Name, why: WhyNow = "", by: By = None, json: AsJson = False) -> None:
    """Resume a pipeline, even if its breaker paused it."""
    entry = pipeline_entry(Action.RESUMED, name.value, by or getpass.getuser(), why.strip())
    run(_change(None, entry, json), as_json=json)


@resume.command("shop")
def resume_shop(code: Shop, why: WhyNow = "", by: By = None, json: AsJson = False) -> None:
    """Resume a shop, even if its account was refused."""
    entry = shop_entry(Action.RESUMED, code.strip(), by or getpass.getuser(), why.strip())
    run(_change(code, entry, json), as_json=json)


def _given(why: str) -> str:
    if not why.strip():
        raise typer.BadParameter(_("--why is empty"))
    return why.strip()


async def _change(shop: str | None, entry: AuditEntry, json: bool) -> int:
    """Pauses or resumes the pipeline or shop that an entry of the audit log names.

    Args:
        shop: code as the user typed it; None for a pipeline.
    """
    async with open_operator() as operator:
        if shop is None:
            names = [pipeline_breaker(entry.pipeline)]
        else:
            names = await _accounts_of(operator, shop)
        if entry.action is Action.PAUSED:
            snapshots = await pause_breakers(operator, names, entry=entry)
        else:
            snapshots = await resume_breakers(operator, names, entry=entry)
    if snapshots is None:
        raise StoreUnavailable("Redis", _("unavailable; nothing was changed"))
    if json:
        print_json({name: snapshot.state.value for name, snapshot in snapshots.items()})
    else:
        what, language, now = shop or entry.pipeline, current_language(), datetime.now(UTC)
        for state in dict.fromkeys(breaker(s, language, now) for s in snapshots.values()):
            typer.echo(f"{what}: {state}")
    return 0


async def _accounts_of(operator: Operator, shop: str) -> list[str]:
    """Breakers of a shop's own accounts.

    Raises:
        UnknownName: there is no such shop.
        DocumentNotFound: it has no account; pausing the installation's would pause every shop.
    """
    names = shop_breakers(operator, shop)
    if not names:
        await check_shop(shop, operator.source, operator.accounts, operator.failures)
        raise DocumentNotFound(
            _("shop {shop} has no active account in AccountShop", shop=repr(shop))
        )
    return names
