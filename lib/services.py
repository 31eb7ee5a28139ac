"""All services that a run uses, opened once per process and closed in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import URL

from lib.accounts import AccountDirectory
from lib.alerts.state import AlertStateStore
from lib.metrics.recorder import Metrics, open_metrics
from lib.models import Attempt
from lib.outcome_writer import OutcomeWriter
from lib.platforms.dqg.adapter import DqgPlatform
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.tokens import TokenCache
from lib.platforms.platform import Action, Platform
from lib.resilience.breaker import Breakers
from lib.resilience.rate_limiter import RateLimiter
from lib.resilience.redis_fallback import open_redis
from lib.settings import Settings
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import build_tables
from lib.tracking.writer import TrackingStore


@dataclass(frozen=True, slots=True)
class Services:
    """The stores and clients of one process, used within one event loop."""

    settings: Settings
    source: Source
    tracking: TrackingStore
    accounts: AccountDirectory
    breakers: Breakers
    rate_limiter: RateLimiter
    platform: Platform
    outcomes: OutcomeWriter
    tokens: TokenCache
    alerts: AlertStateStore
    metrics: Metrics = field(default_factory=Metrics)


class RateLimited:
    """A `CallContext` for calls outside a batch: applies the rate limit and records nothing."""

    def __init__(self, services: Services, names: Sequence[str]) -> None:
        self._services = services
        self._names = names

    async def permit(self, action: Action) -> None:
        """See `CallContext.permit`. Raises Throttled."""
        await self._services.rate_limiter.acquire(self._names)

    def ensure_held(self) -> None:
        """See `CallContext.ensure_held`."""

    def note(self, attempt: Attempt) -> None:
        """See `CallContext.note`."""


@asynccontextmanager
async def open_services(settings: Settings, source_url: str | URL) -> AsyncIterator[Services]:
    """Open the services for the length of a run.

    Only the source database is required. MongoDB and Redis may be unavailable; the API is first
    called when a document is sent.

    Raises:
        StoreUnavailable: the source database cannot be reached.
        ConfigurationError: it can be reached, but does not match the settings.
        UnconfirmedDatabase: it is not the recorded database, for example a restored copy.
    """
    async with AsyncExitStack() as stack:
        metrics = stack.enter_context(open_metrics(settings.metrics))
        source = open_source(
            create_source_engine(source_url, settings.source),
            build_tables(settings.source),
            cut_off=settings.sync.not_before,
            settle=timedelta(seconds=settings.source.settle_seconds),
        )
        stack.callback(source.dispose)
        installation = await asyncio.to_thread(source.installation.read)
        installation.check()
        accounts = AccountDirectory(await asyncio.to_thread(source.accounts.all), settings.api)
        redis = open_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        tracking = await stack.enter_async_context(TrackingStore(settings.mongo, settings.sync))
        tokens = TokenCache(redis, settings.redis, settings.api)
        client = await stack.enter_async_context(NationalApiClient(settings.api, tokens))
        yield Services(
            settings=settings,
            source=source,
            tracking=tracking,
            accounts=accounts,
            breakers=Breakers(redis, settings.redis.prefix, settings.breaker),
            rate_limiter=RateLimiter(redis, settings.redis.prefix, settings.rate),
            platform=DqgPlatform(client, settings.api, language=settings.sync.language),
            outcomes=OutcomeWriter(source, tracking, settings.sync, metrics=metrics),
            tokens=tokens,
            alerts=AlertStateStore(redis, settings.redis.prefix),
            metrics=metrics,
        )
