"""`dqg alerts`: tests whether alert messages can be delivered."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict, dataclass

import typer
from prefect.blocks.abstract import NotificationBlock

from deployments.cli.context import ATTENTION, AsJson, print_json, run
from deployments.cli.language import _
from deployments.cli.output import console, table
from deployments.server.alerts.targets import make_blocks
from lib.alerts.messages import Message, trial_message
from lib.errors import ConfigurationError
from tasks.configuration import read_settings

app = typer.Typer(help="Alert messages: where they are sent.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of sending one message; `problem` is empty if the target accepted it."""

    route: str
    name: str
    problem: str = ""


@app.callback()
def _group() -> None:
    pass


@app.command("test")
def send_test(json: AsJson = False) -> None:
    """Send a test message to every address, from this machine."""
    run(_test(json), as_json=json)


async def _test(json: bool) -> int:
    settings = await read_settings()
    message = trial_message(settings.sync.language)
    found = [
        await _deliver(route, name, block, message)
        for route, blocks in make_blocks(settings.alerts).items()
        for name, block in blocks.items()
    ]
    if not found:
        raise ConfigurationError(_("no address is set: DQG_ALERTS__URLS, DQG_ALERTS__WEBHOOK_URL"))
    if json:
        print_json([asdict(delivery) for delivery in found])
    else:
        rows = [(d.route, d.name, d.problem or _("sent")) for d in found]
        console().print(table(_("Test messages"), [_("route"), _("address"), _("result")], rows))
    return ATTENTION if any(delivery.problem for delivery in found) else 0


async def _deliver(route: str, name: str, block: NotificationBlock, message: Message) -> Delivery:
    try:
        with block.raise_on_failure():
            sending: object = block.notify(message.body, message.subject)
            if isinstance(sending, Awaitable):
                await sending
    except Exception as error:
        # Only the type: the text of the error may quote the address.
        return Delivery(route, name, type(error).__name__)
    return Delivery(route, name)
