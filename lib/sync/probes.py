"""Neutral probes: calls that show whether an account or the API works, without a pending document.

An account is probed by a login, the API by a look-up of documents that it has accepted. A probe
costs no process, no claim and no attempt, so the run that plans claims does it. What a neutral
call cannot show, documents must show: the breaker lets a few of them through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from lib.alerts.conditions import ShopPharmacyState
from lib.errors import AccountRefused, OutcomeUnknown, Paused, SyncError, Unavailable, WrongEndpoint
from lib.models import Acceptance, DocumentRef, LogStatus, Payload
from lib.pipelines import Pipeline, get_pipeline
from lib.platforms.platform import Lookup
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.services import RateLimited, Services
from lib.sync.outcomes import breaker_names

#: A probe that takes longer counts as unanswered: claims must not wait for it.
_LONGEST_SECONDS = 5.0
#: Look-ups that must fail before the API counts as down: one document alone proves nothing.
_LOOKUPS = 2
_CANDIDATES = 50


class Reach(StrEnum):
    """What neutral calls show about the API."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"  # no look-up is possible, or too few gave a clear answer


async def probe_accounts(services: Services, paused: Iterable[ShopPharmacyState]) -> int:
    """Try the login of some refused accounts whose cool-down is over; returns how many.

    Limited by `DQG_BREAKER__LOGIN_PROBES`. Accounts take turns: one that is refused again cools
    down, and one without an answer keeps its probe place for a while, so the others are next.
    Idempotent.
    """
    due = {
        state.breaker.name: state
        for state in paused
        if state.breaker.tripped and is_due(state.breaker)
    }
    # Those that were tried the fewest times come first, however short the cool-down is.
    in_turn = sorted(due.values(), key=lambda state: state.breaker.openings)
    chosen = in_turn[: services.settings.breaker.login_probes]
    await asyncio.gather(*(_try_login(services, state) for state in chosen))
    return len(chosen)


async def probe_platform(services: Services, pipeline: Pipeline) -> Reach:
    """Look up documents of the pipeline that the API has accepted. Idempotent."""
    if not services.settings.api.lookup:
        return Reach.UNKNOWN
    try:
        refs = await _accepted(services, pipeline)
    except SyncError:
        return Reach.UNKNOWN
    answers = await asyncio.gather(*(_look_up(services, ref) for ref in refs))
    if Reach.UP in answers:
        return Reach.UP
    return Reach.DOWN if answers.count(Reach.DOWN) >= _LOOKUPS else Reach.UNKNOWN


def is_due(breaker: BreakerSnapshot) -> bool:
    """Whether a probe may begin now."""
    return breaker.state is BreakerState.HALF_OPEN and breaker.seconds_left == 0


async def _try_login(services: Services, state: ShopPharmacyState) -> None:
    breakers, changed = services.breakers, services.metrics.breakers_changed
    name = state.breaker.name
    try:
        permit = await breakers.admit([name])
        account = services.accounts.account_for(*state.place)
        async with asyncio.timeout(_LONGEST_SECONDS):
            await services.platform.log_in(account)
    except AccountRefused as error:
        changed(await breakers.trip(name, error.translated(services.settings.sync.language)))
    except (SyncError, TimeoutError):
        # Shows nothing about the account. Its probe place stays taken: others are next.
        return
    else:
        changed(*await breakers.succeeded(permit))


async def _accepted(services: Services, pipeline: Pipeline) -> list[DocumentRef]:
    """Some documents that the API has, from different shops if possible."""
    entries = await services.tracking.latest(
        LogStatus.SUCCESS, limit=_CANDIDATES, pipeline=pipeline.name
    )
    accounts = {entry.ref: breaker_names(services, entry.ref)[0] for entry in entries}
    snapshots = await services.breakers.snapshot(list(accounts.values()))
    sound = [r for r, name in accounts.items() if snapshots[name].state is BreakerState.CLOSED]
    first_of_shop = {ref.shop_pharmacy_code: ref for ref in reversed(sound)}.values()
    return list(dict.fromkeys([*first_of_shop, *sound]))[:_LOOKUPS]


async def _look_up(services: Services, ref: DocumentRef) -> Reach:
    payload = Payload(get_pipeline(ref.pipeline).resource, ref.pharmacy_code, ref.local_id, {})
    names = breaker_names(services, ref)
    try:
        account = services.accounts.account_for(ref.shop_pharmacy_code, ref.pharmacy_code)
        async with asyncio.timeout(_LONGEST_SECONDS):
            found = await services.platform.look_up(payload, account, RateLimited(services, names))
    except Paused:
        return Reach.UNKNOWN
    except (Unavailable, OutcomeUnknown, WrongEndpoint, TimeoutError):
        return Reach.DOWN
    except SyncError:
        return Reach.UNKNOWN
    return Reach.UP if isinstance(found, Acceptance) or found is Lookup.ABSENT else Reach.UNKNOWN
