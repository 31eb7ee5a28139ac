"""WriteBatcher writes: order, size, errors, and callers that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lib.write_batcher import WriteBatcher

pytestmark = pytest.mark.anyio


class Sink:
    """Writes groups into a list; doubles each item as its result."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.fail_with: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, items: Sequence[int]) -> list[int]:
        await self.gate.wait()
        if self.fail_with:
            raise self.fail_with
        self.groups.append(list(items))
        return [item * 2 for item in items]


def grouped(sink: Sink, *, delay: float = 0.01, size: int = 100) -> WriteBatcher[int, int]:
    return WriteBatcher(sink.write, delay=delay, size=size)


async def test_concurrent_puts_are_written_together_in_order() -> None:
    sink = Sink()
    group = grouped(sink)
    results = await asyncio.gather(*(group.put(n) for n in range(5)))
    assert results == [0, 2, 4, 6, 8]
    assert sink.groups == [[0, 1, 2, 3, 4]]


async def test_a_full_group_does_not_wait_for_the_delay() -> None:
    sink = Sink()
    group = grouped(sink, delay=3600, size=3)
    async with asyncio.timeout(10):
        await asyncio.gather(*(group.put(n) for n in range(6)))
    assert sink.groups == [[0, 1, 2], [3, 4, 5]]


async def test_items_that_come_during_a_write_form_the_next_group() -> None:
    sink = Sink()
    sink.gate.clear()
    group = grouped(sink, delay=0)
    first = asyncio.create_task(group.put(1))
    while not group._writer:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(group.put(2))
    await asyncio.sleep(0)
    sink.gate.set()
    assert [await first, await second] == [2, 4]
    assert sink.groups == [[1], [2]]


async def test_an_error_reaches_everyone_in_the_group_and_nobody_after() -> None:
    sink = Sink()
    group = grouped(sink)
    sink.fail_with = OSError("away")
    results = await asyncio.gather(group.put(1), group.put(2), return_exceptions=True)
    assert [str(result) for result in results] == ["away", "away"]
    sink.fail_with = None
    assert await group.put(3) == 6


async def test_an_item_is_written_even_if_its_caller_is_cancelled() -> None:
    sink = Sink()
    group = grouped(sink)
    caller = asyncio.create_task(group.put(1))
    await asyncio.sleep(0)
    caller.cancel()
    await group.flush()
    assert sink.groups == [[1]]


async def test_flush_waits_for_everything_queued() -> None:
    sink = Sink()
    group = grouped(sink, delay=3600)
    group.put_nowait(1)
    group.put_nowait(2)
    async with asyncio.timeout(10):
        await group.flush()
    assert sink.groups == [[1, 2]]


async def test_flush_with_nothing_queued_returns() -> None:
    await grouped(Sink()).flush()
