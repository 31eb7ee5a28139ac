"""Redis: how it is opened, how its errors are named, and what happens while it is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from lib.errors import StoreUnavailable
from lib.settings import RedisSettings

logger = logging.getLogger("dqg.redis")

Result = TypeVar("Result")

_MAX_CONNECTIONS = 32
_HEALTH_CHECK_SECONDS = 30
#: Seconds without Redis before it is asked again: each question may cost a whole timeout.
_PAUSE_SECONDS = 5.0


def open_redis(settings: RedisSettings) -> Redis:
    """A client that connects at its first command; `aclose` ends it.

    A call waits for a free connection rather than fail, and a lost connection is replaced once;
    a timeout is not tried again, because waiting twice does not help.
    """
    pool = BlockingConnectionPool.from_url(
        settings.url.get_secret_value(),
        max_connections=_MAX_CONNECTIONS,
        timeout=settings.timeout,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.timeout,
        health_check_interval=_HEALTH_CHECK_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        decode_responses=True,
        # What is no UTF-8 is not ours; it is read as it is, and compared as it was read.
        encoding_errors="surrogateescape",
    )
    return Redis.from_pool(pool)


def read_script(name: str) -> str:
    """Text of a Lua script that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@contextmanager
def redis_errors() -> Iterator[None]:
    """Names the driver's errors.

    Raises:
        StoreUnavailable: instead of any error of the driver. Its text holds no command, because
            arguments of commands may be tokens.
    """
    try:
        yield
    except ResponseError as error:
        # The first word may be the server's error code; the rest may quote what was sent.
        code = (str(error).split() or [""])[0]
        shown = f" {code}" if code.isalpha() and code.isupper() else ""
        raise StoreUnavailable("Redis", type(error).__name__ + shown) from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable("Redis", type(error).__name__) from error


class RedisFallback:
    """Chooses between Redis and its in-process fallback, so that no document fails for Redis.

    While Redis is away it is asked again after a pause, by one caller only. Each change is logged
    once, however many parts share this object.

    Args:
        pause: seconds without asking Redis after it failed.
    """

    def __init__(
        self, *, pause: float = _PAUSE_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause
        self._monotonic = monotonic
        self._away = False
        self._ask_again_at = 0.0

    @property
    def away(self) -> bool:
        """Whether Redis failed when it was last asked."""
        return self._away

    async def run(
        self, shared: Callable[[], Awaitable[Result]], local: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The result of `shared`, or of `local` where Redis is away.

        `shared` may have taken effect even if its answer was lost.
        """
        if self._away:
            now = self._monotonic()
            if now < self._ask_again_at:
                return await local()
            self._ask_again_at = now + self._pause
        try:
            with redis_errors():
                result = await shared()
        except StoreUnavailable as error:
            self._went_away(error)
            return await local()
        self._is_back()
        return result

    def _went_away(self, error: StoreUnavailable) -> None:
        self._ask_again_at = self._monotonic() + self._pause
        if not self._away:
            self._away = True
            logger.warning(
                "Redis is away, this process goes on alone: %s",
                error,
                extra={"action": "redis_away"},
            )

    def _is_back(self) -> None:
        if self._away:
            self._away = False
            logger.warning("Redis is back", extra={"action": "redis_back"})


_by_client: WeakKeyDictionary[Redis, RedisFallback] = WeakKeyDictionary()


def fallback_for(redis: Redis | None) -> RedisFallback:
    """The one `RedisFallback` that all users of a client share."""
    if redis is None:
        return RedisFallback()
    return _by_client.setdefault(redis, RedisFallback())
