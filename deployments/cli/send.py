"""`dqg send`: sends one document now by its pipeline's deployment, and follows the run."""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import typer

from deployments.cli.context import (
    ATTENTION,
    AsJson,
    PipelineName,
    open_operator,
    print_json,
    run,
)
from deployments.cli.language import N_, _
from deployments.cli.prefect_api import open_prefect, read_pools, run_url
from deployments.cli.selection import Pharmacy, one_document
from deployments.cli.status import refusal_of
from lib.errors import AlreadySent, ConfigurationError, StoreUnavailable, SyncError
from lib.models import StoredDocument, SyncStatus
from lib.operations.operator import Operator
from lib.operations.send import sent_entry
from lib.pipelines import Pipeline, get_pipeline

#: Seconds between two polls of the run, and until the command explains why it has not begun.
_POLL = 0.3
_DELAY_SECONDS = 10.0

#: States of Prefect in which a run waits for a worker.
_WAITING = ("Scheduled", "Late", "Pending")
#: Types of states in which a run has ended.
_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunState:
    """A state of a run; `type` is Prefect's state type, `COMPLETED` for example."""

    name: str
    type: str
    message: str | None
    timestamp: datetime

    @property
    def text(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


@dataclass(slots=True)
class FollowedRun:
    """A run, and what is known of it so far.

    Attributes:
        states: all its states so far, oldest first.
        waits_for: what a run that has not begun waits for; None until it is queried.
    """

    run_id: str
    states: list[RunState] = field(default_factory=list)
    waits_for: str | None = None

    @property
    def last(self) -> RunState | None:
        return self.states[-1] if self.states else None

    @property
    def state(self) -> str:
        """Name of its last state."""
        return self.last.name if self.last else ""

    @property
    def message(self) -> str | None:
        return (self.last.message if self.last else None) or None

    @property
    def final(self) -> bool:
        return self.last is not None and self.last.type in _FINAL

    @property
    def completed(self) -> bool:
        """Whether it did its work; the state `Waiting` has the type COMPLETED, but another name."""
        return self.state == "Completed"


def send(
    pipeline: Annotated[PipelineName, typer.Argument(help="import, sale, cancellation")],
    local_id: Annotated[str, typer.Argument(help="local id of the document")],
    pharmacy_code: Pharmacy = None,
    force: Annotated[
        bool, typer.Option("--force", help="send it even if it is already accepted")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="seconds to follow the run, which continues after that")
    ] = 300,
    json: AsJson = False,
) -> None:
    """Send one document now, regardless of its status, and follow its run to the end.

    The exit status is 0 only if the document was accepted.
    """
    run(_send(pipeline, local_id, pharmacy_code, force, timeout, json), as_json=json)


async def _send(
    name: PipelineName,
    local_id: str,
    pharmacy_code: str | None,
    force: bool,
    seconds: float,
    json: bool,
) -> int:
    say: Say = (lambda text: None) if json else typer.echo
    pipeline = get_pipeline(name.value)
    async with open_operator() as operator:
        document = _choose_row(await one_document(operator, local_id, name, pharmacy_code), force)
        followed = await start_run(pipeline, document, force)
        entry = sent_entry(document.ref, getpass.getuser())
        await operator.audit.try_note(entry)
        say(
            _(
                "{pipeline} {document} of {shop}, now {status}: run {run}",
                pipeline=pipeline.name,
                document=local_id,
                shop=document.ref.shop_pharmacy_code,
                status=str(document.status),
                run=run_url(followed.run_id) or followed.run_id,
            )
        )
        try:
            await _follow(pipeline, followed, seconds, say)
        except asyncio.CancelledError:
            say(_("stopped following; the run continues"))
            raise
        result = await _result(operator, pipeline, document, followed)
    accepted = result["accepted"]
    if json:
        print_json(result)
    else:
        say(_verdict(result, seconds))
    return 0 if accepted else ATTENTION


def _choose_row(rows: list[StoredDocument], force: bool) -> StoredDocument:
    """The row that a run would claim, chosen as `Claims.claim_one` does.

    Raises:
        AlreadySent.
    """
    pending = [row for row in rows if row.status == SyncStatus.PENDING]
    chosen = (pending or rows)[0]
    if chosen.status == SyncStatus.SUCCESS and not force:
        raise AlreadySent(
            _(
                "{document} is accepted already as {national_id}: only --force sends it again",
                document=chosen.ref.local_id,
                national_id=chosen.national_id or "?",
            )
        )
    return chosen


async def start_run(pipeline: Pipeline, document: StoredDocument, force: bool) -> FollowedRun:
    """Creates the run.

    Raises:
        ConfigurationError: there is no such deployment.
        StoreUnavailable: Prefect is unavailable.
    """
    async with open_prefect() as prefect:
        deployment = await prefect.get(f"/deployments/name/{pipeline.deployment}")
    if deployment is None:
        raise ConfigurationError(
            _(
                "there is no deployment {name}: prefect --no-prompt deploy --all",
                name=pipeline.deployment,
            )
        )
    parameters = {
        pipeline.id_parameter: document.ref.local_id,
        "pharmacy_code": document.ref.pharmacy_code,
        "force": force,
    }
    ordered = {"parameters": parameters, "tags": [pipeline.name]}
    try:
        async with open_prefect() as prefect:
            made = await prefect.post(f"/deployments/{deployment['id']}/create_flow_run", ordered)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            error.store, _("no answer: see in the UI whether a run was started")
        ) from None
    return FollowedRun(made["id"])


async def _follow(pipeline: Pipeline, followed: FollowedRun, seconds: float, say: Say) -> None:
    """Polls the run until it ends or the time is up; prints each of its states.

    Reads the history of states, so that a short state between two polls is not missed.
    """
    begin = time.monotonic()
    away = False
    explained = False
    while True:
        reported = len(followed.states)
        try:
            followed.states = await _states(followed.run_id)
        except StoreUnavailable as error:
            if not away:
                say(_("{error}: still trying", error=error))
            away = True
        else:
            away = False
        passed = time.monotonic() - begin
        for state in followed.states[reported:]:
            since = (state.timestamp - followed.states[0].timestamp).total_seconds()
            say(f"{max(since, 0.0):6.1f} s  {state.text}")
        if followed.final or passed >= seconds:
            return
        if not explained and passed >= _DELAY_SECONDS and followed.state in _WAITING:
            followed.waits_for = await _waits_for(pipeline)
            say(_("the run still waits: {why}", why=followed.waits_for))
            explained = True
        await asyncio.sleep(min(_POLL, max(seconds - passed, 0.05)))


async def _states(run_id: str) -> list[RunState]:
    async with open_prefect() as prefect:
        found = await prefect.get("/flow_run_states/", flow_run_id=run_id)
    states = [
        RunState(
            values["name"],
            values["type"],
            values["message"],
            datetime.fromisoformat(values["timestamp"]),
        )
        for values in found
    ]
    return sorted(states, key=lambda state: state.timestamp)


async def _waits_for(pipeline: Pipeline) -> str:
    try:
        pool = (await read_pools([pipeline.work_pool]))[pipeline.work_pool]
    except SyncError as error:
        return str(error)
    if pool is None:
        return _("there is no work pool {name}", name=pipeline.work_pool)
    return refusal_of(pool) or _("a worker is online, but it is busy or is just starting the run")


async def _result(
    operator: Operator, pipeline: Pipeline, before: StoredDocument, followed: FollowedRun
) -> dict[str, Any]:
    """The document's outcome as the source database has it."""
    ref = before.ref
    found = await asyncio.to_thread(operator.source.documents.get, pipeline, [ref.record_id])
    document = found[0] if found else None
    # A document that is sent again stays accepted until its run has completed.
    happened = followed.completed or before.status != SyncStatus.SUCCESS
    accepted = document is not None and document.status == SyncStatus.SUCCESS and happened
    if not followed.final and followed.waits_for is None and followed.state in _WAITING:
        followed.waits_for = await _waits_for(pipeline)
    return {
        "pipeline": ref.pipeline,
        "local_id": ref.local_id,
        "pharmacy_code": ref.pharmacy_code,
        "shop": ref.shop_pharmacy_code,
        "record_id": ref.record_id,
        "accepted": accepted,
        "status": str(document.status) if document else None,
        "national_id": document.national_id if document else None,
        "reason": None if accepted else _reason(document, followed),
        "run_id": followed.run_id,
        "run_url": run_url(followed.run_id),
        "run_state": followed.state,
        "run_ended": followed.final,
        "waits_for": None if followed.final else followed.waits_for,
    }


def _reason(document: StoredDocument | None, followed: FollowedRun) -> str | None:
    """Why it was not accepted: the message of the run, else that of the row."""
    if not followed.final:
        return None
    return followed.message or (document.message if document else None)


def _verdict(result: dict[str, Any], seconds: float) -> str:
    if result["accepted"]:
        return _("accepted as {national_id}", national_id=result["national_id"] or "?")
    if not result["run_ended"]:
        if result["waits_for"]:
            text = N_("after {seconds} s the run has not begun: {why}; it continues to wait")
        else:
            text = N_("after {seconds} s the run has not ended ({why}); it continues")
        why = result["waits_for"] or result["run_state"]
        return _(text, seconds=format(seconds, "g"), why=why)
    return _(
        "not accepted, {status}: {reason}",
        status=result["status"] or "?",
        reason=result["reason"] or result["run_state"],
    )
