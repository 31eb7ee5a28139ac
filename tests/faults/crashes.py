"""Scenarios in which processes are killed, are suspended, or lose their claim."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence

import psutil

from tests.faults.driver import MOMENTS
from tests.faults.harness import DRIVER, Harness, driver_arguments
from tests.faults.scenario import ScenarioRun

#: Number of kills with a full load, and with a small one.
KILLS, FEW_KILLS = 10, 2
FULL_LOAD = 300
WAYS = ("worker and run", "launcher", "preloaded process", "worker", "run")
#: Logged by a holder whose write the source database refused.
REFUSED_WRITE = "the next holder writes its outcome"


def kills(run: ScenarioRun) -> None:
    """Workers and flow-run processes are killed in the middle of batches.

    First between the API's acceptance and the write-back, then at random moments.
    """
    harness = run.harness
    slow = run.slow_down(500)
    unanswered = run.add_fault("accept_then_hang", seconds=30)
    run.seed_documents()
    run.wait(lambda: run.fired(unanswered), "a document accepted and not answered")
    for part in run.busy():
        kill_all(harness.engines(part))
    run.fault("kill after acceptance")
    run.end_faults(unanswered)
    wanted = KILLS if run.documents >= FULL_LOAD else FEW_KILLS
    while run.faults.total() < wanted and not run.is_done():
        run.wait(lambda: run.busy() or run.is_done(), "a batch to kill")
        time.sleep(run.rng.uniform(0, 5))
        if not (busy := run.busy()):
            continue
        part = run.rng.choice(busy)
        # The seed also decides, since a small load allows only a few kills.
        way = WAYS[(run.seed // 10_000 + run.faults.total()) % len(WAYS)]
        with contextlib.suppress(psutil.NoSuchProcess):
            _kill(harness, part, way)
        run.fault(f"kill of {way}")
        if way.startswith("worker"):
            harness.stack.restart(part)
    run.end_faults(slow)
    run.faults_ended()


def _kill(harness: Harness, part: str, way: str) -> None:
    """Kill a worker, its runs, or only one part of a warm start."""
    victims = {
        "worker": [],
        "launcher": harness.launchers(part),
        "preloaded process": harness.preloaded(part),
    }.get(way, harness.engines(part))
    if way.startswith("worker"):
        harness.stack.kill(part)
    kill_all(victims)


def orchestrators(run: ScenarioRun) -> None:
    """The orchestrator is killed before or after a dispatch; then two run at once."""
    harness = run.harness
    harness.stack.stop(DRIVER)
    run.seed_documents()
    for moment in MOMENTS:
        name = f"dying-{moment}"
        harness.start_driver(name, "--die", moment)
        run.wait(lambda name=name: not harness.stack.is_running(name), "the orchestrator's death")
        run.fault(f"orchestrator killed {moment} dispatch")
        harness.stack.remove(name)
    often = ("--orchestrate-every", "0.5")
    harness.start_driver(DRIVER, *driver_arguments(), *often)
    harness.start_driver("second", *driver_arguments(), *often)
    run.fault("second orchestrator")
    try:
        run.wait(run.is_done, "every document final")
    finally:
        harness.stack.remove("second")
        harness.stack.remove(DRIVER)
        harness.start_driver(DRIVER, *driver_arguments())


def lost_lease(run: ScenarioRun) -> None:
    """A batch is suspended for longer than its lease, continues, and has lost its claim."""
    harness = run.harness
    refused_before = _refused_writes(run)
    # Shorter than the client's timeout: the answers are waiting when the holder continues.
    slow = run.start_slowly(1500)
    # The preloaded process is not part of the batch: other runs are forked from it meanwhile.
    preloaded = {process.pid for part in run.busy() for process in harness.preloaded(part)}
    standing = [
        process
        for part in run.busy()
        for process in harness.engines(part)
        if process.pid not in preloaded
    ]
    run.wait(lambda: run.count("posts") >= 3, "several answers under way")
    _signal_all(standing, signal.SIGSTOP)
    run.fault("holder stood still", len(run.busy()))
    run.end_faults(slow)
    try:
        # The worker itself continues: it starts the run that takes over.
        run.wait(run.is_done, "another run has taken over")
    finally:
        _signal_all(standing, signal.SIGCONT)
    run.faults_ended()
    run.wait(lambda: not any(map(_is_alive, standing)), "the old holder's end")
    run.expect(run.count("lookups"), "nobody looked up what the vanished holder had sent")
    run.expect(_refused_writes(run) > refused_before, "no write of the old holder was refused")


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Send SIGKILL; processes that have already ended are ignored."""
    _signal_all(processes, signal.SIGKILL)


def _signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _refused_writes(run: ScenarioRun) -> int:
    return sum(
        _log_of(run.harness, f"worker-{pipeline.name}").count(REFUSED_WRITE)
        for pipeline in run.pipelines
    )


def _log_of(harness: Harness, part: str) -> str:
    return harness.stack.log_file(part).read_text(encoding="utf-8", errors="replace")
