"""Scenarios in which processes die, stand still, or lose what they hold."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence

import psutil

from tests.faults.bench import DRIVER, Bench, driver_arguments
from tests.faults.driver import MOMENTS
from tests.faults.trial import Trial

#: Kills with a full load, and with a small one.
KILLS, FEW_KILLS = 10, 2
FULL_LOAD = 300
WAYS = ("worker and run", "launcher", "preloaded process", "worker", "run")
#: Said by a holder whose write the source database refused.
REFUSED_WRITE = "its outcome is the next holder's"


def kills(trial: Trial) -> None:
    """Workers and flow-run processes are killed in the middle of batches.

    The first time between the API's acceptance and the write-back, then at random moments.
    """
    bench = trial.bench
    slow = trial.slow_down(500)
    unanswered = trial.add_fault("accept_then_hang", seconds=30)
    trial.seed_documents()
    trial.wait(lambda: trial.fired(unanswered), "a document accepted and not answered")
    for part in trial.busy():
        kill_all(bench.engines(part))
    trial.fault("kill after acceptance")
    trial.end_faults(unanswered)
    wanted = KILLS if trial.documents >= FULL_LOAD else FEW_KILLS
    while trial.faults.total() < wanted and not trial.is_done():
        trial.wait(lambda: trial.busy() or trial.is_done(), "a batch to kill")
        time.sleep(trial.rng.uniform(0, 5))
        if not (busy := trial.busy()):
            continue
        part = trial.rng.choice(busy)
        # By the seed as well: a small load has room for few of them.
        way = WAYS[(trial.seed // 10_000 + trial.faults.total()) % len(WAYS)]
        with contextlib.suppress(psutil.NoSuchProcess):
            _kill(bench, part, way)
        trial.fault(f"kill of {way}")
        if way.startswith("worker"):
            bench.stack.restart(part)
    trial.end_faults(slow)
    trial.healed()


def _kill(bench: Bench, part: str, way: str) -> None:
    """Kill a worker, what it runs, or a part of a warm start alone."""
    victims = {
        "worker": [],
        "launcher": bench.launchers(part),
        "preloaded process": bench.preloaded(part),
    }.get(way, bench.engines(part))
    if way.startswith("worker"):
        bench.stack.kill(part)
    kill_all(victims)


def orchestrators(trial: Trial) -> None:
    """The orchestrator dies around the dispatch of a claim; then two of them run at once."""
    bench = trial.bench
    bench.stack.stop(DRIVER)
    trial.seed_documents()
    for moment in MOMENTS:
        name = f"dying-{moment}"
        bench.start_driver(name, "--die", moment)
        trial.wait(lambda name=name: not bench.stack.is_running(name), "the orchestrator's death")
        trial.fault(f"orchestrator killed {moment} dispatch")
        bench.stack.remove(name)
    often = ("--orchestrate-every", "0.5")
    bench.start_driver(DRIVER, *driver_arguments(), *often)
    bench.start_driver("second", *driver_arguments(), *often)
    trial.fault("second orchestrator")
    try:
        trial.wait(trial.is_done, "every document final")
    finally:
        bench.stack.remove("second")
        bench.stack.remove(DRIVER)
        bench.start_driver(DRIVER, *driver_arguments())


def lost_lease(trial: Trial) -> None:
    """A batch stands still for longer than its lease, goes on, and finds itself dispossessed."""
    bench = trial.bench
    refused_before = _refused_writes(trial)
    # Within the client's patience: the answers wait for the holder when it goes on.
    slow = trial.start_slowly(1500)
    # The process that runs are forked from is not the batch: others start from it meanwhile.
    preloaded = {process.pid for part in trial.busy() for process in bench.preloaded(part)}
    standing = [
        process
        for part in trial.busy()
        for process in bench.engines(part)
        if process.pid not in preloaded
    ]
    trial.wait(lambda: trial.count("posts") >= 3, "several answers under way")
    _signal_all(standing, signal.SIGSTOP)
    trial.fault("holder stood still", len(trial.busy()))
    trial.end_faults(slow)
    try:
        # The worker itself goes on: it starts the run of whoever takes over.
        trial.wait(trial.is_done, "another run has taken over")
    finally:
        _signal_all(standing, signal.SIGCONT)
    trial.healed()
    trial.wait(lambda: not any(map(_is_alive, standing)), "the old holder's end")
    trial.expect(trial.count("lookups"), "nobody looked up what the vanished holder had sent")
    trial.expect(_refused_writes(trial) > refused_before, "no write of the old holder was refused")


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL; those that are gone already are gone."""
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


def _refused_writes(trial: Trial) -> int:
    return sum(
        _log_of(trial.bench, f"worker-{pipeline.name}").count(REFUSED_WRITE)
        for pipeline in trial.pipelines
    )


def _log_of(bench: Bench, part: str) -> str:
    return bench.stack.log_file(part).read_text(encoding="utf-8", errors="replace")
