"""The daily close at a person's request: nothing is sent, nothing is changed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from lib.daily_close.collect import DEFAULT_SAMPLE, yesterday
from tasks.artifacts import show_daily_close
from tasks.daily_close import compare_day
from tasks.runtime import daily_close_run_name, open_services


@flow(name="daily-close", flow_run_name=daily_close_run_name)
async def daily_close(
    day: date | None = None, sample: Annotated[int, Field(ge=0, le=1000)] = DEFAULT_SAMPLE
) -> State[Any]:
    """Compare source database, logs and national API for all documents of one day.

    The run fails where a document of the day is not accepted or the stores disagree. The result is
    the artifact `daily-close`; `dqg close` also writes every document to a file.

    Args:
        day: the date of the documents; yesterday in Vietnam if left empty.
        sample: number of documents per shop and kind to look up at the API; 0 for none.
    """
    day = day or yesterday()
    async with open_services():
        close = await compare_day(day, sample)
    await show_daily_close(close)
    message = f"{day}: {close.summary()}"
    return Completed(message=message) if close.is_closed else Failed(message=message)
