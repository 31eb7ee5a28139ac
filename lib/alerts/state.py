"""The last report of every alert, shared by all processes through Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from lib.alerts.conditions import AlertState
from lib.errors import StoreUnavailable
from lib.resilience.redis_fallback import RedisFallback, fallback_for, read_script, redis_errors

#: After this time without a check, every subject counts as good again.
_KEEP_MS = 30 * 24 * 3600 * 1000
_GENERATION = "generation"
_ALERT_STATE = TypeAdapter(AlertState)


@dataclass(frozen=True, slots=True)
class AlertSnapshot:
    """The last reports, by key of the subject.

    Attributes:
        generation: a new value after Redis has lost its data. The numbers of changes then start
            again; with a new generation they do not produce the ids of earlier events.
    """

    generation: str
    alert_states: Mapping[str, AlertState]


class AlertStateStore:
    """One hash with one field per subject.

    There is no fallback for Redis: a process that does not know the last reports would report
    again at each check. Every method raises `StoreUnavailable` while Redis is unavailable.
    """

    def __init__(self, redis: Redis, prefix: str, *, fallback: RedisFallback | None = None) -> None:
        self._redis = redis
        self._key = f"{prefix}:alerts"
        self._replace = redis.register_script(read_script("replace_if_equal.lua"))
        self._fallback = fallback or fallback_for(redis)

    async def read(self) -> AlertSnapshot:
        """The last report of every subject."""
        with redis_errors():
            if await self._redis.type(self._key) not in ("hash", "none"):
                await self._redis.delete(self._key)
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hsetnx(self._key, _GENERATION, uuid4().hex)
                pipe.pexpire(self._key, _KEEP_MS)
                pipe.hgetall(self._key)
                *_, found = await pipe.execute()
            generation = found.pop(_GENERATION)
            alert_states = {key: _alert_state(text) for key, text in found.items()}
            foreign = [key for key, alert_state in alert_states.items() if alert_state is None]
            if foreign:
                await self._redis.hdel(self._key, *foreign)
        return AlertSnapshot(
            generation, {key: s for key, s in alert_states.items() if s is not None}
        )

    async def write(self, key: str, before: AlertState, after: AlertState) -> bool:
        """Save a report; False if another process saved it first."""
        old = "" if before == AlertState() else _text(before)
        with redis_errors():
            done = await self._replace(keys=[self._key], args=[key, old, _text(after), _KEEP_MS])
        return bool(done)

    def require_redis(self) -> None:
        """Raise StoreUnavailable if breaker states may have been read from the local fallback."""
        if self._fallback.away:
            raise StoreUnavailable("Redis", "unavailable, so the states of breakers are not known")


def _text(alert_state: AlertState) -> str:
    return json.dumps(asdict(alert_state), ensure_ascii=False)


def _alert_state(text: str) -> AlertState | None:
    """None for a text that this program did not write: `write` could not replace it."""
    try:
        alert_state = _ALERT_STATE.validate_json(text)
    except ValidationError:
        return None
    return alert_state if _text(alert_state) == text else None
