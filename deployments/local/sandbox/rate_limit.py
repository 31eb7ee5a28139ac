"""A limit on the calls an account makes in a second."""

from __future__ import annotations

from collections.abc import Callable


class RateLimiter:
    """One token bucket an account: it holds one second's worth of calls and fills continuously."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, usr: str, per_second: int) -> bool:
        """Whether this call is within the limit; a refused call costs nothing."""
        now = self._clock()
        level, since = self._buckets.get(usr, (float(per_second), now))
        level = min(float(per_second), level + max(0.0, now - since) * per_second)
        allowed = level >= 1
        self._buckets[usr] = (level - 1 if allowed else level, now)
        return allowed

    def clear(self) -> None:
        self._buckets.clear()
