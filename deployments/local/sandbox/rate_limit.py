"""A limit on the calls per second of an account."""

from __future__ import annotations

from collections.abc import Callable


class RateLimiter:
    """One token bucket per account: it holds the calls of one second and fills continuously."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, usr: str, per_second: int) -> bool:
        """Whether this call is within the limit; a refused call uses no token."""
        now = self._clock()
        level, since = self._buckets.get(usr, (float(per_second), now))
        level = min(float(per_second), level + max(0.0, now - since) * per_second)
        allowed = level >= 1
        self._buckets[usr] = (level - 1 if allowed else level, now)
        return allowed

    def clear(self) -> None:
        self._buckets.clear()
