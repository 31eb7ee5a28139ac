"""The history of one document in order of time, from all stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from lib.errors import SyncError
from lib.models import DocumentRef, StoredDocument
from lib.operations.events import Event, Run, events_of_failure, events_of_log, events_of_run
from lib.operations.operator import Operator
from lib.pipelines import Pipeline
from lib.tracking.failures import ref_of
from lib.tracking.task_logs import TaskLogReader

#: Reads the runs with these ids, and the flow runs with these names; the result is by id.
ReadRuns = Callable[[Iterable[str | None], Collection[str]], Awaitable[dict[str, Run]]]


@dataclass(slots=True)
class Traced:
    """One document, and what each store has about it."""

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
        # Without duplicates: a decision is stored in every failure record that it settled.
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
        away: stores that could not be read, with the text of the error.
    """

    local_id: str
    documents: dict[tuple[str, int], Traced] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)

    def of(self, ref: DocumentRef) -> Traced:
        return self.documents.setdefault((ref.pipeline, ref.record_id), Traced(ref))


async def read_trace(
    operator: Operator,
    local_id: str,
    pipelines: list[Pipeline],
    pharmacy_code: str | None = None,
    *,
    read_runs: ReadRuns,
) -> Trace:
    """Reads all stores; unavailable ones are listed in `away`, and the others are still read."""
    found = Trace(local_id)

    def is_meant(ref: DocumentRef) -> bool:
        return pharmacy_code in (None, ref.pharmacy_code)

    async def read_rows() -> None:
        for pipeline in pipelines:
            rows = await asyncio.to_thread(
                operator.source.documents.find, pipeline, local_id, pharmacy_code
            )
            for row in rows:
                found.of(row.ref).row = row

    async def read_records() -> None:
        logs = TaskLogReader(operator.tracking.database)
        names = {pipeline.name for pipeline in pipelines}
        for name in sorted(names):
            for log in await logs.logs_of(name, local_id):
                if is_meant(ref_of(log)):
                    found.of(ref_of(log)).logs.append(log)
        for failure in await operator.failures.of_document(local_id):
            if failure["pipeline"] in names and is_meant(ref_of(failure)):
                found.of(ref_of(failure)).failures.append(failure)

    async def ask(store: str, reading: Awaitable[None]) -> None:
        try:
            await reading
        except SyncError as error:
            found.away[store] = str(error)

    await asyncio.gather(ask("SQL", read_rows()), ask("MongoDB", read_records()))
    # A fixed order, whichever store answered first.
    order = [pipeline.name for pipeline in pipelines]
    found.documents = dict(
        sorted(found.documents.items(), key=lambda entry: (order.index(entry[0][0]), entry[0][1]))
    )
    # Last, because the records contain the ids of the runs.
    await ask("Prefect", _add_runs(found, pipelines, read_runs))
    return found


async def _add_runs(found: Trace, pipelines: Iterable[Pipeline], read_runs: ReadRuns) -> None:
    """Adds the runs that the logs refer to, and other runs with the name of a document."""
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
    """Whether a run with the document's name can belong to the document."""
    parameters = made.parameters
    return parameters.get("pharmacy_code") in (None, ref.pharmacy_code) and parameters.get(
        "record_id"
    ) in (
        None,
        ref.record_id,
    )
