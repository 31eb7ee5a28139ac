"""A batch from its first to its last moment: lease, progress, and what it tells at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from lib.models import Document, OutcomeKind
from lib.pipelines import Pipeline
from lib.record import as_records
from lib.sync.batch import Batch, working_on
from lib.sync.lease import Lease
from tasks.markdown import plain
from tasks.services import current_services

logger = logging.getLogger("dqg.batch")

#: Seconds between updates of the progress artifact.
_PROGRESS_PERIOD = 2.0
_ROWS_SHOWN = 200


@asynccontextmanager
async def leased_batch(
    pipeline: Pipeline, token: str, documents: Iterable[Document]
) -> AsyncIterator[Batch]:
    """The batch as the current one, its lease kept alive and its progress shown."""
    services = current_services()
    settings = services.settings
    lease = Lease(
        lambda: asyncio.to_thread(
            services.source.claims.renew, pipeline, token, settings.sync.lease
        ),
        seconds=settings.sync.lease_seconds,
        # A login may come before the call itself.
        margin=2 * (settings.api.connect_timeout + settings.api.read_timeout),
    )
    batch = Batch(
        pipeline=pipeline,
        token=token,
        run_id=str(flow_run.id),
        services=services,
        lease=lease,
        records=as_records(documents),
    )
    # Waiting in the queue has used up a part of the lease: start from a full one.
    await lease.renew_once()
    async with lease, _progress(batch):
        with working_on(batch):
            yield batch


@asynccontextmanager
async def _progress(batch: Batch) -> AsyncIterator[None]:
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


def nothing_to_do(token: str) -> State[None]:
    """The end of a run whose claim holds no document (any more): somebody else has them."""
    return Completed(message=f"nothing to do: no document is held under claim {token}")


async def verdict(batch: Batch, *, single: bool) -> State[None]:
    """The batch's final state, and a table of what was not accepted.

    A refused document is a normal result of a batch, so the batch is completed; a person who sent
    one document wants to see that it was not accepted, so that run fails.
    """
    counts = batch.counts()
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    not_accepted = [
        {
            "document": plain(record.ref.local_id),
            "shop": plain(record.ref.shop_pharmacy_code),
            "outcome": record.outcome.kind.value if record.outcome else "open",
            "class": record.outcome.error_class if record.outcome else None,
            "reason": plain(
                (record.outcome.message or "") if record.outcome else "no outcome was saved"
            ),
        }
        for record in batch
        if not (record.saved and record.outcome and record.outcome.kind is OutcomeKind.ACCEPTED)
    ]
    await acreate_table_artifact(
        table=not_accepted[:_ROWS_SHOWN] or [{"document": "all accepted"}],
        key=f"{batch.pipeline.name}-result",
        description=f"{text} of {len(batch)} documents",
    )
    if single:
        (record,) = batch
        message = (record.outcome.message if record.outcome else None) or text
        accepted = counts[OutcomeKind.ACCEPTED.value] == 1
        return Completed(message=message) if accepted else Failed(message=message)
    if counts["open"]:
        return Failed(message=f"{text}: what is open is left to the next claim or to reconcile")
    return Completed(message=text)
