"""Scenarios in which a claim is revoked, has two holders, or its rows are changed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, update

from lib.models import DocumentRef, SyncStatus
from lib.pipelines import get_pipeline
from tests.faults.crashes import kill_all
from tests.faults.scenario import ScenarioRun


def revoked(run: ScenarioRun) -> None:
    """A user sets running batch runs to Failed in the UI; their processes continue."""
    slow = run.start_slowly(1000)
    runs = run.harness.runs([p.name for p in run.pipelines], ["RUNNING"])
    for flow_run in runs:
        run.harness.set_run_state(flow_run["id"], "FAILED")
    run.fault("running batch set to Failed", len(runs))
    run.wait(lambda: run.count("accepted"), "the processes go on")
    run.end_faults(slow)
    run.faults_ended()


def same_run_again(run: ScenarioRun) -> None:
    """A killed run is started again under its own claim, as on platforms that retry jobs."""
    slow = run.start_slowly(600)
    runs = run.harness.runs([p.name for p in run.pipelines], ["RUNNING"])
    run.wait(lambda: run.count("accepted"), "a first acceptance")
    for part in run.busy():
        kill_all(run.harness.engines(part))
    run.fault("process killed", len(runs))
    for flow_run in runs:
        run.harness.set_run_state(flow_run["id"], "SCHEDULED")
    run.fault("run started again", len(runs))
    run.end_faults(slow)
    run.faults_ended()


def changed_rows(run: ScenarioRun) -> None:
    """Accepted rows become pending again: unchanged, corrected, and restored from a backup."""
    run.seed_documents()
    run.wait(run.is_done, "every document accepted")
    posts = run.count("posts")
    thirds = {kind: run.plan.succeed[number::3] for number, kind in enumerate(_CHANGES)}
    corrected = thirds["corrected"]
    for kind, refs in thirds.items():
        _CHANGES[kind](run, refs)
        run.fault(f"row {kind}", len(refs))
    # The API still has the accepted version; a person must decide about the correction.
    run.stored_before |= set(corrected)
    for ref in corrected:
        run.must_fail(ref, "changed_after_acceptance")
    run.wait(run.is_done, "every document final and free")
    run.expect(run.count("posts") == posts, f"{run.count('posts') - posts} documents sent blindly")


def _set_pending(run: ScenarioRun, refs: Sequence[DocumentRef]) -> None:
    with run.harness.engine.begin() as connection:
        for ref in refs:
            header = run.harness.tables.header(get_pipeline(ref.pipeline))
            connection.execute(
                update(header)
                .where(header.c.id == ref.record_id)
                .values(status=SyncStatus.PENDING.value)
            )


def _correct(run: ScenarioRun, refs: Sequence[DocumentRef]) -> None:
    with run.harness.engine.begin() as connection:
        for ref in refs:
            pipeline = get_pipeline(ref.pipeline)
            details = run.harness.tables.details(pipeline)
            connection.execute(
                update(details)
                .where(run.harness.tables.foreign_key(pipeline) == ref.record_id)
                .values(quantity=details.c.quantity + 1)
            )
    _set_pending(run, refs)


def _restore(run: ScenarioRun, refs: Sequence[DocumentRef]) -> None:
    """Set rows back to their state before the acceptance, in our table as well."""
    tables = run.harness.tables
    with run.harness.engine.begin() as connection:
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
