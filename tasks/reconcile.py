"""Tasks of `reconcile`: claims and Prefect runs without a live holder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from lib.errors import StoreUnavailable, SyncError
from lib.models import HeldClaim, LogStatus
from lib.pipelines import PIPELINES, get_pipeline
from lib.sanitize import sanitize_exceptions
from lib.services import Services
from lib.sync import reconcile as repair
from lib.sync.reconcile import Repairs
from lib.tracking.task_logs import TaskLogReader
from tasks.runtime import current_services

_OPEN_STATES = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.CANCELLING,
    StateType.PAUSED,
]
_STARTED_STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_PAGE = 200
#: Maximum duration of the scheduler's own flows; after it, the process of a run counts as dead.
_SCHEDULER_LIMITS = {
    "orchestrate": timedelta(minutes=10),
    "reconcile": timedelta(minutes=10),
    "daily-close": timedelta(hours=2),
}


@task(cache_policy=NO_CACHE)
async def repair_logs() -> Repairs:
    """Repair differences between the source database and MongoDB. Idempotent.

    A failed step does not stop the others; if MongoDB is unavailable, that is reported, not raised.
    """
    services = current_services()
    repairs = Repairs()
    steps: Sequence[Callable[[Services, Repairs], Awaitable[None]]] = (
        repair.set_aside_crashing,
        repair.save_accepted,
        repair.close_left_open,
        repair.resolve_failures,
        repair.check_drift,
        repair.find_changed,
    )
    for step in steps:
        try:
            with sanitize_exceptions():
                await step(services, repairs)
        except StoreUnavailable as error:
            repairs.note(f"not done, {error.store} is unavailable", [step.__name__])
        except SyncError as error:
            repairs.note(f"not done: {error}", [step.__name__])
    return repairs


@task(cache_policy=NO_CACHE)
async def repair_claims() -> Repairs:
    """Release documents whose run never started, has ended, or is dead. Idempotent.

    Raises:
        StoreUnavailable: the source database is unavailable.
    """
    services = current_services()
    repairs = Repairs()
    async with get_client() as client:
        for pipeline in PIPELINES.values():
            claims = await asyncio.to_thread(services.source.claims.held, pipeline)
            runs = await _runs_of(client, [claim.token for claim in claims])
            for claim in claims:
                try:
                    await _repair_claim(client, services, claim, runs.get(claim.token), repairs)
                except StoreUnavailable as error:
                    # Other software may have locked its rows; the other claims can be repaired.
                    label = f"{claim.pipeline} claim {claim.token}: {error.message}"
                    repairs.note("claims that could not be released yet", [label])
    return repairs


@task(cache_policy=NO_CACHE)
async def repair_runs(own_run_id: str) -> Repairs:
    """Set runs to Crashed that Prefect shows as running but that have no process. Idempotent."""
    services = current_services()
    repairs = Repairs()
    async with get_client() as client:
        await _crash_dead_batches(client, services, repairs)
        await _crash_orphans(client, repairs)
        await _crash_overdue(client, own_run_id, repairs)
    return repairs


async def abandon_claim(
    services: Services, pipeline: str, token: str, run_id: str, *, vanished: bool
) -> None:
    """Release the documents that an ended run still holds, and set its open subflows to Crashed.

    Idempotent. The documents may have been sent, so they are looked up before they are sent
    again. This does not count as an attempt: a batch has many documents, and a dead process does
    not show which one was the cause.

    Args:
        vanished: its process ended without a result, perhaps because of one of the documents.
    """
    released = await asyncio.to_thread(
        services.source.claims.release,
        get_pipeline(pipeline),
        token,
        unconfirmed=True,
        costs_attempt=False,
        vanished=vanished,
    )
    await services.tracking.close_all(released, token, LogStatus.RELEASED, "its run has ended")
    async with get_client() as client:
        await _crash_children(client, UUID(run_id))


async def _repair_claim(
    client: PrefectClient,
    services: Services,
    claim: HeldClaim,
    run: FlowRun | None,
    repairs: Repairs,
) -> None:
    sync = services.settings.sync
    expired = claim.lease_seconds_left <= 0
    label = f"{claim.pipeline} claim {claim.token} ({claim.documents} documents)"
    if run is None:
        held_for = sync.lease_seconds - claim.lease_seconds_left
        if expired or held_for >= sync.dispatch_grace:
            await _release_untouched(services, claim)
            repairs.note("claims never dispatched: released", [label])
    elif run.state is not None and run.state.is_final():
        # A state can be set by hand while the process is alive: it then still renews the lease.
        if expired:
            vanished = run.state.is_crashed()
            await abandon_claim(
                services, claim.pipeline, claim.token, str(run.id), vanished=vanished
            )
            repairs.note("claims of ended runs: released", [label])
    elif expired and run.start_time is None:
        # No worker took the run in time. It is cancelled, so that such runs do not accumulate.
        await _release_untouched(services, claim)
        await _set_state(client, run, "never started")
        repairs.note("claims that waited too long for a worker: released", [label])
    elif expired:
        await abandon_claim(services, claim.pipeline, claim.token, str(run.id), vanished=True)
        await _set_state(client, run, "the lease of its documents has expired")
        repairs.note("claims of dead runs: released", [label])


async def _release_untouched(services: Services, claim: HeldClaim) -> None:
    released = await asyncio.to_thread(
        services.source.claims.release,
        get_pipeline(claim.pipeline),
        claim.token,
        unconfirmed=None,
        costs_attempt=False,
    )
    await services.tracking.close_all(
        released, claim.token, LogStatus.RELEASED, "its run never started"
    )


async def _runs_of(client: PrefectClient, tokens: list[str]) -> dict[str, FlowRun]:
    """The run of each claim: the token is the run's idempotency key or the run's id."""
    found: dict[str, FlowRun] = {}
    for start in range(0, len(tokens), _PAGE):
        page = tokens[start : start + _PAGE]
        by_key = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=page))
        )
        found.update({run.idempotency_key: run for run in by_key if run.idempotency_key})
        by_id = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(t) for t in page]))
        )
        found.update({str(run.id): run for run in by_id})
    return found


async def _crash_dead_batches(client: PrefectClient, services: Services, repairs: Repairs) -> None:
    """Set dead batch runs to Crashed: they hold no document and show no recent activity.

    A worker has taken them. This includes runs that are still being started: if their worker dies,
    no other worker takes them. A run that is alive after all finds nothing to do. A manual run
    claims only after it has started, so before that it never holds a document, and it is not
    changed.
    """
    held = set()
    for pipeline in PIPELINES.values():
        claims = await asyncio.to_thread(services.source.claims.held, pipeline)
        held |= {claim.token for claim in claims}
    grace = timedelta(seconds=services.settings.sync.dispatch_grace)
    logs = TaskLogReader(services.tracking.database)
    for run in await _open_runs(client, list(PIPELINES)):
        token = run.parameters.get("claim_token")
        begun = run.start_time or (run.state.timestamp if token and run.state else None)
        token = token or str(run.id)
        if token in held or begun is None:
            continue
        signs = [begun, await logs.last_activity(token)]
        if datetime.now(UTC) - max(sign for sign in signs if sign) > grace:
            await _set_state(client, run, "it holds no document and shows no recent activity")
            await _crash_children(client, run.id)
            repairs.note("dead batch runs: set to Crashed", [run.name])


async def _crash_orphans(client: PrefectClient, repairs: Repairs) -> None:
    """Set record runs to Crashed that are shown as running although their batch run has ended."""
    runs = await _open_runs(client, [pipeline.noun for pipeline in PIPELINES.values()])
    parents = {run.parent_task_run_id for run in runs if run.parent_task_run_id}
    if not parents:
        return
    tasks = await client.read_task_runs(
        task_run_filter=TaskRunFilter(id=TaskRunFilterId(any_=list(parents)))
    )
    batch_of = {task_run.id: task_run.flow_run_id for task_run in tasks}
    batches = {
        run.id: run
        for run in await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=[i for i in batch_of.values() if i])
            )
        )
    }
    for run in runs:
        batch_id = batch_of.get(run.parent_task_run_id) if run.parent_task_run_id else None
        batch = batches.get(batch_id) if batch_id else None
        if batch is None or (batch.state is not None and batch.state.is_final()):
            await _set_state(client, run, "its batch run has ended")
            repairs.note("record runs of ended batches: set to Crashed", [run.name])


async def _crash_overdue(client: PrefectClient, own_run_id: str, repairs: Repairs) -> None:
    """Set overdue runs of the scheduler's own flows to Crashed: their process has died."""
    for flow_name, limit in _SCHEDULER_LIMITS.items():
        for run in await _open_runs(client, [flow_name]):
            if str(run.id) == own_run_id or run.start_time is None:
                continue
            if datetime.now(UTC) - run.start_time > limit:
                await _set_state(client, run, "it exceeded its maximum duration")
                repairs.note("overdue scheduler runs: set to Crashed", [run.name])


async def _open_runs(client: PrefectClient, flows: Iterable[str]) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_STARTED_STATES))
        ),
        limit=_PAGE,
    )


async def _crash_children(client: PrefectClient, run_id: UUID) -> None:
    children = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN_STATES)),
        ),
        limit=_PAGE,
    )
    for child in children:
        await _set_state(client, child, "its batch run has ended")


async def _set_state(client: PrefectClient, run: FlowRun, why: str) -> None:
    """Set the final state of a run in Prefect: Crashed if it had started, else Cancelled."""
    message = f"set by reconcile: {why}"
    state: State[Any] = Crashed(message=message) if run.start_time else Cancelled(message=message)
    await client.set_flow_run_state(run.id, state, force=True)
