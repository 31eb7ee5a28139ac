"""`dqg trace`: everything that happened to one document, in order of time, from all stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import (
    ATTENTION,
    AsJson,
    Operator,
    PipelineName,
    console,
    local_time,
    open_operator,
    print_json,
    run,
    table,
)
from deployments.cli.events import EVENTS, Event, events_of_failure, events_of_log, events_of_run
from deployments.cli.language import _
from deployments.cli.runs import Run, read_runs
from deployments.cli.selection import OnlyPipeline, Pharmacy
from lib.errors import SyncError
from lib.models import DocumentRef, StoredDocument
from lib.pipelines import PIPELINES, Pipeline, get_pipeline
from lib.tracking.failures import ref_of


@dataclass(slots=True)
class Traced:
    """One document, and what each store has of it."""

    ref: DocumentRef
    row: StoredDocument | None = None
    logs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def events(self) -> list[Event]:
        """What happened, oldest first."""
        found = [event for log in self.logs for event in events_of_log(log)]
        found += [event for failure in self.failures for event in events_of_failure(failure)]
        found += [event for made in self.runs for event in events_of_run(made)]
        # A decision is kept with every failure record that it settled.
        return sorted(dict.fromkeys(found), key=lambda event: event.at)

    def run_ids(self) -> set[str]:
        rows = [*self.logs, *self.failures]
        return {
            row[key] for row in rows for key in ("flow_run_id", "record_run_id") if row.get(key)
        }


@dataclass(slots=True)
class Trace:
    """All documents of one local id.

    Attributes:
        away: what could not be asked, and what it said.
    """

    local_id: str
    documents: dict[tuple[str, int], Traced] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)

    def of(self, ref: DocumentRef) -> Traced:
        return self.documents.setdefault((ref.pipeline, ref.record_id), Traced(ref))


def trace(
    local_id: Annotated[str, typer.Argument(help="the document")],
    pipeline: OnlyPipeline = None,
    pharmacy_code: Pharmacy = None,
    json: AsJson = False,
) -> None:
    """Everything that happened to a document, in order of time, from all stores.

    The exit status is 1 where nothing is known of it, or a store is away.
    """
    run(_trace(local_id, pipeline, pharmacy_code, json), as_json=json)


async def _trace(
    local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None, json: bool
) -> int:
    pipelines = list(PIPELINES.values()) if pipeline is None else [get_pipeline(pipeline.value)]
    async with open_operator(source_may_be_away=True) as operator:
        found = await read_trace(operator, local_id, pipelines, pharmacy_code)
    if json:
        print_json(as_json(found))
    else:
        _print(found)
    return 0 if found.documents and not found.away else ATTENTION


async def read_trace(
    operator: Operator,
    local_id: str,
    pipelines: list[Pipeline],
    pharmacy_code: str | None = None,
) -> Trace:
    """Asks every store; those that are away are named, and the rest is still told."""
    found = Trace(local_id)

    def is_meant(ref: DocumentRef) -> bool:
        return pharmacy_code in (None, ref.pharmacy_code)

    try:
        for pipeline in pipelines:
            rows = await asyncio.to_thread(
                operator.source.documents.find, pipeline, local_id, pharmacy_code
            )
            for row in rows:
                found.of(row.ref).row = row
    except SyncError as error:
        found.away["SQL"] = str(error)
    names = {pipeline.name for pipeline in pipelines}
    try:
        for name in sorted(names):
            for log in await operator.tracking.logs_of(name, local_id):
                if is_meant(ref_of(log)):
                    found.of(ref_of(log)).logs.append(log)
        for failure in await operator.failures.of_document(local_id):
            if failure["pipeline"] in names and is_meant(ref_of(failure)):
                found.of(ref_of(failure)).failures.append(failure)
    except SyncError as error:
        found.away["MongoDB"] = str(error)
    try:
        await _add_runs(found, pipelines)
    except SyncError as error:
        found.away["Prefect"] = str(error)
    return found


async def _add_runs(found: Trace, pipelines: Iterable[Pipeline]) -> None:
    """Adds the runs that the logs name, and those of this name that no log knows."""
    ids = {run_id for document in found.documents.values() for run_id in document.run_ids()}
    names = {p.manual_run_name(found.local_id): p.name for p in pipelines}
    names |= {p.run_name(found.local_id): p.name for p in pipelines}
    runs = await read_runs(ids, list(names))
    for document in found.documents.values():
        own = document.run_ids()
        document.runs = [
            made
            for made in runs.values()
            if made.id in own
            or (names.get(made.name) == document.ref.pipeline and _is_of(made, document.ref))
        ]


def _is_of(made: Run, ref: DocumentRef) -> bool:
    """Whether a run that has the document's name can be about it."""
    told = made.parameters
    return told.get("pharmacy_code") in (None, ref.pharmacy_code) and told.get("record_id") in (
        None,
        ref.record_id,
    )


def as_json(found: Trace) -> dict[str, Any]:
    """The trace as values."""
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
        "status": row.status.value,
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
        out.print(table(title, ["", ""], _facts(found, document)))
        events = document.events()
        zone = f"{datetime.now(UTC).astimezone():%z}"
        heads = [_("time (UTC{zone})", zone=zone), _("store"), _("what"), _("details")]
        rows = [
            (local_time(event.at), event.store, _(EVENTS[event.kind]), event.details)
            for event in events
        ]
        out.print(table(_("What happened"), heads, rows))
        # Beside the table: an address broken over two lines cannot be opened.
        for made in sorted(
            document.runs, key=lambda made: made.start or datetime.max.replace(tzinfo=UTC)
        ):
            out.print(Text(f"{made.name}: {made.url or made.id}"), soft_wrap=True)
    if not found.documents:
        out.print(Text(_("nothing is known of {document}", document=found.local_id)))
    for part, why in found.away.items():
        out.print(Text(_("{part} is away: {why}", part=part, why=why)))


def _facts(found: Trace, document: Traced) -> list[tuple[str, object]]:
    row = document.row
    if row is None:
        unknown = _("not known") if found.away.get("SQL") else _("its row is gone")
        return [(_("status"), unknown)]
    facts: Mapping[str, object] = {
        _("status"): row.status.value,
        _("national id"): row.national_id,
        _("message"): row.message,
        _("held by claim"): row.claim_token,
        _("lease"): None if row.lease_expires_at is None else _lease(row),
        _("attempts"): row.attempts,
        _("not before"): local_time(row.next_attempt_at),
        _("unconfirmed"): _("yes: it is looked up before it is sent") if row.unconfirmed else None,
        _("written at"): f"{row.created_at:%Y-%m-%d %H:%M:%S}",
    }
    return [(name, value) for name, value in facts.items() if value is not None]


def _lease(row: StoredDocument) -> str:
    text = local_time(row.lease_expires_at)
    if row.lease_live:
        return _("until {time}", time=text)
    return _("ran out at {time}", time=text)
