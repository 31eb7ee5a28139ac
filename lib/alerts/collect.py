"""Looks at everything that alerts are about."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from lib.alerts.conditions import (
    AlertKind,
    Condition,
    PlaceState,
    Standing,
    account_conditions,
    breaker_conditions,
    failure_conditions,
    pending_conditions,
)
from lib.models import PipelineSummary
from lib.pipelines import get_pipeline
from lib.resilience.breaker import pipeline_breaker
from lib.services import Services

_ACCOUNT = f"{AlertKind.ACCOUNT}:"


async def observe(
    services: Services,
    backlog: Sequence[PipelineSummary],
    paused: Sequence[PlaceState],
    standings: Mapping[str, Standing],
) -> list[Condition]:
    """The state of every subject that anything is known of now.

    Args:
        backlog: counts of each pipeline.
        paused: accounts of the shops that nothing was claimed for.
        standings: what was reported last; an account that was reported is looked at again.

    Raises:
        StoreUnavailable: the source database or Redis is away; nothing is known then.
    """
    limits = services.settings.alerts
    finished = await asyncio.to_thread(
        services.source.counts.finished,
        [get_pipeline(summary.pipeline) for summary in backlog],
        timedelta(seconds=limits.failure_window),
    )
    own = {summary.pipeline: pipeline_breaker(summary.pipeline) for summary in backlog}
    snapshots = await services.breakers.snapshot(list(own.values()))
    told = await _look_again(services, standings)
    services.alerts.require_redis()
    return [
        *pending_conditions(backlog, limits),
        *failure_conditions(finished, limits),
        *breaker_conditions({name: snapshots[breaker] for name, breaker in own.items()}),
        *account_conditions(paused, told),
    ]


async def _look_again(
    services: Services, standings: Mapping[str, Standing]
) -> dict[str, list[PlaceState]]:
    """By subject, the accounts that were reported to be refused, as they are now."""
    refused = {
        key.removeprefix(_ACCOUNT): standing.places
        for key, standing in standings.items()
        if standing.raised and key.startswith(_ACCOUNT)
    }
    names = {
        place: services.accounts.breaker_name(*place)
        for places in refused.values()
        for place in places
    }
    snapshots = await services.breakers.snapshot(list(names.values()))
    known = await services.tokens.known({name.removeprefix("account:") for name in names.values()})
    return {
        subject: [
            PlaceState(
                place,
                snapshots[names[place]],
                logged_in=names[place].removeprefix("account:") in known,
            )
            for place in places
        ]
        for subject, places in refused.items()
    }
