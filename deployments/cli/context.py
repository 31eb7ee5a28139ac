"""Shared by the commands: opening the stores, error messages, exit status, JSON output."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer

from deployments.cli.language import ENGLISH, _, use_language
from deployments.cli.output import use_zone
from lib.errors import SyncError
from lib.operations.operator import Operator
from lib.operations.operator import open_operator as stores_of
from lib.pipelines import PIPELINES
from lib.sanitize import printable
from tasks.configuration import read_settings, source_url

#: Exit status: nothing found, not done, or something needs attention. Wrong usage is 2.
ATTENTION = 1

PipelineName = StrEnum("PipelineName", {name: name for name in PIPELINES})  # type: ignore[misc]

AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]


@asynccontextmanager
async def open_operator(*, source_optional: bool = False) -> AsyncIterator[Operator]:
    """Opens the stores for the duration of a command; see `lib.operations.operator`.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    settings = await read_settings()
    use_zone(settings.cli.time_zone)
    url = await source_url(settings)
    async with stores_of(settings, url, source_optional=source_optional) as operator:
        yield operator


def run(work: Coroutine[Any, Any, int], *, as_json: bool) -> None:
    """Runs a command and exits with the status that it returns; 1 after a `SyncError`.

    JSON output is English in every installation.
    """
    if as_json:
        use_language(ENGLISH)
    # Warnings of the stores would break up the tables; commands report unavailable stores.
    with _only_errors_logged():
        code = _carry_out(work, as_json=as_json)
    raise typer.Exit(code)


def _carry_out(work: Coroutine[Any, Any, int], *, as_json: bool) -> int:
    try:
        return asyncio.run(work)
    except SyncError as error:
        if as_json:
            print_json({"error": str(error)})
        else:
            print_error(str(error))
        return ATTENTION
    except KeyboardInterrupt:
        return 130


@contextmanager
def _only_errors_logged() -> Iterator[None]:
    logger = logging.getLogger("dqg")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_error(text: str) -> None:
    typer.echo(printable(_("error: {text}", text=text)), err=True)
