"""Checks of the national API: its address, and one login per account."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from deployments.cli.doctor.encryption import is_local_host
from deployments.cli.doctor.findings import DoctorContext, Finding, fault, not_checked, ok
from deployments.cli.language import _
from lib.accounts import AccountDirectory
from lib.errors import AccountRefused, ConfigurationError, Unavailable
from lib.models import Account
from lib.pipelines import PIPELINES
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.tokens import TokenCache
from lib.resilience.breaker import Breakers
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState


async def check_address(context: DoctorContext) -> Sequence[Finding]:
    """The address is https, so that passwords and documents are sent encrypted."""
    address = urlsplit(context.settings.api.base_url)
    if address.scheme == "https":
        return [ok(context.settings.api.base_url)]
    if is_local_host(address.hostname or ""):
        return [ok(_("{address} is on this machine", address=context.settings.api.base_url))]
    return [
        fault(
            _(
                "{address} is not encrypted: passwords can be read in transit",
                address=context.settings.api.base_url,
            ),
            _("set DQG_API__BASE_URL to an https address and remove DQG_API__ALLOW_HTTP"),
        )
    ]


async def check_logins(context: DoctorContext) -> Sequence[Finding]:
    """Each account can log in; a refused account is not tried again until its pause ends.

    An account that has a token does not log in again: that could invalidate the token of a run. A
    refused account is paused as in a run, so that repeated logins do not lock it.
    """
    settings = context.settings
    try:
        rows = await asyncio.to_thread(context.source.accounts.all)
    except ConfigurationError as error:
        todo = _("grant the service's login read access to the tables: docs/installation.md")
        return [fault(error.message, todo)]
    directory = AccountDirectory(rows, settings.api)
    findings = await _shops_without_account(context, directory)
    logins = directory.logins()
    if not logins:
        return findings or [
            fault(
                _("no account is active in AccountShop, and none is in the settings"),
                _("enter the shops' accounts in AccountShop"),
            )
        ]
    breakers = Breakers(context.redis, settings.redis.prefix, settings.breaker)
    snapshots = await breakers.snapshot([_breaker(account) for account, _shops in logins])
    tokens = TokenCache(context.redis, settings.redis, settings.api)
    async with NationalApiClient(settings.api, tokens) as client:
        for account, shops in logins:
            whose = ", ".join(shops) or _("the settings")
            paused = _pause(whose, snapshots[_breaker(account)])
            try:
                findings.append(paused or await _log_in(client, breakers, account, whose))
            except (Unavailable, ConfigurationError) as error:
                # The other accounts would fail in the same way, each after a long wait.
                todo = _("check that DQG_API__BASE_URL is correct and reachable from here")
                findings.append(fault(error.message, todo))
                break
    return findings


async def _shops_without_account(
    context: DoctorContext, directory: AccountDirectory
) -> list[Finding]:
    found: dict[str, str] = {}
    for pipeline in PIPELINES.values():
        for shop in await asyncio.to_thread(context.source.counts.pending_shops, pipeline):
            try:
                directory.account_for(shop.code, shop.pharmacy_code)
            except AccountRefused as error:
                found[shop.code] = error.message
    return [
        fault(text, _("enter its account in AccountShop; until then its documents wait"))
        for text in found.values()
    ]


def _pause(whose: str, snapshot: BreakerSnapshot) -> Finding | None:
    if snapshot.state is BreakerState.FORCED_OPEN:
        return not_checked(
            _(
                "{shops}: paused by hand ({reason}), not tried",
                shops=whose,
                reason=snapshot.reason,
            ),
            "dqg resume shop",
        )
    if snapshot.state is BreakerState.OPEN:
        return fault(
            _(
                "{shops}: paused after a refused login ({reason}), not tried again",
                shops=whose,
                reason=snapshot.reason,
            ),
            _("correct the password in AccountShop, which ends the pause, or: dqg resume shop"),
        )
    return None


async def _log_in(
    client: NationalApiClient, breakers: Breakers, account: Account, whose: str
) -> Finding:
    try:
        _token, is_new = await client.token(account)
    except AccountRefused as error:
        await breakers.trip(_breaker(account), error.message)
        return fault(
            _("{shops}: the login is refused ({reason})", shops=whose, reason=error.message),
            _("correct user name and password in AccountShop; until then the shop is paused"),
        )
    if is_new:
        return ok(_("{shops}: logged in", shops=whose))
    return ok(_("{shops}: has a token that a run uses", shops=whose))


def _breaker(account: Account) -> str:
    return f"account:{account.key}"
