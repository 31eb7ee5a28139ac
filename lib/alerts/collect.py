"""Reads the current state of everything that alerts report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from lib.alerts.conditions import (
    AlertKind,
    AlertState,
    Condition,
    ShopPharmacyState,
    account_conditions,
    breaker_conditions,
    deadline_conditions,
    failure_conditions,
    pending_conditions,
)
from lib.alerts.messages import Facts
from lib.errors import StoreUnavailable
from lib.models import PipelineSummary, comparable
from lib.pipelines import PIPELINES, get_pipeline
from lib.resilience.breaker import pipeline_breaker
from lib.services import Services
from lib.source.deadlines import bounds_of
from lib.tracking.failures import FailureLog

_ACCOUNT = f"{AlertKind.ACCOUNT}:"


async def observe(
    services: Services,
    backlog: Sequence[PipelineSummary],
    paused: Sequence[ShopPharmacyState],
    alert_states: Mapping[str, AlertState],
    now: datetime,
) -> list[Condition]:
    """The current state of every subject whose state is known.

    Args:
        backlog: counts of each pipeline.
        paused: accounts of the paused shops, for which nothing was claimed.
        alert_states: the last reports; accounts that were reported are checked again.

    Raises:
        StoreUnavailable: the source database or Redis is unavailable, so no state is known.
    """
    limits, language = services.settings.alerts, services.settings.sync.language
    pipelines = [get_pipeline(summary.pipeline) for summary in backlog]
    finished = await asyncio.to_thread(
        services.source.counts.finished,
        pipelines,
        timedelta(seconds=limits.failure_window),
    )
    own = {summary.pipeline: pipeline_breaker(summary.pipeline) for summary in backlog}
    snapshots = await services.breakers.snapshot(list(own.values()))
    reported = await _check_reported_accounts(services, alert_states)
    bounds = [(pipeline, bounds_of(pipeline.name, limits, now)) for pipeline in pipelines]
    late = await asyncio.to_thread(services.source.counts.deadlines, bounds)
    services.alerts.require_redis()
    return [
        *pending_conditions(backlog, limits, language),
        *failure_conditions(finished, limits, language),
        *breaker_conditions({name: snapshots[breaker] for name, breaker in own.items()}),
        *account_conditions(paused, reported),
        *deadline_conditions(
            late, {pipeline.name: of.at for pipeline, of in bounds}, limits.routes, language
        ),
    ]


async def read_facts(services: Services) -> Facts:
    """Facts about shops that messages show in addition to the alert state.

    Raises:
        StoreUnavailable: the source database is unavailable.
    """
    rows, counts = await asyncio.gather(
        asyncio.to_thread(services.source.accounts.all),
        asyncio.to_thread(
            services.source.counts.shop_summaries,
            list(PIPELINES.values()),
            finished_within=timedelta(days=1),
        ),
    )
    try:
        failures = await FailureLog(services.tracking.database).open_by_shop()
    except StoreUnavailable:
        failures = None
    names = {
        comparable(row.shop_pharmacy_code): " ".join(
            part for part in (row.shop_name.strip(), row.phone_number.strip()) if part.strip("-")
        )
        for row in rows
    }
    return Facts(names, counts, failures, services.settings.console.public_url)


async def _check_reported_accounts(
    services: Services, alert_states: Mapping[str, AlertState]
) -> dict[str, list[ShopPharmacyState]]:
    """The current state of the accounts that were reported as refused, by subject."""
    refused = {
        key.removeprefix(_ACCOUNT): alert_state.places
        for key, alert_state in alert_states.items()
        if alert_state.raised and key.startswith(_ACCOUNT)
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
            ShopPharmacyState(
                place,
                snapshots[names[place]],
                logged_in=names[place].removeprefix("account:") in known,
            )
            for place in places
        ]
        for subject, places in refused.items()
    }
