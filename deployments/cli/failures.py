"""`dqg failures`: which documents failed, why, and what exactly was sent and answered."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import (
    ATTENTION,
    AsJson,
    console,
    open_operator,
    print_json,
    run,
    table,
)
from deployments.cli.prefect_state import run_url
from deployments.cli.selection import (
    OlderThan,
    OnlyClass,
    OnlyPipeline,
    OnlyReason,
    OnlyShop,
    State,
    Within,
    make_filter,
    read_groups,
)
from lib.failures import FailureFilter

app = typer.Typer(help="Documents that failed, and why.", no_args_is_help=True)

WhichState = Annotated[State, typer.Option("--state", help="of which failure records")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="show at most so many")]


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


async def _list(wanted: FailureFilter, limit: int, json: bool) -> int:
    async with open_operator() as operator:
        rows = await operator.failures.find(wanted, limit=limit)
        total = await operator.failures.count(wanted)
    if json:
        print_json({"total": total, "failures": rows})
        return 0
    shown = table(
        f"{total} failures"
        if total == len(rows)
        else f"the newest {len(rows)} of {total} failures",
        ["when", "pipeline", "shop", "document", "class", "reason", "id"],
        [
            (
                f"{row['created_at']:%Y-%m-%d %H:%M}",
                *(row["pipeline"], row["shop_pharmacy_code"], row["local_id"]),
                *(row.get("error_class"), row.get("error"), row["_id"]),
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
    """Failures folded by reason, field and drug code, the largest group first.

    A document with several wrong fields is in several groups.
    """
    wanted = make_filter(pipeline, shop, error_class, reason, within, older_than, state)
    run(_group(wanted, json), as_json=json)


async def _group(wanted: FailureFilter, json: bool) -> int:
    async with open_operator() as operator:
        groups = await read_groups(operator, wanted)
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
    rows = [[item[name] for name in names] for item in found]
    console().print(table(f"{len(found)} groups of failures", names, rows))
    return 0


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="of the failure, or of the document")],
    json: AsJson = False,
) -> None:
    """One failure whole: payload (names of persons too), answer, every attempt, link to its run."""
    run(_show(name, json), as_json=json)


async def _show(name: str, json: bool) -> int:
    async with open_operator() as operator:
        rows = await operator.failures.get(name)
    for row in rows:
        row["run_url"] = run_url(row.get("record_run_id"))
    if json:
        print_json(rows)
    else:
        for row in rows:
            _print(row)
        if not rows:
            console().print(Text(f"there is no failure record of {name}"))
    return 0 if rows else ATTENTION


def _print(row: dict[str, Any]) -> None:
    out = console()
    facts = [
        *("pipeline", "local_id", "shop_pharmacy_code", "pharmacy_code", "state", "created_at"),
        *("error_class", "error", "http_status", "record_run_id", "run_url"),
        *("settled_at", "settled_by", "settled_why"),
    ]
    rows = [(fact, row[fact]) for fact in facts if row.get(fact) is not None]
    out.print(table(f"Failure {row['_id']}", ["", ""], rows))
    out.print(
        table(
            "Attempts",
            ["at", "action", "ms", "HTTP status", "class"],
            [
                (a["at"], a["action"], a["duration_ms"], a["http_status"], a["error_class"])
                for a in row.get("attempts") or ()
            ],
        )
    )
    payload = row.get("payload")
    sent = (
        "none: it was refused before it was sent"
        if payload is None
        else json_module.dumps(payload, ensure_ascii=False, indent=2, default=str)
    )
    out.print(Text(f"Payload: {sent}"), Text(f"Answer: {row.get('answer') or 'none'}"), sep="\n")
