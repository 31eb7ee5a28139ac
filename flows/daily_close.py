"""The daily close at a person's request: nothing is sent, nothing is changed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from lib.daily_close.collect import DEFAULT_SAMPLE
from lib.daily_close.result import make_scope
from tasks.artifacts import show_daily_close
from tasks.daily_close import compare_days
from tasks.runtime import daily_close_run_name, open_services


@flow(name="daily-close", flow_run_name=daily_close_run_name)
async def daily_close(
    day: date | None = None,
    last_day: date | None = None,
    shop: str | None = None,
    sample: Annotated[int, Field(ge=0, le=1000)] = DEFAULT_SAMPLE,
) -> State[Any]:
    """Compare source database, logs and national API for all documents of one or more days.

    The run fails if a document of the days is not accepted or the stores disagree. The result
    is the artifact `daily-close`; `dqg close` also writes every document to files.

    Args:
        day: the date of the documents, or the first one; yesterday in Vietnam if left empty.
        last_day: the last date of the documents; only `day` if left empty.
        shop: code of the one shop to compare; all shops if left empty.
        sample: number of documents per shop and kind to look up at the API; 0 for none.
    """
    scope = make_scope(day, last_day, shop)
    async with open_services():
        close = await compare_days(scope, sample)
    await show_daily_close(close)
    message = f"{scope}: {close.summary()}"
    return Completed(message=message) if close.is_closed else Failed(message=message)
