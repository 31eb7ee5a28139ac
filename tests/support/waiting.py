"""Waits for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

POLL_SECONDS = 0.05


def wait_until(
    predicate: Callable[[], object],
    description: str,
    timeout: float = 30,
    poll: float = POLL_SECONDS,
) -> None:
    """Return as soon as the predicate holds; it is checked every `poll` seconds.

    Raises:
        AssertionError: it did not hold within `timeout` seconds; the text has the description.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {description}")
        time.sleep(poll)


async def wait_until_async(
    predicate: Callable[[], object],
    description: str,
    timeout: float = 30,
) -> None:
    """As `wait_until`, while other tasks of the event loop continue."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {description}")
        await anyio.sleep(POLL_SECONDS)
