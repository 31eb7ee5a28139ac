"""The daily close: reads the documents of some days from every store."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.daily_close.collect import read_close
from lib.daily_close.result import DailyClose, Scope
from tasks.runtime import current_services


@task(cache_policy=NO_CACHE, task_run_name="compare-{scope}")
async def compare_days(scope: Scope, sample: int) -> DailyClose:
    """Every document of the days, compared across the stores. Idempotent.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be read.
    """
    return await read_close(current_services(), scope, sample)
