"""`make faults`: one stack, one scenario after another, one line per scenario, and a summary."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
from sqlalchemy.exc import SQLAlchemyError

from deployments.local.errors import LauncherError
from deployments.local.launcher import end_on_signals
from deployments.local.preflight import check_machine
from deployments.local.state import empty_state
from deployments.local.supervisor.service import ServiceFailed
from deployments.local.supervisor.stack import Stack
from lib.errors import SyncError
from lib.pipelines import PIPELINES, Pipeline
from tests.faults import (
    accounts,
    answers,
    bad_input,
    claims,
    crashes,
    database,
    operations,
    single,
    stores,
)
from tests.faults.harness import Harness, open_harness
from tests.faults.options import FaultOptions, read_fault_options
from tests.faults.report import Result, final_line, result_lines
from tests.faults.scenario import Scenario, ScenarioRun, carry_out
from tests.support.wrong_clock import IS_AVAILABLE

#: In the order in which they run.
SCENARIOS: dict[str, Scenario] = {
    "kills": crashes.kills,
    "orchestrators": crashes.orchestrators,
    "answers": answers.answers,
    "no-look-up": answers.no_look_up,
    "outage": answers.outage,
    "throttled": answers.throttled,
    "token-storm": accounts.token_storm,
    "wrong-password": accounts.wrong_password,
    "source-away": stores.source_away,
    "mongo-away": stores.mongo_away,
    "redis-away": stores.redis_away,
    "prefect-restarted": stores.prefect_restarted,
    "lost-lease": crashes.lost_lease,
    "poison": bad_input.poison,
    "cancelled": operations.cancelled,
    "worker-stopped": operations.worker_stopped,
    "scale-down": operations.scale_down,
    "wrong-clock": operations.clocks_off,
    "one-bad-document": single.one_bad_document,
    "crash-poison": single.crash_poison,
    "wrong-refusals": single.wrong_refusals,
    "foreign-values": single.foreign_values,
    "revoked": claims.revoked,
    "same-run-again": claims.same_run_again,
    "changed-rows": claims.changed_rows,
    "database-trouble": database.database_trouble,
}
if not IS_AVAILABLE:
    del SCENARIOS["wrong-clock"]
INTERRUPTED = 130

#: Scenarios of a group, each with its pipelines; an empty sequence means all pipelines.
Group = Mapping[str, Sequence[Pipeline]]


def main() -> int:
    """Run the scenarios that the environment selects; returns the exit status."""
    end_on_signals()
    try:
        options = read_fault_options(os.environ, list(SCENARIOS))
        check_machine(options.state_dir)
        with empty_state(options.state_dir) as lock:
            return run_suite(options, lock)
    except (LauncherError, ServiceFailed, SyncError, SQLAlchemyError, httpx.HTTPError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def run_group(harness: Harness, group: Group, documents: int, seed: int) -> list[Result]:
    """Run scenarios in parallel on an emptied system, each on separate pipelines.

    Args:
        documents: total number for all scenarios.

    Raises:
        ServiceFailed, LauncherError, httpx.HTTPError, SQLAlchemyError: the stack itself is broken.
    """
    harness.reset()
    with ThreadPoolExecutor(len(group)) as threads:
        ends = [
            threads.submit(
                carry_out,
                name,
                SCENARIOS[name],
                make_run(harness, name, pipelines, documents // len(group), seed),
            )
            for name, pipelines in group.items()
        ]
        try:
            return [end.result() for end in ends]
        except BaseException:
            harness.given_up.set()
            raise


def make_run(
    harness: Harness, name: str, pipelines: Sequence[Pipeline], documents: int, seed: int
) -> ScenarioRun:
    """A run whose documents and choices depend only on the seed and the scenario."""
    own = seed * 10_000 + list(SCENARIOS).index(name) * 100
    rng = random.Random(own)  # noqa: S311 - repeatable, not secret
    return ScenarioRun(harness, documents, own, rng, pipelines or tuple(PIPELINES.values()))


def run_suite(options: FaultOptions, lock: int) -> int:
    """Run the suite in a locked, empty state folder; returns the exit status.

    Raises:
        ServiceFailed, LauncherError, httpx.HTTPError, SQLAlchemyError: the stack itself is broken.
    """
    begin = time.monotonic()

    def report(message: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {message}", flush=True)

    results = []
    with (
        Stack(options.state_dir, keep_open=[lock]) as stack,
        open_harness(stack, report) as harness,
    ):
        report(f"seed {options.seed}, logs in {stack.log_dir}")
        for name in options.scenarios:
            (result,) = run_group(harness, {name: ()}, options.documents, options.seed)
            results.append(result)
            for line in result_lines(result):
                report(line)
    print(final_line(results), flush=True)
    return 0 if all(result.clean for result in results) else 1
