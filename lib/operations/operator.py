"""The stores a person works with, open while a command or the console runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import URL

from lib.accounts import AccountDirectory
from lib.errors import SyncError
from lib.resilience.breaker import Breakers
from lib.resilience.redis_fallback import fallback_for, open_redis
from lib.settings import Settings
from lib.source.accounts import ShopAccount
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import build_tables
from lib.tracking.audit import AuditLog
from lib.tracking.failures import FailureLog
from lib.tracking.writer import TrackingStore


@dataclass(frozen=True, slots=True)
class Operator:
    """The stores a person works with."""

    settings: Settings
    source: Source
    accounts: AccountDirectory
    tracking: TrackingStore
    failures: FailureLog
    audit: AuditLog
    breakers: Breakers
    redis_away: Callable[[], bool]


@asynccontextmanager
async def open_operator(
    settings: Settings, source_url: str | URL, *, source_optional: bool = False
) -> AsyncIterator[Operator]:
    """Open the stores; only the source database must answer.

    Args:
        source_optional: do not require the source database; without it no account is known.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    async with AsyncExitStack() as stack:
        engine = create_source_engine(source_url, settings.source)
        tables = build_tables(settings.source)
        source = open_source(engine, tables, cut_off=settings.sync.not_before)
        stack.callback(source.dispose)
        accounts = await _accounts(source, required=not source_optional)
        redis = open_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        fallback = fallback_for(redis)
        tracking = await stack.enter_async_context(TrackingStore(settings.mongo, settings.sync))
        yield Operator(
            settings=settings,
            source=source,
            accounts=AccountDirectory(accounts, settings.api),
            tracking=tracking,
            failures=FailureLog(tracking.database),
            audit=AuditLog(tracking.database),
            breakers=Breakers(redis, settings.redis.prefix, settings.breaker, fallback=fallback),
            redis_away=lambda: fallback.away,
        )


async def _accounts(source: Source, *, required: bool) -> list[ShopAccount]:
    try:
        return await asyncio.to_thread(source.accounts.all)
    except SyncError:
        if required:
            raise
        return []
