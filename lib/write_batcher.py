"""Collects single writes for a short time and performs them as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class WriteBatcher(Generic[Item, Result]):
    """Turns many concurrent `put` calls into few calls of `write`, in the order they were made.

    `write` gets a batch of items and returns one result for each, or raises: then every `put` of
    that batch raises the same error. Batches are written one after another, never concurrently.

    Args:
        write: performs a batch.
        delay: seconds to wait for more after the first item of a batch; with 0 a batch holds the
            items that arrived while the previous batch was written.
        size: a batch of this many items is written without further waiting.
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
        """Returns the item's result once its batch is written.

        A cancelled caller stops waiting; its item is still written.
        """
        return await asyncio.shield(self.put_nowait(item))

    def put_nowait(self, item: Item) -> asyncio.Future[Result]:
        """Queues an item; the future completes with its batch. Needs a running event loop."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        # Marks an error as retrieved: asyncio does not report it if no caller waits.
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
            batch = self._waiting[: self._size]
            del self._waiting[: self._size]
            if len(self._waiting) < self._size:
                self._full.clear()
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
