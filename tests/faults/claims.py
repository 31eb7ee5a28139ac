"""Scenarios in which a claim is taken from its holder, or has two, or its rows are changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, update

from lib.models import DocumentRef, SyncStatus
from lib.pipelines import get_pipeline
from tests.faults.crashes import kill_all
from tests.faults.trial import Trial


def revoked(trial: Trial) -> None:
    """Somebody sets running batch runs to Failed in the UI; their processes live on."""
    slow = trial.start_slowly(1000)
    runs = trial.bench.runs([p.name for p in trial.pipelines], ["RUNNING"])
    for run in runs:
        trial.bench.set_run_state(run["id"], "FAILED")
    trial.fault("running batch set to Failed", len(runs))
    trial.wait(lambda: trial.count("accepted"), "the processes go on")
    trial.end_faults(slow)
    trial.healed()


def same_run_again(trial: Trial) -> None:
    """A killed run is started again under its own claim, as platforms do that retry jobs."""
    slow = trial.start_slowly(600)
    runs = trial.bench.runs([p.name for p in trial.pipelines], ["RUNNING"])
    trial.wait(lambda: trial.count("accepted"), "a first acceptance")
    for part in trial.busy():
        kill_all(trial.bench.engines(part))
    trial.fault("process killed", len(runs))
    for run in runs:
        trial.bench.set_run_state(run["id"], "SCHEDULED")
    trial.fault("run started again", len(runs))
    trial.end_faults(slow)
    trial.healed()


def changed_rows(trial: Trial) -> None:
    """Accepted rows come back as pending: as they were, corrected, and from a backup."""
    trial.seed_documents()
    trial.wait(trial.is_done, "every document accepted")
    posts = trial.count("posts")
    thirds = {kind: trial.plan.succeed[number::3] for number, kind in enumerate(_CHANGES)}
    corrected = thirds["corrected"]
    for kind, refs in thirds.items():
        _CHANGES[kind](trial, refs)
        trial.fault(f"row {kind}", len(refs))
    # What was accepted is still there; the correction waits for a person.
    trial.stored_before |= set(corrected)
    for ref in corrected:
        trial.must_fail(ref, "changed_after_acceptance")
    trial.wait(trial.is_done, "every document final and free")
    trial.expect(
        trial.count("posts") == posts, f"{trial.count('posts') - posts} documents sent blindly"
    )


def _set_pending(trial: Trial, refs: Sequence[DocumentRef]) -> None:
    with trial.bench.engine.begin() as connection:
        for ref in refs:
            header = trial.bench.tables.header(get_pipeline(ref.pipeline))
            connection.execute(
                update(header)
                .where(header.c.id == ref.record_id)
                .values(status=SyncStatus.PENDING.value)
            )


def _correct(trial: Trial, refs: Sequence[DocumentRef]) -> None:
    with trial.bench.engine.begin() as connection:
        for ref in refs:
            pipeline = get_pipeline(ref.pipeline)
            details = trial.bench.tables.details(pipeline)
            connection.execute(
                update(details)
                .where(trial.bench.tables.foreign_key(pipeline) == ref.record_id)
                .values(quantity=details.c.quantity + 1)
            )
    _set_pending(trial, refs)


def _restore(trial: Trial, refs: Sequence[DocumentRef]) -> None:
    """As a backup of before the acceptance has them, in our table as well."""
    tables = trial.bench.tables
    with trial.bench.engine.begin() as connection:
        for ref in refs:
            pipeline = get_pipeline(ref.pipeline)
            header = tables.header(pipeline)
            connection.execute(
                update(header)
                .where(header.c.id == ref.record_id)
                .values(
                    {
                        header.c.status: SyncStatus.PENDING.value,
                        header.c.sync_response_message: None,
                        tables.national_id(pipeline): None,
                    }
                )
            )
            connection.execute(
                delete(tables.delivery).where(
                    tables.delivery.c.pipeline == ref.pipeline,
                    tables.delivery.c.record_id == ref.record_id,
                )
            )


_CHANGES = {"set to pending": _set_pending, "corrected": _correct, "restored": _restore}
