"""Updates automations and blocks on the Prefect server to match files and settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from prefect import get_client
from prefect.automations import AutomationCore, DoNothing, SendNotification
from prefect.client.orchestration import PrefectClient
from prefect.events import Event, RelatedResource, Resource
from prefect.events.clients import get_events_client
from prefect.events.schemas.automations import Automation

from deployments.server.alerts.files import Alert, for_routes
from deployments.server.alerts.targets import PREFIX, make_blocks
from lib.settings import AlertSettings

#: Tag of our automations; an automation with this tag but without a file is removed.
TAG = "dqg-alerts"
_PAGE = 200
#: Seconds until a server has loaded new automations; before that they receive no events.
_NOTICED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Applied:
    """Names of automations, by what was done to them; and those that are switched off."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    switched_off: list[str] = field(default_factory=list)


async def apply_alerts(alerts: Sequence[Alert], settings: AlertSettings) -> Applied:
    """Make the server have exactly these alerts. Idempotent: correct ones are not changed.

    An automation that a person switched off in the UI stays off. If several have the same name,
    the first is kept.

    Raises:
        ConfigurationError: an address in the settings cannot be used; nothing was changed.
    """
    blocks = make_blocks(settings)
    applied = Applied()
    async with get_client() as client:
        targets = {
            route: [await block.asave(name, overwrite=True) for name, block in of_route.items()]
            for route, of_route in blocks.items()
        }
        there = await _ours(client)
        for alert, route in for_routes(alerts, list(blocks)):
            wanted = _automation(alert, targets[route])
            await _apply(client, wanted, there.pop(alert.name, []), applied)
        for name, automations in there.items():
            for automation in automations:
                await client.delete_automation(automation.id)
            applied.removed.append(name)
        await _delete_blocks(client, {name for of_route in blocks.values() for name in of_route})
    if applied.created or applied.updated:
        await asyncio.sleep(_NOTICED_SECONDS)
    await _start_watching()
    return applied


async def _ours(client: PrefectClient) -> dict[str, list[Automation]]:
    found: dict[str, list[Automation]] = {}
    offset = 0
    while page := await client.read_automations(limit=_PAGE, offset=offset):
        for automation in page:
            if TAG in automation.tags:
                found.setdefault(automation.name, []).append(automation)
        offset += len(page)
    return found


def _automation(alert: Alert, targets: Sequence[UUID]) -> AutomationCore:
    messages = [
        SendNotification(block_document_id=target, subject=alert.subject, body=alert.body)
        for target in targets
    ]
    made = AutomationCore(
        name=alert.name,
        description=alert.description,
        tags=[TAG],
        trigger=alert.trigger,
        actions=messages or [DoNothing()],
    )
    # An update sends only fields that were set, and must not send an owner: this sets all others.
    return AutomationCore.model_validate(made.model_dump(exclude={"owner_resource"}))


async def _apply(
    client: PrefectClient, wanted: AutomationCore, there: list[Automation], applied: Applied
) -> None:
    for surplus in there[1:]:
        await client.delete_automation(surplus.id)
    if not there:
        await client.create_automation(wanted)
        applied.created.append(wanted.name)
        return
    if not there[0].enabled:
        applied.switched_off.append(wanted.name)
    wanted = wanted.model_copy(update={"enabled": there[0].enabled})
    if AutomationCore.model_validate(there[0].model_dump()).model_dump() == wanted.model_dump():
        applied.unchanged.append(wanted.name)
    else:
        await client.update_automation(there[0].id, wanted)
        applied.updated.append(wanted.name)


async def _delete_blocks(client: PrefectClient, wanted: set[str]) -> None:
    """Deletes our blocks that the settings no longer need."""
    surplus = []
    offset = 0
    while page := await client.read_block_documents(limit=_PAGE, offset=offset):
        surplus += [
            block.id
            for block in page
            if (block.name or "").startswith(PREFIX) and block.name not in wanted
        ]
        offset += len(page)
    for block_id in surplus:
        await client.delete_block_document(block_id)


async def _start_watching() -> None:
    """Starts the wait of the alert on a silent orchestrator, as if a run had completed now."""
    event = Event(
        event="dqg.alerts.applied",
        resource=Resource(
            {"prefect.resource.id": "dqg.orchestrator", "prefect.resource.name": "nothing yet"}
        ),
        related=[
            RelatedResource(
                {
                    "prefect.resource.id": "dqg.orchestrate",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": "orchestrate",
                }
            )
        ],
    )
    async with get_events_client(checkpoint_every=1) as events:
        await events.emit(event)
