"""Says of each line of a JSON log which run and which document it belongs to."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext

from lib.pipelines import PIPELINES
from lib.sync.batch import find_batch

_JSON_FORMATTERS = "pythonjsonlogger"


def add_run_context() -> None:
    """Complete what this process logs as JSON. May be repeated.

    Lines for a person stay as they are: there the run is named by Prefect, or by the text.
    """
    for handler in logging.getLogger().handlers:
        if type(handler.formatter).__module__.startswith(_JSON_FORMATTERS):
            handler.addFilter(_complete)


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
        where["local_id"] = task.parameters.get("local_id") or where.get("local_id")
    return where
