"""Reports changes as Prefect events; Prefect automations send the messages in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.events import Event, Resource
from prefect.events.clients import get_events_client
from prefect.events.related import related_resources_from_run_context

from lib.alerts.collect import observe, read_facts
from lib.alerts.conditions import Change, ShopPharmacyState, compare, digest_due
from lib.alerts.messages import message_of
from lib.models import PipelineSummary
from lib.services import Services
from tasks.runtime import current_services


@task(cache_policy=NO_CACHE)
async def emit_alert_events(
    backlog: Sequence[PipelineSummary], paused: Sequence[ShopPharmacyState]
) -> list[str]:
    """Emit an event for every change since the last time; returns the events' names.

    Idempotent, also concurrently: an event is recorded as emitted only after Prefect has it. If it
    is emitted again before that, it has the same id, so Prefect treats it as the same event.

    Raises:
        StoreUnavailable: the source database or Redis is unavailable.
        Exception: Prefect does not accept events. In both cases the next call emits the event.
    """
    services, now = current_services(), datetime.now(UTC)
    settings = services.settings.alerts
    known = await services.alerts.read()
    conditions = await observe(services, backlog, paused, known.alert_states, now)
    changes = compare(
        conditions,
        known.alert_states,
        now.timestamp(),
        reminder_seconds=settings.reminder_hours * 3600,
    )
    changes += digest_due(known.alert_states, settings.routes, settings.digest_at, now)
    if changes:
        await _emit(services, changes, known.generation)
    for change in changes:
        await services.alerts.write(change.key, change.before, change.after)
    return [change.event for change in changes]


async def _emit(services: Services, changes: Sequence[Change], generation: str) -> None:
    facts, known = await read_facts(services), services.settings.alerts.routes
    async with get_client() as client:
        related = await related_resources_from_run_context(client)
    # A checkpoint after each event: either the server has the event, or this raises.
    async with get_events_client(checkpoint_every=1) as events:
        for change in changes:
            condition = change.condition
            for route in change.routes(known):
                language = services.settings.sync.language
                message = message_of(change, facts, language, known.get(route))
                await events.emit(
                    Event(
                        id=change.event_id(generation, route),
                        event=change.event,
                        resource=Resource(
                            {
                                "prefect.resource.id": f"dqg.{condition.kind}.{condition.subject}",
                                "prefect.resource.name": condition.where or condition.subject,
                                "dqg.route": route,
                            }
                        ),
                        related=related,
                        payload={
                            "where": condition.where,
                            "why": condition.why,
                            "subject": message.subject,
                            "body": message.body,
                        },
                    )
                )
