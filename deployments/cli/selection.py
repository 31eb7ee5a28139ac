"""Options by which failures are chosen, alike in every command that takes them."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from deployments.cli.context import Operator, PipelineName
from lib.clock import utc_now
from lib.failure_groups import failure_groups
from lib.failures import FailureFilter, FailureGroup

_AGE = re.compile(r"(\d+)\s*(min|m|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class State(StrEnum):
    """States of a failure record; `all` is none of them."""

    OPEN = "open"
    REQUEUED = "requeued"
    RESOLVED = "resolved"
    ALL = "all"


def parse_age(text: str) -> timedelta:
    """`30m`, `24h`, `7d`, `2w`."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; write 30m, 24h, 7d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


OnlyPipeline = Annotated[PipelineName | None, typer.Option("--pipeline", help="only of this one")]
OnlyShop = Annotated[str | None, typer.Option("--shop", help="only of this shop's code")]
OnlyClass = Annotated[
    str | None, typer.Option("--class", help="only of this error class, e.g. rejected")
]
OnlyReason = Annotated[
    str | None, typer.Option("--reason", help="only with this text in the error")
]
Within = Annotated[
    timedelta | None,
    typer.Option("--within", parser=parse_age, metavar="AGE", help="only younger, e.g. 24h"),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option("--older-than", parser=parse_age, metavar="AGE", help="only older, e.g. 7d"),
]


def make_filter(
    pipeline: PipelineName | None,
    shop: str | None,
    error_class: str | None,
    reason: str | None,
    within: timedelta | None,
    older_than: timedelta | None,
    state: State = State.OPEN,
) -> FailureFilter:
    """The filter that the options say."""
    now = utc_now()
    return FailureFilter(
        states=None if state is State.ALL else (state.value,),
        pipeline=None if pipeline is None else pipeline.value,
        shop=shop,
        error_class=error_class,
        reason=reason,
        since=None if within is None else now - within,
        until=None if older_than is None else now - older_than,
    )


async def read_groups(operator: Operator, wanted: FailureFilter) -> list[FailureGroup]:
    """Failures folded by reason; where no payload was kept, the lines tell the drug codes.

    Raises:
        StoreUnavailable.
    """
    return await failure_groups(operator.failures, operator.source, wanted)
