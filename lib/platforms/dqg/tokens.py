"""Tokens of the national API: one login per account, shared by all callers and processes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from lib.errors import AccountRefused
from lib.models import Account
from lib.platforms.dqg.interpret import Token, is_usable
from lib.resilience.redis_fallback import RedisFallback, fallback_for, read_script
from lib.settings import ApiSettings, RedisSettings
from lib.words.language import Phrase, pack, unpack

logger = logging.getLogger("dqg.tokens")

#: Seconds for which later callers get the same refusal: long enough for all callers of a batch.
_REFUSAL_SECONDS = 10.0
#: Seconds by which a lock's lifetime exceeds the longest login.
_LOCK_MARGIN = 5.0
_POLL_SECONDS = 0.05
#: The answer of Redis for a key that never expires.
_NO_END = -1


#: Logs in. Raises AccountRefused for a refused login; any other error gives no result.
Login = Callable[[Account], Awaitable[Token]]


class TokenCache:
    """Keeps tokens in Redis for all processes and in this process for speed.

    A token is kept for a fixed time after its login. Callers of one process share one login, and
    processes share it through a lock in Redis; a refusal is also shared, for a short time.
    While Redis is unavailable, each process logs in separately. Used within one event loop.

    Args:
        redis: None keeps everything in this process.
        refusal_seconds: how long a refused login is remembered.
        lock_seconds: how long to wait for another process's login; by default a little longer
            than a login can take.
        wall_clock: used only for the expiry of a token without a time of issue.
    """

    def __init__(
        self,
        redis: Redis | None,
        redis_settings: RedisSettings,
        settings: ApiSettings,
        *,
        fallback: RedisFallback | None = None,
        refusal_seconds: float = _REFUSAL_SECONDS,
        lock_seconds: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if lock_seconds is None:
            lock_seconds = settings.connect_timeout + settings.read_timeout + _LOCK_MARGIN
        self._settings = settings
        self._shared = None if redis is None else _RedisTokens(redis, redis_settings.prefix)
        self._fallback = fallback or fallback_for(redis)
        self._local = _LocalTokens(monotonic)
        self._in_flight: dict[str, _InFlightLogin] = {}
        self._refusal_seconds = refusal_seconds
        self._lock_seconds = lock_seconds
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._sleep = sleep

    async def get(self, account: Account, login: Login) -> str:
        """A token to send with the next call; logs in only if none is known.

        A cancelled caller does not cancel the login of others.

        Raises:
            AccountRefused: this login, or one a moment ago, was refused.
            Exception: any other error of `login`.
        """
        while True:
            known = self._local.read(account.key)
            if known is None:
                known = await self._join_login(account, login)
            token = known.token_or_raise()
            # The shared login may have returned a token that was dropped meanwhile.
            if not self._local.is_dropped(account.key, token):
                return token

    async def drop(self, account: Account, token: str) -> None:
        """Delete a token that the API refused, but not its replacement. Idempotent."""
        self._local.drop(account.key, token)
        shared = self._shared
        if shared is not None:
            await self._fallback.run(lambda: shared.drop(account.key, token), _nothing)

    async def known(self, keys: Collection[str]) -> set[str]:
        """The account keys among these that have a token: their last login was accepted."""
        shared = self._shared
        if shared is None:
            return self._local.known(keys)
        return await self._fallback.run(lambda: shared.known(keys), lambda: self._known(keys))

    async def _known(self, keys: Collection[str]) -> set[str]:
        return self._local.known(keys)

    async def _join_login(self, account: Account, login: Login) -> _CachedLogin:
        flight = self._in_flight.get(account.key)
        if flight is None or flight.task.done():
            flight = _InFlightLogin(
                asyncio.create_task(self._login_once(account, login), name="login")
            )
            self._in_flight[account.key] = flight
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                if self._in_flight.get(account.key) is flight:
                    del self._in_flight[account.key]
                if not flight.task.done():
                    # All callers were cancelled: the login must not continue without them.
                    flight.task.cancel()
                    await asyncio.gather(flight.task, return_exceptions=True)

    async def _login_once(self, account: Account, login: Login) -> _CachedLogin:
        shared = self._shared
        if shared is None:
            return await self._log_in(account, login)
        turn = await self._fallback.run(lambda: self._await_turn(shared, account.key), _no_turn)
        try:
            if turn.known is None:
                return await self._log_in(account, login)
            self._local.keep(account.key, turn.known)
            return turn.known
        finally:
            if turn.lock is not None:
                lock = turn.lock
                await self._fallback.run(lambda: _release(lock), _nothing)

    async def _await_turn(self, shared: _RedisTokens, key: str) -> _LockTurn:
        """Waits for the result of another process's login, or for the right to log in."""
        lock = shared.lock(key, self._lock_seconds)
        give_up_at = self._monotonic() + self._lock_seconds
        owned = False
        try:
            while True:
                # The lock first: the read that follows then sees the result of its last owner.
                owned = await lock.acquire(blocking=False)
                known = await shared.read(key)
                if known is not None and not self._is_stale(key, known):
                    return _LockTurn(known, lock if owned else None)
                if owned:
                    return _LockTurn(None, lock)
                if self._monotonic() >= give_up_at:
                    await shared.drop_foreign_lock(key)
                    logger.warning(
                        "the login of another process takes too long, this process logs in too",
                        extra={"action": "login_not_awaited", "account_key": key},
                    )
                    return _LockTurn(None, None)
                await self._sleep(_POLL_SECONDS * (1 + random.random()))  # noqa: S311 - spread
        except asyncio.CancelledError:
            if owned:
                await self._fallback.run(lambda: _release(lock), _nothing)
            raise

    def _is_stale(self, key: str, known: _CachedLogin) -> bool:
        return known.token is not None and self._local.is_dropped(key, known.token)

    async def _log_in(self, account: Account, login: Login) -> _CachedLogin:
        try:
            token = await login(account)
        except AccountRefused as error:
            known = _CachedLogin(self._refusal_seconds, refusal=error)
            await self._save(account.key, known)
            raise
        lifetime = seconds_to_keep(token, self._settings, self._wall_clock())
        known = _CachedLogin(lifetime, token=token.value)
        self._local.issued(account.key)
        await self._save(account.key, known)
        logger.info(
            "logged in, token kept for %.0f s",
            lifetime,
            extra={"action": "logged_in", "account_key": account.key},
        )
        return known

    async def _save(self, key: str, known: _CachedLogin) -> None:
        self._local.keep(key, known)
        shared = self._shared
        if shared is not None:
            await self._fallback.run(lambda: shared.save(key, known), _nothing)


@dataclass(frozen=True, slots=True)
class _CachedLogin:
    """A token or a refusal, and the seconds for which it is still valid."""

    seconds: float
    token: str | None = field(default=None, repr=False)
    refusal: AccountRefused | None = None

    def token_or_raise(self) -> str:
        if self.token is None:
            refusal = self.refusal
            # A new error for each caller: an exception raised twice mixes up its tracebacks.
            raise AccountRefused(
                refusal.message if refusal else Phrase("login refused"),
                http_status=refusal.http_status if refusal else None,
                answer=refusal.answer if refusal else None,
            )
        return self.token


@dataclass(slots=True)
class _InFlightLogin:
    task: asyncio.Task[_CachedLogin]
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _LockTurn:
    """The result of another process, otherwise the right to log in; and the lock to release."""

    known: _CachedLogin | None
    lock: Lock | None


class _LocalTokens:
    """The tokens of this process, and the last dropped token of each account."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, _CachedLogin]] = {}
        self._dropped: dict[str, str] = {}

    def read(self, key: str) -> _CachedLogin | None:
        until, known = self._known.get(key, (0.0, None))
        if known is not None and self._monotonic() >= until:
            del self._known[key]
            return None
        return known

    def keep(self, key: str, known: _CachedLogin) -> None:
        if known.token is None or not self.is_dropped(key, known.token):
            self._known[key] = (self._monotonic() + known.seconds, known)

    def drop(self, key: str, token: str) -> None:
        self._dropped[key] = token
        if (entry := self._known.get(key)) is not None and entry[1].token == token:
            del self._known[key]

    def known(self, keys: Collection[str]) -> set[str]:
        found = {key: self.read(key) for key in keys}
        return {key for key, known in found.items() if known is not None and known.token}

    def is_dropped(self, key: str, token: str) -> bool:
        return self._dropped.get(key) == token

    def issued(self, key: str) -> None:
        """A login has just succeeded: its token is valid even if it equals a dropped one."""
        self._dropped.pop(key, None)


class _RedisTokens:
    """The tokens all processes share. Every method raises the driver's errors."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._compare_and_set = redis.register_script(read_script("compare_and_set.lua"))

    def lock(self, key: str, seconds: float) -> Lock:
        return self._redis.lock(f"{self._prefix}:login:{key}", timeout=seconds, thread_local=False)

    async def read(self, key: str) -> _CachedLogin | None:
        async with self._redis.pipeline(transaction=True) as pipe:
            names = (self._token(key), self._refused(key))
            # Not `get`: that fails on a key of another type.
            pipe.mget(names)
            for name in names:
                pipe.pttl(name)
            (token, refused), token_ms, refused_ms = await pipe.execute()
        # A value that is not a token or refusal counts as absent: the next login replaces it.
        if is_usable(token) and token_ms > 0:
            return _CachedLogin(token_ms / 1000, token=token)
        refusal = _refusal(refused)
        if refusal is not None and refused_ms > 0:
            return _CachedLogin(refused_ms / 1000, refusal=refusal)
        return None

    async def save(self, key: str, known: _CachedLogin) -> None:
        milliseconds = max(1, int(known.seconds * 1000))
        if known.refusal is not None:
            text = json.dumps(
                {"message": pack(known.refusal.message), "http_status": known.refusal.http_status}
            )
            await self._redis.set(self._refused(key), text, px=milliseconds)
        elif known.token is not None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(self._token(key), known.token, px=milliseconds)
                pipe.delete(self._refused(key))
                await pipe.execute()

    async def known(self, keys: Collection[str]) -> set[str]:
        names = list(keys)
        tokens = await self._redis.mget([self._token(key) for key in names]) if names else []
        return {key for key, token in zip(names, tokens, strict=True) if is_usable(token)}

    async def drop(self, key: str, token: str) -> None:
        await self._compare_and_set(keys=[self._token(key)], args=[token, "", 0])

    async def drop_foreign_lock(self, key: str) -> None:
        """Delete a lock that never expires: it is not from this program."""
        name = f"{self._prefix}:login:{key}"
        if await self._redis.pttl(name) == _NO_END:
            await self._redis.delete(name)

    def _token(self, key: str) -> str:
        return f"{self._prefix}:token:{key}"

    def _refused(self, key: str) -> str:
        return f"{self._prefix}:refused:{key}"


def _refusal(text: str | None) -> AccountRefused | None:
    try:
        fields = json.loads(text or "")
        return AccountRefused(unpack(fields["message"]), http_status=fields["http_status"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


async def _release(lock: Lock) -> None:
    try:
        await lock.release()
    except LockError:
        # The lock expired during the login; the process that holds it now keeps it.
        logger.info("a login took longer than its lock", extra={"action": "login_lock_expired"})


async def _nothing() -> None:
    return None


async def _no_turn() -> _LockTurn:
    return _LockTurn(None, None)


def seconds_to_keep(token: Token, settings: ApiSettings, now: float) -> float:
    """Seconds for which a new token is used.

    A lifetime shorter than twice the margin is halved instead, so that a short-lived token is
    still shared. Without a plausible lifetime only the setting applies: a 401 corrects it.
    """
    lifetime = token.expires_in
    if lifetime is None:
        lifetime = _jwt_lifetime(token.value, now)
    if lifetime is None or not math.isfinite(lifetime) or lifetime <= 0:
        return settings.token_seconds
    margin = min(settings.token_margin, lifetime / 2)
    return min(settings.token_seconds, lifetime - margin)


def _jwt_lifetime(token: str, now: float) -> float | None:
    """Seconds from issue to expiry of a JWT, both by the issuer's clock if both are stated."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        return float(claims["exp"]) - float(claims.get("iat", now))
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
