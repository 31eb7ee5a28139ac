"""`dqg trace`: everything that happened to one document, in order of time, from all stores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, PipelineName, open_operator, print_json, run
from deployments.cli.language import N_, _
from deployments.cli.output import code, console, local_time, table, text, zone_offset
from deployments.cli.runs import read_runs
from deployments.cli.selection import OnlyPipeline, Pharmacy
from lib.models import StoredDocument
from lib.operations.trace import Trace, Traced, read_trace
from lib.pipelines import PIPELINES, get_pipeline

#: Kinds of events, as text.
EVENTS = {
    "dispatched": N_("claimed and dispatched"),
    "logged": N_("claimed by hand"),
    "started": N_("processing began"),
    "attempt": N_("call to the API"),
    "accepted": N_("accepted by the API"),
    "closed": N_("log closed"),
    "failed": N_("recorded as failed"),
    "requeued": N_("made pending again"),
    "resolved": N_("resolved"),
    "run_started": N_("run began"),
    "run_ended": N_("run ended"),
    "run_waits": N_("run has not begun"),
}


def trace(
    local_id: Annotated[str, typer.Argument(help="local id of the document")],
    pipeline: OnlyPipeline = None,
    pharmacy_code: Pharmacy = None,
    json: AsJson = False,
) -> None:
    """Everything that happened to a document, in chronological order, from all stores.

    The exit status is 1 if nothing is known about it or a store is unavailable.
    """
    run(_trace(local_id, pipeline, pharmacy_code, json), as_json=json)


async def _trace(
    local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None, json: bool
) -> int:
    pipelines = list(PIPELINES.values()) if pipeline is None else [get_pipeline(pipeline.value)]
    async with open_operator(source_optional=True) as operator:
        found = await read_trace(operator, local_id, pipelines, pharmacy_code, read_runs=read_runs)
    if json:
        print_json(as_json(found))
    else:
        _print(found)
    return 0 if found.documents and not found.away else ATTENTION


def as_json(found: Trace) -> dict[str, Any]:
    """The trace as values for JSON."""
    return {
        "local_id": found.local_id,
        "documents": [
            {
                "pipeline": document.ref.pipeline,
                "record_id": document.ref.record_id,
                "pharmacy_code": document.ref.pharmacy_code,
                "shop": document.ref.shop_pharmacy_code,
                "now": None if document.row is None else _state(document.row),
                "events": [event.as_json() for event in document.events()],
                "runs": [made.as_json() for made in document.runs],
            }
            for document in found.documents.values()
        ],
        "away": found.away,
    }


def _state(row: StoredDocument) -> dict[str, Any]:
    return {
        "status": str(row.status),
        "national_id": row.national_id,
        "message": row.message,
        "claim_token": row.claim_token,
        "lease_expires_at": row.lease_expires_at,
        "lease_live": row.lease_live,
        "attempts": row.attempts,
        "next_attempt_at": row.next_attempt_at,
        "unconfirmed": row.unconfirmed,
        "created_at": row.created_at,
    }


def _print(found: Trace) -> None:
    out = console()
    for document in found.documents.values():
        ref = document.ref
        title = _(
            "{pipeline} {document} of {shop}, pharmacy {pharmacy}",
            pipeline=ref.pipeline,
            document=ref.local_id,
            shop=ref.shop_pharmacy_code,
            pharmacy=ref.pharmacy_code,
        )
        out.print(table(title, [code(""), text("")], _facts(found, document)))
        events = document.events()
        heads = [
            code(_("time (UTC{zone})", zone=zone_offset(datetime.now(UTC)))),
            *(code(_("store"), 1), text(_("event")), text(_("details"))),
        ]
        rows = [
            (local_time(event.at), event.store, _(EVENTS[event.kind]), event.details)
            for event in events
        ]
        out.print(table(_("What happened"), heads, rows))
        # Below the table: an address that is broken into two lines cannot be opened.
        for made in sorted(
            document.runs, key=lambda made: made.start or datetime.max.replace(tzinfo=UTC)
        ):
            out.print(Text(f"{made.name}: {made.url or made.id}"), soft_wrap=True)
    if not found.documents:
        out.print(Text(_("nothing is known about {document}", document=found.local_id)))
    for part, why in found.away.items():
        out.print(Text(_("{part} is unavailable: {why}", part=part, why=why)))


def _facts(found: Trace, document: Traced) -> list[tuple[str, object]]:
    row = document.row
    if row is None:
        unknown = _("not known") if found.away.get("SQL") else _("its row no longer exists")
        return [(_("status"), unknown)]
    facts: Mapping[str, object] = {
        _("status"): str(row.status),
        _("national id"): row.national_id,
        _("message"): row.message,
        _("claimed by"): row.claim_token,
        _("lease"): None if row.lease_expires_at is None else _lease(row),
        _("attempts"): row.attempts,
        _("next attempt not before"): local_time(row.next_attempt_at),
        _("unconfirmed"): _("yes: it is looked up before it is sent") if row.unconfirmed else None,
        _("created at"): f"{row.created_at:%Y-%m-%d %H:%M:%S}",
    }
    return [(name, value) for name, value in facts.items() if value is not None]


def _lease(row: StoredDocument) -> str:
    text = local_time(row.lease_expires_at)
    if row.lease_live:
        return _("until {time}", time=text)
    return _("expired at {time}", time=text)
