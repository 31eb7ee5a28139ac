"""What the command line asks of Prefect, and how Prefect's absence is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from deployments.cli.language import _
from lib.errors import ConfigurationError, StoreUnavailable
from lib.sync.planning import PoolState
from tasks.claims import read_pool

#: Seconds that a command waits for Prefect.
SECONDS = 15.0


@asynccontextmanager
async def prefect_errors(seconds: float = SECONDS) -> AsyncIterator[None]:
    """Names errors of Prefect's client, which may take this number of seconds.

    Raises:
        ConfigurationError: no server is set. Prefect would start an empty one.
        StoreUnavailable: it cannot be reached or does not answer.
    """
    if not PREFECT_API_URL.value():
        raise ConfigurationError(
            _("PREFECT_API_URL is not set: it says where the Prefect server is")
        )
    try:
        async with asyncio.timeout(seconds):
            yield
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Prefect", type(error).__name__) from None


async def read_pools(names: list[str]) -> dict[str, PoolState | None]:
    """The work pools; None for one that is not there.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    found: dict[str, PoolState | None] = {}
    async with prefect_errors():
        for name in names:
            try:
                found[name] = await read_pool(name)
            except ObjectNotFound:
                found[name] = None
    return found


def run_url(run_id: str | None, *, is_task: bool = False) -> str | None:
    """Where a run is shown in the UI; None where that is not known."""
    ui = PREFECT_UI_URL.value()
    kind = "task-run" if is_task else "flow-run"
    return f"{ui.rstrip('/')}/runs/{kind}/{run_id}" if ui and run_id else None
