"""Redis: the client, its errors, and the fallback while it is unavailable."""

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
#: Seconds before Redis is tried again after a failure: each attempt may cost a whole timeout.
_PAUSE_SECONDS = 5.0


def open_redis(settings: RedisSettings) -> Redis:
    """A client that connects at its first command; `aclose` closes it.

    A call waits for a free connection instead of failing, and a lost connection is replaced once;
    a timeout is not retried, because waiting twice does not help.
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
        # Bytes that are not UTF-8 are not from this program; they are kept for comparison.
        encoding_errors="surrogateescape",
    )
    return Redis.from_pool(pool)


def read_script(name: str) -> str:
    """Text of a Lua script in the folder of this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns the driver's errors into `StoreUnavailable`.

    Raises:
        StoreUnavailable: instead of any error of the driver. Its text contains no command, because
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
    """Uses Redis or its in-process fallback, so that no document fails because of Redis.

    While Redis is unavailable, one caller tries it again after each pause. Each change is logged
    once, however many components share this object.

    Args:
        pause: seconds before Redis is tried again after a failure.
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
        """Whether the last call to Redis failed."""
        return self._away

    async def run(
        self, shared: Callable[[], Awaitable[Result]], local: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The result of `shared`, or of `local` while Redis is unavailable.

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
                "Redis is unavailable, this process continues without it: %s",
                error,
                extra={"action": "redis_away"},
            )

    def _is_back(self) -> None:
        if self._away:
            self._away = False
            logger.warning("Redis is available again", extra={"action": "redis_back"})


_by_client: WeakKeyDictionary[Redis, RedisFallback] = WeakKeyDictionary()


def fallback_for(redis: Redis | None) -> RedisFallback:
    """The one `RedisFallback` that all users of a client share."""
    if redis is None:
        return RedisFallback()
    return _by_client.setdefault(redis, RedisFallback())
