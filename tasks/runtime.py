"""What surrounds a run: its services, its name, and what its log lines say of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import httpx
from prefect.context import FlowRunContext, TaskRunContext
from prefect.runtime import flow_run, task_run
from sqlalchemy import URL

from lib import services as lib_services
from lib.daily_close.result import yesterday
from lib.errors import ConfigurationError, StoreUnavailable
from lib.pipelines import PIPELINES
from lib.record import Record
from lib.sanitize import one_line
from lib.services import Services
from lib.settings import Settings, environment_name, load_settings
from lib.settings.secret_references import SecretReference, find_references
from lib.sync.batch import find_batch, sending

#: Seconds a run or a command waits for a block.
_BLOCK_SECONDS = 30.0
_JSON_FORMATTERS = "pythonjsonlogger"

_current: ContextVar[Services] = ContextVar("current_services")


def current_services() -> Services:
    """The services of the run the caller belongs to.

    Tasks find them here, because a live client must not travel as a task parameter.

    Raises:
        LookupError: called outside `open_services`.
    """
    return _current.get()


@asynccontextmanager
async def open_services() -> AsyncIterator[Services]:
    """The services for the length of a run.

    Raises:
        ConfigurationError: settings are wrong or missing; its text names each.
        StoreUnavailable: the source database cannot be reached.
    """
    add_run_context()
    settings = await read_settings()
    async with lib_services.open_services(settings, await source_url(settings)) as services:
        reset = _current.set(services)
        try:
            yield services
        finally:
            _current.reset(reset)


async def read_settings() -> Settings:
    """The settings, with the secrets that are kept in Secret blocks of the Prefect server.

    Raises:
        ConfigurationError: settings are wrong or missing, or there is no such block.
        StoreUnavailable: a block is named, and the Prefect server cannot be asked.
    """
    settings = load_settings()
    secrets: dict[str, dict[str, str]] = {}
    for reference in find_references(dict(settings)):
        section = secrets.setdefault(reference.section, {})
        section[reference.field] = await _read_secret(reference)
    return load_settings(**secrets) if secrets else settings


async def _read_secret(reference: SecretReference) -> str:
    # Only installations with such a block pay for these imports.
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL

    variable = environment_name((reference.section, reference.field))
    if not PREFECT_API_URL.value():
        # Prefect would start a separate server, without any block.
        raise ConfigurationError(f"{variable} names a Secret block, and PREFECT_API_URL is not set")
    try:
        async with asyncio.timeout(_BLOCK_SECONDS):
            block: Any = await Secret.aload(reference.block)
    except ValueError:
        raise ConfigurationError(
            f"{variable}: there is no Secret block {reference.block!r}"
        ) from None
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Prefect", f"{variable}: {type(error).__name__}") from None
    # Not `block.get()`: that reads the text as JSON, and makes a number of a password of digits.
    value = block.value.get_secret_value()
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{variable}: Secret block {reference.block!r} holds no text")
    return value


async def source_url(settings: Settings) -> str | URL:
    """The source database's address, from the settings or from a SqlAlchemyConnector block.

    Raises:
        ConfigurationError: there is no such block.
    """
    if settings.source.url is not None:
        return settings.source.url.get_secret_value()
    # Only installations with a block pay for this import.
    from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

    name = settings.source.block or ""
    try:
        block = await SqlAlchemyConnector.aload(name)
    except ValueError:
        raise ConfigurationError(
            f"DQG_SOURCE__BLOCK: there is no SqlAlchemyConnector block {name!r}"
        ) from None
    info = block.connection_info
    return info.create_url() if isinstance(info, ConnectionComponents) else str(info)


# -- names under which runs appear in the UI ------------------------------------------------------


def pipeline_run_name() -> str:
    """`sale HD-S01-000101` for a document, `sale batch 1f0c93ab` for a batch."""
    parameters = flow_run.parameters
    local_id = next((v for k, v in parameters.items() if k.startswith("local_") and v), None)
    claim = f"batch {str(parameters.get('claim_token'))[:8]}"
    return f"{flow_run.flow_name} {local_id or claim}"


def scheduler_run_name() -> str:
    """`orchestrate 2026-11-02 08:15:00` (UTC)."""
    return f"{flow_run.flow_name} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S}"


def daily_close_run_name() -> str:
    """`daily-close 2026-11-02`, or `daily-close 2026-11-01..2026-11-30 SHOP01`."""
    day, last_day, shop = (flow_run.parameters.get(name) for name in ("day", "last_day", "shop"))
    days = f"{day or last_day or yesterday()}{f'..{last_day}' if day and last_day else ''}"
    return " ".join(filter(None, (flow_run.flow_name, days, shop)))


def chunk_run_name() -> str:
    """`sale-invoice HD-S01-000101`, or `sale-invoice HD-S01-000101 to HD-S02-000007 (50)`."""
    parameters = task_run.parameters
    records, noun = parameters["records"], parameters["batch"].pipeline.noun
    first, last = records[0].ref.local_id, records[-1].ref.local_id
    return f"{noun} {first}" if len(records) == 1 else f"{noun} {first} to {last} ({len(records)})"


# -- log lines ------------------------------------------------------------------------------------


def add_run_context() -> None:
    """Complete what this process logs as JSON, and keep text logs to lines. Idempotent.

    In lines for a person the run is named by Prefect, or by the text.
    """
    for handler in logging.getLogger().handlers:
        if type(handler.formatter).__module__.startswith(_JSON_FORMATTERS):
            handler.addFilter(_complete)
        else:
            handler.addFilter(keep_to_one_line)


def keep_to_one_line(record: logging.LogRecord) -> bool:
    """A log filter: what our messages quote, a document's code for example, begins no new line."""
    if record.name.startswith("dqg"):
        record.msg, record.args = one_line(record.getMessage()), None
    elif isinstance(record.args, tuple):
        record.args = tuple(one_line(a) if isinstance(a, str) else a for a in record.args)
    return True


def _complete(record: logging.LogRecord) -> bool:
    for name, value in _where().items():
        if value is not None and not hasattr(record, name):
            setattr(record, name, value)
    return True


def _where() -> dict[str, str | None]:
    """Run and document of the code that logs; what it does not know is left out."""
    batch, flow, task = find_batch(), FlowRunContext.get(), TaskRunContext.get()
    where: dict[str, str | None] = {}
    if batch is not None:
        where |= {
            "pipeline": batch.pipeline.name,
            "claim_token": batch.token,
            "flow_run_id": batch.run_id,
        }
    if flow is not None:
        run, name = flow.flow_run, None if flow.flow is None else flow.flow.name
        parameters = flow.parameters or {}
        where |= {"local_id": parameters.get("local_id")}
        if name in PIPELINES:
            where["pipeline"] = name
        if run is not None:
            where |= {"flow_run_id": str(run.id), "flow_run_name": run.name, "flow_name": name}
    if task is not None:
        where["task_run_id"] = str(task.task_run.id)
        record = task.parameters.get("record") or sending.get()
        if isinstance(record, Record):
            where["local_id"] = record.ref.local_id
    return where
