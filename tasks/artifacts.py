"""Everything that runs show to operators as artifacts of Prefect.

Pages are Markdown, because the UI shows the cells of table artifacts as raw text. In a window of
1400 pixels a page gets 690 pixels, enough for about seven columns. Texts from outside are escaped
with `plain`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from lib.daily_close.csv_file import rows_of
from lib.daily_close.proof import checksum
from lib.daily_close.result import DailyClose, Difference, ShopClose, State
from lib.errors import StoreUnavailable
from lib.models import OutcomeKind, PipelineSummary
from lib.record import Record
from lib.services import Services
from lib.sync.batch import Batch
from lib.sync.reconcile import Repairs
from lib.tracking.availability import HOURS, as_markdown, by_hour, first_hour
from lib.tracking.failures import FailureFilter, FailureGroup, FailureLog, failure_groups
from lib.tracking.task_logs import TaskLogReader
from lib.words.documents import reason
from lib.words.language import Language
from tasks.dispatch import Round
from tasks.runtime import current_services

logger = logging.getLogger("dqg.artifacts")

FAILURE_GROUPS = "failure-groups"
API_AVAILABILITY = "api-availability"
DAILY_CLOSE = "daily-close"
#: Seconds between updates of a batch's progress.
_PROGRESS_PERIOD = 2.0
_RESULTS_SHOWN = 200
_DIFFERENCES_SHOWN = 50
#: Newest failures that are read, and groups of them that are shown.
_FAILURES_READ = 5000
_GROUPS_SHOWN = 50
_SHOPS_SHOWN = 3
#: Characters that begin a tag, a link, an emphasis, code, a heading, an entity or a table cell.
#: Names like `so_lo` are not changed.
_MARKUP = re.compile(r"([\\`*~<\[\]#&|])")
_LIST = re.compile(r"^(\s*)([-+])")


def plain(text: str) -> str:
    """A text on one line, escaped so that Markdown shows it literally."""
    return _LIST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(text.split())))


def link(text: str, path: str) -> str:
    """A relative link within the UI; it works in every version and at every address of the UI.

    Args:
        path: path within the UI; the link starts at an artifact's page, which is two folders deep.
    """
    return f"[{plain(text)}](../..{path})"


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same names as a Markdown table; values are Markdown already."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_cell(row[head]) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


async def _show(key: str, description: str, rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """A page with a table, or with the text `empty` if there are no rows."""
    await acreate_markdown_artifact(
        markdown=as_table(rows) if rows else empty, key=key, description=description
    )


# -- a batch ---------------------------------------------------------------------------------------


@asynccontextmanager
async def show_progress(batch: Batch) -> AsyncIterator[None]:
    """Shows the share of a batch's documents with a saved outcome, while the batch is sent."""
    artifact_id = await acreate_progress_artifact(
        progress=0.0,
        key=f"{batch.pipeline.name}-progress",
        description=f"{batch.pipeline.name} batch {batch.token[:8]}: {len(batch)} documents",
    )
    updates = asyncio.create_task(_keep_updating(batch, artifact_id), name="progress")
    try:
        yield
    finally:
        updates.cancel()
        await asyncio.gather(updates, return_exceptions=True)
    await aupdate_progress_artifact(artifact_id, progress=_percent(batch))


async def _keep_updating(batch: Batch, artifact_id: UUID) -> None:
    shown = 0.0
    while True:
        await asyncio.sleep(_PROGRESS_PERIOD)
        if (now := _percent(batch)) != shown:
            await aupdate_progress_artifact(artifact_id, progress=now)
            shown = now


def _percent(batch: Batch) -> float:
    return round(100 * sum(record.saved for record in batch) / len(batch), 1)


async def show_result(batch: Batch) -> None:
    """A table of documents that were not accepted, and of accepted ones with doubtful values."""
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(batch.counts().items()))
    rows = [_result(record) for record in batch if not _is_accepted(record)]
    rows += [
        _result(record) | {"outcome": "accepted, look at it", "reason": plain("; ".join(warnings))}
        for record in batch
        if _is_accepted(record) and (warnings := record.warnings)
    ]
    await _show(
        f"{batch.pipeline.name}-result",
        f"{text} of {len(batch)} documents",
        rows[:_RESULTS_SHOWN],
        "All accepted.",
    )


def _is_accepted(record: Record) -> bool:
    outcome = record.outcome
    return record.saved and outcome is not None and outcome.kind is OutcomeKind.ACCEPTED


def _result(record: Record) -> dict[str, Any]:
    outcome = record.outcome
    return {
        "document": plain(record.ref.local_id),
        "shop": plain(record.ref.shop_pharmacy_code),
        "outcome": outcome.kind.value if outcome else "open",
        "class": outcome.error_class if outcome else None,
        "reason": plain((outcome.message or "") if outcome else "no outcome was saved"),
    }


# -- orchestrate and reconcile ---------------------------------------------------------------------


async def show_summary(backlog: Sequence[PipelineSummary], done: Round) -> None:
    """What `orchestrate` found and did, by pipeline."""
    await _show(
        "orchestrate-summary",
        "Documents of each pipeline; the note shows what prevents sending",
        summary_rows(backlog, done),
        "There is no pipeline.",
    )


def summary_rows(backlog: Sequence[PipelineSummary], done: Round) -> list[dict[str, Any]]:
    """One row per pipeline. Pure."""
    cut_off = any(summary.before_cut_off for summary in backlog)
    return [
        {
            "pipeline": summary.pipeline,
            "note": _note(summary.pipeline, done),
            "pending": _pending(summary),
            "claimed now": _claimed(done, summary.pipeline),
            "in flight": summary.in_flight,
            "unconfirmed": summary.unconfirmed,
            "last 24 h": f"{summary.succeeded} accepted, {summary.failed} failed",
        }
        | ({"before the cut-off": summary.before_cut_off} if cut_off else {})
        for summary in backlog
    ]


def _note(pipeline: str, done: Round) -> str:
    error = done.errors.get(pipeline)
    return plain(f"error: {error}" if error else done.notes.get(pipeline, ""))


def _pending(summary: PipelineSummary) -> str:
    if summary.oldest_pending_seconds is None:
        return str(summary.pending)
    return f"{summary.pending}, oldest {_age(summary.oldest_pending_seconds)}"


def _claimed(done: Round, pipeline: str) -> str:
    batches = done.dispatched[pipeline]
    return f"{done.claimed[pipeline]} in {batches} {'batch' if batches == 1 else 'batches'}"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


async def show_repairs(repairs: Repairs) -> int:
    """Shows what `reconcile` found and repaired; returns how many."""
    rows = [
        row | {"for example": plain(str(row["for example"]))}
        for row in repairs.rows()
        if row["found"]
    ]
    await _show("reconcile", "What was found and repaired", rows, "Nothing to repair.")
    return sum(int(row["found"]) for row in rows)


@task(cache_policy=NO_CACHE)
async def show_overview() -> None:
    """Renew the artifacts about failures and about the API. Idempotent; never raises."""
    services = current_services()
    for show in (show_failure_groups, show_api_availability):
        await best_effort(show, services)


async def show_failure_groups(services: Services) -> None:
    """Shows the open failures, one line per reason, the largest group first.

    Raises:
        StoreUnavailable.
    """
    log, wanted = FailureLog(services.tracking.database), FailureFilter()
    total = await log.count(wanted)
    groups = await failure_groups(log, services.source, wanted, limit=_FAILURES_READ)
    shown = groups[:_GROUPS_SHOWN]
    runs = await _flow_runs([group.failures[0].get("record_run_id") for group in shown])
    await _show(
        FAILURE_GROUPS,
        _groups_description(total, len(groups)),
        [_group(group, runs, services.settings.sync.language) for group in shown],
        "No open failure.",
    )


async def show_api_availability(services: Services) -> None:
    """How the API answered our own calls, hour by hour.

    Raises:
        StoreUnavailable.
    """
    now = datetime.now(UTC)
    logs = TaskLogReader(services.tracking.database)
    counts = await logs.calls_by_hour(first_hour(now))
    await acreate_markdown_artifact(
        markdown=as_markdown(by_hour(counts, now), f"National API, last {HOURS} hours"),
        key=API_AVAILABILITY,
        description=f"Errors and latency of our own calls in the last {HOURS} hours",
    )


async def best_effort(show: Callable[[Services], Awaitable[None]], services: Services) -> None:
    """Renew an artifact; on an error, warn and keep the old one, so that the run does not fail."""
    try:
        await show(services)
    except StoreUnavailable as error:
        logger.warning(
            "%s not updated: %s is unavailable",
            show.__name__,
            error.store,
            extra={"action": "overview_skipped"},
        )
    except Exception as error:
        logger.warning(
            "%s not updated: %s",
            show.__name__,
            type(error).__name__,
            extra={"action": "overview_failed"},
        )


def _group(group: FailureGroup, runs: set[str], language: Language) -> dict[str, Any]:
    why, example = group.reason, group.failures[0]
    shops = sorted({ref.shop_pharmacy_code for ref in group.refs})
    more = f" and {len(shops) - _SHOPS_SHOWN} more" if len(shops) > _SHOPS_SHOWN else ""
    return {
        "documents": len(group.refs),
        "group": f"`{why.key}`",
        "reason": plain(reason(why.text, language)),
        "field": plain(why.field),
        "drug code": plain(why.drug_code),
        "example": _example(example["local_id"], example.get("record_run_id"), runs),
        "shops": plain(", ".join(shops[:_SHOPS_SHOWN])) + more,
    }


def _example(text: str, run_id: str | None, flow_runs: set[str]) -> str:
    if run_id is None:
        return plain(text)
    return link(text, f"/runs/{'flow-run' if run_id in flow_runs else 'task-run'}/{run_id}")


async def _flow_runs(run_ids: Sequence[str | None]) -> set[str]:
    """Which of these are flow runs; at granularity `task` a document has a task run instead."""
    ids = [UUID(run_id) for run_id in run_ids if run_id]
    if not ids:
        return set()
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids))
        )
    return {str(run.id) for run in found}


def _groups_description(total: int, groups: int) -> str:
    if not total:
        return "No document waits for a decision."
    parts = [f"{total} failures wait for a decision, in {groups} groups by their reason."]
    if total > _FAILURES_READ:
        parts.append(f"Only the newest {_FAILURES_READ} are counted here.")
    if groups > _GROUPS_SHOWN:
        parts.append(f"The largest {_GROUPS_SHOWN} groups are shown.")
    parts.append(
        "The example links to its run. Correct the cause, then run `dqg requeue --group` with "
        "the group's name."
    )
    return " ".join(parts)


# -- the daily close -------------------------------------------------------------------------------


async def show_daily_close(close: DailyClose) -> None:
    """Save a close as an artifact: numbers, differences by name, and the checksum of the rows.

    The artifact belongs to the current run, if any: the command line has none, and the helpers of
    `prefect.artifacts` work in runs only.
    """
    rows = [_shop(shop) for shop in close.shops]
    table = as_table(rows) if rows else "No document has this date."
    run_id = flow_run.get_id()
    async with get_client() as client:
        await client.create_artifact(
            ArtifactCreate(
                key=DAILY_CLOSE,
                type="markdown",
                description=description_of(close),
                data=table,
                flow_run_id=UUID(run_id) if run_id else None,
            )
        )


def description_of(close: DailyClose) -> str:
    """The text above the table. It contains no person's name. Pure."""
    differences = close.differences
    lines = [
        f"**{close.scope}: {'closed' if close.is_closed else 'not closed'}.** {close.summary()}.",
        "",
        f"SHA-256 over the rows of the CSV file: `{checksum(rows_of(close))}`",
    ]
    if failed := close.count(State.FAILED):
        lines += ["", f"{failed} failed: `dqg failures group` and the console show why."]
    if close.notes:
        notes = [note.translated(Language.ENGLISH) for note in close.notes]
        lines += ["", "Not compared:", "", *(f"- {plain(note)}" for note in notes)]
    if differences:
        lines += ["", "Differences:", ""]
        lines += [f"- {plain(_line(item))}" for item in differences[:_DIFFERENCES_SHOWN]]
        if len(differences) > _DIFFERENCES_SHOWN:
            lines.append(f"- and {len(differences) - _DIFFERENCES_SHOWN} more: `dqg close`")
    return "\n".join(lines)


def _line(item: Difference) -> str:
    ref, text = item.ref, item.translated(Language.ENGLISH)
    return f"{ref.pipeline} {ref.local_id} ({ref.shop_pharmacy_code}): {text}"


def _shop(shop: ShopClose) -> dict[str, Any]:
    unknown = "not known"
    return {
        "pipeline": shop.pipeline,
        "shop": plain(shop.shop),
        "documents": shop.documents,
        "accepted": shop.accepted,
        "not accepted": f"{shop.failed} failed, {shop.open} open",
        "in the logs": unknown if shop.logged is None else shop.logged,
        "at the API": f"{shop.present} of {shop.checked} found",
        "amount accepted": f"{shop.accepted_amount:,.2f} of {shop.amount:,.2f}",
    }
