"""The daily close: every store asked about the documents of one day."""

from __future__ import annotations

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.daily_close.collect import read_day
from lib.daily_close.compare import DayClose
from tasks.runtime import current_services


@task(cache_policy=NO_CACHE, task_run_name="compare-{day}")
async def compare_day(day: date, sample: int) -> DayClose:
    """Every document of the day, compared across the stores. Idempotent.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be asked.
    """
    return await read_day(current_services(), day, sample)
