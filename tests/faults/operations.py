"""Scenarios of operation: cancelling, stopping and draining workers, and a clock that is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments.local.parts.servers import prefect_client_environment
from deployments.local.supervisor.stack import ROOT
from lib.models import LogStatus
from tests.faults.bench import Bench
from tests.faults.trial import Trial

CLOCK_HOOK = Path(__file__).with_name("clock")
AN_HOUR = 3600


def cancelled(trial: Trial) -> None:
    """A person cancels the batch runs in the middle of their work."""
    bench = trial.bench
    slow = trial.start_slowly()
    runs = [run["id"] for run in bench.runs([p.name for p in trial.pipelines], ["RUNNING"])]
    for run_id in runs:
        bench.cancel(run_id)
    trial.fault("batch run cancelled", len(runs))
    trial.end_faults(slow)
    trial.wait(
        lambda: all(bench.run_state(run_id) not in ("RUNNING", "CANCELLING") for run_id in runs),
        "the cancelled runs have ended",
    )


def worker_stopped(trial: Trial) -> None:
    """Workers get SIGTERM in the middle of a batch: Prefect kills their runs and says nothing."""
    stack = trial.bench.stack
    slow = trial.start_slowly()
    busy = trial.busy()
    for part in busy:
        stack.kill(part, signal.SIGTERM)
    trial.fault("worker stopped", len(busy))
    for part in busy:
        trial.wait(lambda part=part: not stack.is_running(part), f"the end of {part}")
        stack.start(part)
    trial.end_faults(slow)
    trial.healed()


def scale_down(trial: Trial) -> None:
    """A pool goes from three workers to one by our own drain: nothing is interrupted."""
    bench, pool = trial.bench, trial.pipelines[-1].work_pool
    extra = [f"worker-{pool}-2", f"worker-{pool}-3"]
    for name in extra:
        bench.start_worker(pool, name)
    slow = trial.start_slowly()
    pids = [pid for name in extra if (pid := bench.stack.pid(name))]
    drained = _drain(bench, pool, pids)
    trial.fault("worker drained", len(extra))
    trial.expect(drained, f"the drain failed: {bench.stack.log_tail('drain')}")
    for name in extra:
        trial.expect(not bench.stack.is_running(name), f"{name} was not stopped")
        bench.remove_worker(name)
    ended = ("CRASHED", "CANCELLED", "FAILED")
    broken = [run["name"] for run in bench.runs([pool], ended, since=trial.began)]
    trial.expect(not broken, f"the drain interrupted {', '.join(broken)}")
    trial.end_faults(slow)
    trial.healed()


def wrong_clock(trial: Trial) -> None:
    """Workers' clocks are an hour off, one ahead and one behind; leases do not care."""
    bench = trial.bench
    # Prefect itself would never give a run to a worker that lives an hour ago: only its runs do.
    ahead = {"PYTHON_CLOCK_SHIFT_SECONDS": str(AN_HOUR)}
    behind = {
        "PYTHON_CLOCK_SHIFT_SECONDS": str(-AN_HOUR),
        "PYTHON_CLOCK_SHIFT_EXCEPT": "worker start",
    }
    pools = [pipeline.work_pool for pipeline in trial.pipelines]
    shifts = dict(zip(pools, (behind, ahead), strict=False))
    for pool, shift in shifts.items():
        _replace_worker(bench, pool, {"PYTHONPATH": str(CLOCK_HOOK), **shift})
        trial.fault("clock an hour off")
    try:
        slow = trial.slow_down(1000)
        plan = trial.seed_documents()
        trial.wait_all_accepted()
        tries = Counter(
            (log["pipeline"], log["record_id"])
            for log in bench.logs()
            if log["pipeline"] in shifts and log["status"] != LogStatus.RELEASED.value
        )
        trial.expect(
            tries.total() == len([ref for ref in plan.documents if ref.pipeline in shifts]),
            f"{tries.total() - len(tries)} documents were sent under two claims: "
            "a live lease was taken for an expired one",
        )
        trial.wait(lambda: not trial.busy(), "the batches' end")
    finally:
        for pool in shifts:
            _replace_worker(bench, pool, {})
    trial.end_faults(slow)
    trial.healed()


def _drain(bench: Bench, pool: str, pids: Sequence[int]) -> bool:
    """Run the command an operator would run; whether it succeeded."""
    with bench.stack.log_file("drain").open("wb") as log:
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "deployments.server.drain", pool),
                *("--timeout", "300", "--stop", *map(str, pids)),
            ],
            cwd=ROOT,
            env={
                **bench.stack.environment,
                **prefect_client_environment(bench.stack, bench.system.prefect),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0


def _replace_worker(bench: Bench, pool: str, environment: Mapping[str, str]) -> None:
    name = f"worker-{pool}"
    bench.remove_worker(name)
    bench.start_worker(pool, name, environment)
