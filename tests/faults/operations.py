"""Scenarios of operation: cancelling, stopping and draining workers, and a wrong clock."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from deployments.local.parts.servers import prefect_client_environment
from deployments.local.supervisor.stack import ROOT
from lib.models import LogStatus
from lib.pipelines import Pipeline
from tests.faults.harness import Harness
from tests.faults.scenario import ScenarioRun
from tests.support.wrong_clock import remove_leftovers, wrong_clock

AN_HOUR = 3600


def cancelled(run: ScenarioRun) -> None:
    """A user cancels the batch runs in the middle of their work."""
    harness = run.harness
    slow = run.start_slowly()
    runs = [
        flow_run["id"] for flow_run in harness.runs([p.name for p in run.pipelines], ["RUNNING"])
    ]
    for run_id in runs:
        harness.cancel(run_id)
    run.fault("batch run cancelled", len(runs))
    run.end_faults(slow)
    run.wait(
        lambda: all(harness.run_state(run_id) not in ("RUNNING", "CANCELLING") for run_id in runs),
        "the cancelled runs have ended",
    )


def worker_stopped(run: ScenarioRun) -> None:
    """Workers get SIGTERM in the middle of a batch: Prefect kills their runs silently."""
    stack = run.harness.stack
    slow = run.start_slowly()
    busy = run.busy()
    for part in busy:
        stack.kill(part, signal.SIGTERM)
    run.fault("worker stopped", len(busy))
    for part in busy:
        run.wait(lambda part=part: not stack.is_running(part), f"the end of {part}")
        stack.start(part)
    run.end_faults(slow)
    run.faults_ended()


def scale_down(run: ScenarioRun) -> None:
    """Our drain command reduces a pool from three workers to one: no run is interrupted."""
    harness, pool = run.harness, run.pipelines[-1].work_pool
    extra = [f"worker-{pool}-2", f"worker-{pool}-3"]
    for name in extra:
        harness.start_worker(pool, name)
    slow = run.start_slowly()
    pids = [pid for name in extra if (pid := harness.stack.pid(name))]
    drained = _drain(harness, pool, pids)
    run.fault("worker drained", len(extra))
    run.expect(drained, f"the drain failed: {harness.stack.log_tail('drain')}")
    for name in extra:
        run.expect(not harness.stack.is_running(name), f"{name} was not stopped")
        harness.remove_worker(name)
    ended = ("CRASHED", "CANCELLED", "FAILED")
    broken = [flow_run["name"] for flow_run in harness.runs([pool], ended, since=run.began)]
    run.expect(not broken, f"the drain interrupted {', '.join(broken)}")
    run.end_faults(slow)
    run.faults_ended()


def clocks_off(run: ScenarioRun) -> None:
    """Workers' clocks are an hour off, one ahead and one behind; leases are not affected."""
    harness = run.harness
    shifts = dict(zip(run.pipelines, (-AN_HOUR, AN_HOUR), strict=False))
    for pipeline, seconds in shifts.items():
        _set_clock(harness, pipeline, wrong_clock(seconds), runs_only=seconds < 0)
        run.fault("clock an hour off")
    try:
        slow = run.slow_down(1000)
        plan = run.seed_documents()
        run.wait_all_accepted()
        names = {pipeline.name for pipeline in shifts}
        tries = Counter(
            (log["pipeline"], log["record_id"])
            for log in harness.logs()
            if log["pipeline"] in names and log["status"] != LogStatus.RELEASED.value
        )
        run.expect(
            tries.total() == len([ref for ref in plan.documents if ref.pipeline in names]),
            f"{tries.total() - len(tries)} documents were sent under two claims: "
            "a live lease was taken for an expired one",
        )
        run.wait(lambda: not run.busy(), "the batches' end")
        wrong = {
            log["pipeline"]: (log["attempts"][-1]["at"] - log["updated_at"]).total_seconds()
            for log in harness.logs()
            if log["pipeline"] in names and log.get("attempts")
        }
        run.expect(
            all(
                abs(wrong.get(p.name, 0.0) - seconds) < AN_HOUR / 2 for p, seconds in shifts.items()
            ),
            f"the clocks of runs were off by {wrong} seconds",
        )
    finally:
        for pipeline in shifts:
            _set_clock(harness, pipeline, {})
        remove_leftovers()
    run.end_faults(slow)
    run.faults_ended()


def _drain(harness: Harness, pool: str, pids: Sequence[int]) -> bool:
    """Run the command of an operator; returns whether it succeeded."""
    with harness.stack.log_file("drain").open("wb") as log:
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "deployments.server.drain", pool),
                *("--timeout", "300", "--stop", *map(str, pids)),
            ],
            cwd=ROOT,
            env={
                **harness.stack.environment,
                **prefect_client_environment(harness.stack, harness.system.prefect),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0


def _set_clock(
    harness: Harness, pipeline: Pipeline, clock: Mapping[str, str], *, runs_only: bool = False
) -> None:
    """Replace a pipeline's worker by one with this clock, or only the clock of its runs.

    Prefect would never give a run to a worker whose clock is behind.
    """
    name = f"worker-{pipeline.work_pool}"
    harness.set_run_environment(pipeline, clock if runs_only else {})
    harness.remove_worker(name)
    harness.start_worker(pipeline.work_pool, name, {} if runs_only else clock)
