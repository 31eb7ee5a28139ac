"""`make bench`: measures, prints tables, and writes all results as JSON to the state folder."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from deployments.local.errors import LauncherError
from deployments.local.launcher import INTERRUPTED
from deployments.local.preflight import check_machine
from deployments.local.state import empty_state
from deployments.local.supervisor.service import ServiceFailed
from deployments.local.supervisor.stack import Stack
from tests.benchmarks import costs, growth, report
from tests.benchmarks.goals import goals_of_costs, goals_of_waits, goals_of_ways, goals_table
from tests.benchmarks.options import STEADY_WAYS, Options, read_options
from tests.benchmarks.parts import Parts, start_parts
from tests.benchmarks.runs import BenchmarkFailed, Result, latencies, measure, percentile
from tests.benchmarks.ways import ALL_WAYS

RESULTS = "results.json"
#: Latency of the API in milliseconds while documents appear one by one.
STEADY_LATENCY_MS = 50
#: Warm starts with a poll every two seconds, and cold starts once per minute.
COMPARED = ("auto", "cold")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status."""
    try:
        options = read_options(os.environ)
        check_machine(options.state_dir)
        with (
            empty_state(options.state_dir) as lock,
            Stack(options.state_dir, keep_open=[lock]) as s,
        ):
            results = _run(s, options, arguments)
            _write(options.state_dir / RESULTS, results)
    except (LauncherError, ServiceFailed, BenchmarkFailed) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    print(f"\nas JSON: {options.state_dir / RESULTS}")
    return 0


def _run(stack: Stack, options: Options, arguments: Sequence[str]) -> dict[str, Any]:
    say(f"machine: {psutil.cpu_count()} cores, load before {psutil.getloadavg()[0]:.2f}")
    with start_parts(stack) as parts:
        say("the parts are up")
        if list(arguments) == ["profile"]:
            from tests.benchmarks import profiling

            return _header() | profiling.run(parts, options, say)
        if arguments:
            raise LauncherError(f"{' '.join(arguments)}: there is only `profile`")
        if options.growth:
            return _header() | growth.run(parts, options, say)
        if options.console:
            from tests.benchmarks import console

            return _header() | console.run(parts, options, say)
        return _header() | compare(parts, options)


def compare(parts: Parts, options: Options) -> dict[str, Any]:
    """Each way at each latency, and how long documents wait at a steady rate."""
    results: list[Result] = []
    for latency in options.latencies:
        for key in options.ways:
            documents = options.documents_for(key, latency)
            way = ALL_WAYS[key]
            result = measure(parts, key, way, documents=documents, latency_ms=latency)
            results.append(result)
            say(
                f"{latency} ms, {way.label}: {documents} documents, {result.rate:.2f}/s, "
                f"quiet after {result.settle_seconds:.0f} s more"
            )
    steady = [
        _steady(parts, key, rate, options.steady_seconds)
        for rate in options.steady_rates
        for key in STEADY_WAYS
        if key in options.ways
    ]
    print("\nCPU in milliseconds a document; API calls, events and SQL a document\n")
    print(report.ways_table(results))
    if steady:
        print(f"\nfrom PENDING_SYNC to SYNC_SUCCESS, API at {STEADY_LATENCY_MS} ms\n")
        print(report.steady_table(steady))
    # After the tables above, so that they are printed even if this fails.
    fixed = _costs(parts, options)
    goals = goals_of_ways(results) + goals_of_waits(steady)
    goals += goals_of_costs(fixed.a_run, fixed.idle, fixed.commands, fixed.claims)
    if fixed.idle:
        print("\nwith nothing to do, percent of one core\n")
        print(report.idle_table(fixed.idle, {key: ALL_WAYS[key].label for key in fixed.idle}))
    if fixed.sharing:
        print(f"\n{costs.RUNS} batch runs at once, taken by each of two workers of their pool\n")
        print(
            report.table(["workers", "one", "other"], [[k, *v] for k, v in fixed.sharing.items()])
        )
    if goals:
        print("\n" + goals_table(goals))
    return {
        "ways": [result.as_json() for result in results],
        "goals": [goal.as_json() for goal in goals],
        "steady": steady,
        "costs": asdict(fixed),
    }


def _costs(parts: Parts, options: Options) -> costs.Costs:
    """Costs that do not depend on the number of documents; warm and cold if both are compared."""
    found = costs.Costs()
    if "auto" not in options.ways:
        return found
    for key in [key for key in COMPARED if key in options.ways]:
        found.a_run[key] = costs.cpu_per_run(parts, ALL_WAYS[key])
        say(f"{ALL_WAYS[key].label}: CPU of a run {found.a_run[key]:.2f} s")
        if options.idle_seconds:
            found.idle[key] = costs.idle(parts, ALL_WAYS[key], options.idle_seconds)
            say(f"{ALL_WAYS[key].label}: idle {100 * report.cores_of(found.idle[key]):.1f} %")
    found.commands |= costs.commands(parts, ALL_WAYS["auto"])
    say(", ".join(f"dqg {name}: {seconds:.2f} s" for name, seconds in found.commands.items()))
    for limit in (None, costs.SHARE):
        text = "no --limit" if limit is None else f"--limit {limit}"
        found.sharing[text] = costs.sharing(parts, ALL_WAYS["auto"], limit)
        say(f"{costs.RUNS} runs, two workers, {text}: {found.sharing[text]}")
    found.claims |= growth.claim_growth(parts, options.pending, say)
    return found


def _steady(parts: Parts, key: str, rate: float, seconds: float) -> dict[str, Any]:
    way = ALL_WAYS[key]
    ages = latencies(parts, way, rate=rate, seconds=seconds, latency_ms=STEADY_LATENCY_MS)
    row = {
        "key": key,
        "way": way.label,
        "rate": rate,
        "documents": len(ages),
        "median": percentile(ages, 0.5),
        "p95": percentile(ages, 0.95),
        "max": max(ages),
    }
    say(f"{way.label} at {rate:g} documents/s: median {row['median']:.1f} s")
    return row


def say(message: str) -> None:
    """Print a message with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {message}", flush=True)


def _header() -> dict[str, Any]:
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {
            "cores": psutil.cpu_count(),
            "memory_mb": psutil.virtual_memory().total // 1_000_000,
            "load_before": psutil.getloadavg(),
            "python": platform.python_version(),
        },
    }


def _write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
