"""Keeps a claim alive while its documents are worked on, and knows when it is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from lib.errors import ClaimLost, StoreUnavailable

logger = logging.getLogger("dqg.lease")


class Lease:
    """A claim's lease, renewed in the background from `async with` until it ends.

    The database alone decides when a lease has run out. This object only counts, on a monotonic
    clock, how long ago it was last known to be held: started before the renewing statement was
    sent, the count can only end too early, never too late. A wrong wall clock changes nothing.

    Args:
        renew: extends the lease in the database; returns how many documents it still holds.
        seconds: length of the lease.
        margin: seconds of lease that must be left for a call to begin.
    """

    def __init__(
        self,
        renew: Callable[[], Awaitable[int]],
        *,
        seconds: float,
        margin: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renew = renew
        self._seconds = seconds
        self._margin = min(margin, seconds / 3)
        self._monotonic = monotonic
        self._held_until = monotonic() + seconds
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        if self._monotonic() >= self._held_until:
            self._lost = True
        return self._lost

    def ensure_held(self) -> None:
        """Returns only if a call begun now can end within the lease.

        Raises:
            ClaimLost: it cannot; from then on nothing may be sent under this claim.
        """
        if self.lost or self._monotonic() >= self._held_until - self._margin:
            raise ClaimLost("the lease on this claim ran out; another run takes over")

    async def renew_once(self) -> None:
        """Extends the lease now. Once lost it stays lost, whatever the database says.

        Raises:
            StoreUnavailable: the database cannot be asked; the lease runs on as it was.
        """
        asked_at = self._monotonic()
        held = await self._renew()
        if held == 0:
            self._lost = True
        elif not self.lost:
            self._held_until = asked_at + self._seconds

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name="lease")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._seconds / 4)
            try:
                await self.renew_once()
            except StoreUnavailable as error:
                logger.warning(
                    "lease not renewed: %s", error, extra={"action": "lease_not_renewed"}
                )
        logger.warning("lease lost", extra={"action": "lease_lost"})
