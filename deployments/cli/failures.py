"""`dqg failures`: which documents failed, why, and what exactly was sent and answered."""

from __future__ import annotations

import json as json_module
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, open_operator, print_json, run
from deployments.cli.language import N_, _, _n, current_language
from deployments.cli.output import code, console, local_time, number, table, text
from deployments.cli.prefect_api import run_url
from deployments.cli.runs import read_runs
from deployments.cli.selection import (
    OlderThan,
    OnlyClass,
    OnlyPipeline,
    OnlyReason,
    OnlyShop,
    State,
    Within,
    check_names,
    make_filter,
    read_groups,
)
from lib.errors import FieldError, SyncError
from lib.operations.operator import Operator
from lib.tracking.failures import FailureFilter
from lib.tracking.task_logs import TaskLogReader
from lib.words.documents import hint, kind, reason
from lib.words.language import translate

app = typer.Typer(help="Documents that failed, and why.", no_args_is_help=True)

WhichState = Annotated[State, typer.Option("--state", help="state of the failure records")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="show at most this number")]


@app.command("list")
def list_(
    pipeline: OnlyPipeline = None,
    shop: OnlyShop = None,
    error_class: OnlyClass = None,
    reason: OnlyReason = None,
    within: Within = None,
    older_than: OlderThan = None,
    state: WhichState = State.OPEN,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """Failures, newest first."""
    wanted = make_filter(pipeline, shop, error_class, reason, within, older_than, state)
    run(_list(wanted, limit, json), as_json=json)


def _reason(row: dict[str, Any]) -> str | None:
    """The reason in the language of the command line; an answer of the API is not changed."""
    if fields := row.get("field_errors"):
        return "; ".join(FieldError(**field).translated(current_language()) for field in fields)
    return reason(row["error"], current_language()) if row.get("error") else None


def _hint(row: dict[str, Any]) -> str:
    fields = row.get("field_errors") or [{"field": ""}]
    return translate(current_language(), hint(fields[0]["field"], row.get("error_class") or ""))


async def _list(wanted: FailureFilter, limit: int, json: bool) -> int:
    async with open_operator() as operator:
        rows = await operator.failures.find(wanted, limit=limit)
        total = await operator.failures.count(wanted)
        if not total:
            await check_names(operator, wanted)
    if json:
        print_json({"total": total, "failures": rows})
        return 0
    shown = table(
        _n("{count} failure", "{count} failures", total)
        if total == len(rows)
        else _("the newest {shown} of {count} failures", shown=len(rows), count=total),
        [
            *(code(_("when"), 2), code(_("pipeline"), 3), code(_("shop"), 1), code(_("document"))),
            *(code(_("class"), 4), text(_("reason")), code(_("id"), 5)),
        ],
        [
            (
                local_time(row["created_at"]),
                *(row["pipeline"], row["shop_pharmacy_code"], row["local_id"]),
                *(row.get("error_class"), _reason(row), row["_id"]),
            )
            for row in rows
        ],
    )
    console().print(shown)
    return 0


@app.command("group")
def group(
    pipeline: OnlyPipeline = None,
    shop: OnlyShop = None,
    error_class: OnlyClass = None,
    reason: OnlyReason = None,
    within: Within = None,
    older_than: OlderThan = None,
    state: WhichState = State.OPEN,
    json: AsJson = False,
) -> None:
    """Failures grouped by reason, field and drug code, the largest group first.

    A document with several wrong fields is in several groups.
    """
    wanted = make_filter(pipeline, shop, error_class, reason, within, older_than, state)
    run(_group(wanted, json), as_json=json)


async def _group(wanted: FailureFilter, json: bool) -> int:
    async with open_operator() as operator:
        groups = await read_groups(operator, wanted, quiet=json)
        if not groups:
            await check_names(operator, wanted)
    found = [
        {
            "group": group.reason.key,
            "documents": len(group.refs),
            "class": group.reason.error_class,
            "field": group.reason.field,
            "drug_code": group.reason.drug_code,
            "reason": group.reason.text,
            "example": group.failures[0]["local_id"],
            "shops": sorted({ref.shop_pharmacy_code for ref in group.refs}),
        }
        for group in groups
    ]
    if json:
        print_json(found)
        return 0
    names = ["group", "documents", "class", "field", "drug_code", "reason", "example"]
    heads = [
        *(code(_("group")), number(_("documents")), code(_("class"), 3), code(_("field"), 2)),
        *(code(_("drug code"), 2), text(_("reason")), code(_("example"), 1)),
    ]
    rows = [
        [
            reason(item[name], current_language()) if name == "reason" else item[name]
            for name in names
        ]
        for item in found
    ]
    console().print(
        table(
            _n("{count} group of failures", "{count} groups of failures", len(found)), heads, rows
        )
    )
    return 0


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="id of the failure or of the document")],
    json: AsJson = False,
) -> None:
    """All details of one failure: payload (with names of persons), answer, attempts and runs."""
    run(_show(name, json), as_json=json)


async def _show(name: str, json: bool) -> int:
    async with open_operator() as operator:
        rows = await operator.failures.get(name)
        await _add_runs(operator, rows)
    if json:
        print_json(rows)
    else:
        for row in rows:
            _print(row)
        if not rows:
            console().print(Text(_("there is no failure record of {name}", name=name)))
    return 0 if rows else ATTENTION


async def _add_runs(operator: Operator, rows: list[dict[str, Any]]) -> None:
    """Adds the batch run of each failure, and the addresses of both runs in the UI."""
    logs = TaskLogReader(operator.tracking.database)
    batches = await logs.batch_runs([row["_id"] for row in rows])
    for row in rows:
        row["batch_run_id"] = batches.get(row["_id"])
    ids = [row[run] for row in rows for run in ("record_run_id", "batch_run_id") if row.get(run)]
    try:
        # A document's run is a flow run or a task run; each has a different address in the UI.
        tasks = {run.id for run in (await read_runs(ids)).values() if run.is_task}
    except SyncError:
        # Without Prefect neither address can be opened, so the kind of run does not matter.
        tasks = set()
    for row in rows:
        record_run = row.get("record_run_id")
        row["record_run_url"] = run_url(record_run, is_task=record_run in tasks)
        row["batch_run_url"] = run_url(row["batch_run_id"])


#: Fields of a failure that are shown, and their labels.
_FACTS = {
    "pipeline": N_("pipeline"),
    "local_id": N_("document"),
    "shop_pharmacy_code": N_("shop"),
    "pharmacy_code": N_("pharmacy"),
    "state": N_("state"),
    "created_at": N_("when"),
    "error_class": N_("class"),
    "error": N_("reason"),
    "hint": N_("what to do"),
    "http_status": N_("HTTP status"),
    "record_run_id": N_("run of the document"),
    "record_run_url": N_("in the UI"),
    "batch_run_id": N_("run of the batch"),
    "batch_run_url": N_("in the UI"),
    "settled_at": N_("decided at"),
    "settled_by": N_("decided by"),
    "settled_why": N_("why"),
}


def _print(row: dict[str, Any]) -> None:
    out = console()
    known = row | {
        "error": _reason(row),
        "hint": _hint(row),
        "pipeline": f"{row['pipeline']} ({kind(row['pipeline'], current_language())})",
    }
    facts = [
        (_(text), local_time(value) if isinstance(value, datetime) else value)
        for fact, text in _FACTS.items()
        if (value := known.get(fact)) is not None
    ]
    out.print(table(_("Failure {id}", id=row["_id"]), [code(""), text("")], facts))
    out.print(
        table(
            _("Attempts"),
            [
                *(code(_("when")), code(_("action")), number("ms", 1)),
                *(number(_("HTTP status")), code(_("class"))),
            ],
            [
                (
                    *(local_time(attempt["at"]), attempt["action"], attempt["duration_ms"]),
                    *(attempt["http_status"], attempt["error_class"]),
                )
                for attempt in row.get("attempts") or ()
            ],
        )
    )
    payload = row.get("payload")
    sent = (
        _("none: it was refused before it was sent")
        if payload is None
        else json_module.dumps(payload, ensure_ascii=False, indent=2, default=str)
    )
    answer = row.get("answer") or _("none")
    out.print(
        Text(_("Payload: {text}", text=sent)), Text(_("Answer: {text}", text=answer)), sep="\n"
    )
