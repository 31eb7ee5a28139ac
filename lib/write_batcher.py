"""Collects single writes for a moment and performs them together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Grouped(Generic[Item, Result]):
    """Turns many concurrent `put` calls into few calls of `write`, in the order they were made.

    `write` gets a list of items and returns one result for each, or raises: then every `put` of
    that group raises the same error. Groups are written one after another, never side by side.

    Args:
        write: performs a group; may be called again with the same items only by its callers.
        delay: seconds to wait for company after the first item of a group.
        size: items after which a group is written without further waiting.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        delay: float,
        size: int,
    ) -> None:
        self._write = write
        self._delay = delay
        self._size = size
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._full = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Result:
        """Returns the item's result once its group is written.

        A cancelled caller stops waiting; its item is written all the same.
        """
        return await asyncio.shield(self.put_nowait(item))

    def put_nowait(self, item: Item) -> asyncio.Future[Result]:
        """Queues an item; the future ends with its group. Needs a running event loop."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        # An error is reported to whoever waits; nobody has to.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append((item, future))
        if len(self._waiting) >= self._size:
            self._full.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        return future

    async def flush(self) -> None:
        """Waits until everything queued so far is written or has failed."""
        self._full.set()
        while self._writer is not None and not self._writer.done():
            await asyncio.shield(self._writer)

    async def _drain(self) -> None:
        while self._waiting:
            if len(self._waiting) < self._size and self._delay > 0:
                try:
                    async with asyncio.timeout(self._delay):
                        await self._full.wait()
                except TimeoutError:
                    pass
            group = self._waiting[: self._size]
            del self._waiting[: self._size]
            if len(self._waiting) < self._size:
                self._full.clear()
            await self._write_group(group)

    async def _write_group(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)
