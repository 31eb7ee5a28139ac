"""The context of a run: its services, its name, and the fields that its log lines get."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from prefect.context import FlowRunContext, TaskRunContext
from prefect.runtime import flow_run, task_run

from lib import services as lib_services
from lib.daily_close.result import yesterday
from lib.pipelines import PIPELINES
from lib.record import Record
from lib.sanitize import one_line
from lib.services import Services
from lib.sync.batch import find_batch, sending
from tasks.configuration import read_settings, source_url

_JSON_FORMATTERS = "pythonjsonlogger"

_current: ContextVar[Services] = ContextVar("current_services")


def current_services() -> Services:
    """The services of the run the caller belongs to.

    Tasks find them here, because a live client must not be passed as a task parameter.

    Raises:
        LookupError: called outside `open_services`.
    """
    return _current.get()


@asynccontextmanager
async def open_services() -> AsyncIterator[Services]:
    """The services for the length of a run.

    Raises:
        ConfigurationError: settings are wrong or missing; its text names each of them.
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
    """Add run fields to JSON logs, and keep each text log entry on one line. Idempotent.

    In text logs, Prefect or the message itself names the run.
    """
    for handler in logging.getLogger().handlers:
        if type(handler.formatter).__module__.startswith(_JSON_FORMATTERS):
            handler.addFilter(_complete)
        else:
            handler.addFilter(keep_to_one_line)


def keep_to_one_line(record: logging.LogRecord) -> bool:
    """A log filter: values in our messages, such as a document's code, cannot start a new line."""
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
    """Run and document of the code that logs; fields that are not known are left out."""
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
