"""Costs that do not depend on the number of documents: a batch run, the idle stack, a command."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import uuid4

import httpx

from deployments.local.parallel import at_once, run_command
from deployments.local.parts.servers import prefect_client_environment, start_worker
from deployments.local.supervisor.stack import Stack
from lib.pipelines import SALE
from tests.benchmarks.meters import CLIENT, Meter
from tests.benchmarks.parts import Parts
from tests.benchmarks.report import GROWTH
from tests.benchmarks.runs import BenchmarkFailed
from tests.benchmarks.site import Site, new_site
from tests.benchmarks.ways import Way

RUNS = 8
#: Enough to have a sale for every run.
_DOCUMENTS = 60
_LEASE = timedelta(minutes=5)
_DAY = 86_400
_SETTLE_SECONDS = 20.0
_DEADLINE = 120.0
#: Long enough that one worker's runs are still in progress when the other worker polls.
_LONG_CALL_MS = 3000
#: Maximum concurrent runs of each of two workers, if limited.
SHARE = 2


@dataclass
class Costs:
    """The measured costs; the names are those of the arguments of `goals.goals_of_costs`."""

    a_run: dict[str, float] = field(default_factory=dict)
    idle: dict[str, dict[str, float]] = field(default_factory=dict)
    commands: dict[str, float] = field(default_factory=dict)
    claims: dict[int, float] = field(default_factory=dict)
    sharing: dict[str, list[int]] = field(default_factory=dict)


def cpu_per_run(parts: Parts, way: Way) -> float:
    """CPU seconds of a batch run with one document, minus the CPU time of the idle worker.

    Raises:
        BenchmarkFailed: a run did not send its document.
    """
    site = new_site(parts, documents=_DOCUMENTS, latency_ms=0, settings=way.settings)
    with way.start(site, False) as running:
        meter = Meter(parts.stack, {CLIENT: running.parts})
        # The first run starts processes that keep running.
        _run_batch(site)
        idle = meter.rate(5)[CLIENT]
        before = meter.read()
        for _ in range(RUNS):
            _run_batch(site)
        after = meter.read()
    site.close()
    return (after.since(before)[CLIENT] - idle * (after.at - before.at)) / RUNS


def idle(parts: Parts, way: Way, seconds: float) -> dict[str, float]:
    """Measure the whole stack with active schedules and nothing to do.

    Returns:
        The share of one core by group of parts, and the growth of the Prefect database, GB per day.
    """
    site = new_site(parts, documents=0, latency_ms=0, settings=way.settings)
    with way.start(site, True) as running:
        # The first run starts processes that keep running.
        running.dispatch()
        parts.pause_schedules(False)
        meter = Meter(parts.stack, parts.groups | {CLIENT: running.parts})
        time.sleep(_SETTLE_SECONDS)
        size = parts.prefect_bytes()
        shares = meter.rate(seconds)
        grown = parts.prefect_bytes() - size
        parts.pause_schedules(True)
    site.close()
    return shares | {GROWTH: grown / 1e9 * _DAY / seconds}


def commands(parts: Parts, way: Way) -> dict[str, float]:
    """CPU seconds of `dqg --help` and `dqg status`, and seconds until `dqg send` returns.

    Raises:
        LauncherError: one of them failed.
    """
    site = new_site(parts, documents=_DOCUMENTS, latency_ms=0, settings=way.settings)
    with way.start(site, False):
        found = {name: _command(site, [name])[0] for name in ("--help", "status")}
        # The first run starts processes that keep running.
        for _ in range(2):
            found["send"] = _command(site, ["send", SALE.name, _pending_sale(site)])[1]
    site.close()
    return found


def _command(site: Site, arguments: Sequence[str]) -> tuple[float, float]:
    """CPU seconds and elapsed seconds of a command."""
    parts = site.parts
    environment = prefect_client_environment(parts.stack, parts.prefect) | site.environment
    # The probe that counts API calls would cost a short command more than the command itself.
    del environment["PYTHONPATH"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    run_command(parts.stack, f"dqg-{arguments[0].strip('-')}", command, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begin


def sharing(parts: Parts, way: Way, limit: int | None) -> list[int]:
    """How many of `RUNS` batch runs, created at once, each of two workers of the pool takes.

    Args:
        limit: maximum concurrent runs of each worker, None for no limit.

    Raises:
        BenchmarkFailed: not every run was taken by one of the two.
    """
    site = new_site(parts, documents=_DOCUMENTS, latency_ms=_LONG_CALL_MS, settings=way.settings)
    stack, names = parts.stack, [f"shares-{limit or 'all'}-{number}" for number in (1, 2)]
    starts = [partial(_start_sharing, site, name, limit) for name in names]
    at_once(stack, *starts)
    with _prefect(site) as client:
        # A worker that polls while the runs are created must not find only the first ones.
        _pause(client, paused=True)
        runs = [_order_batch(site, client) for _ in range(RUNS)]
        _pause(client, paused=False)
        for run_id in runs:
            _finish(client, run_id)
    taken = _finished_by(stack, names)
    for name in names:
        stack.remove(name)
    site.close()
    if sum(taken) != RUNS:
        raise BenchmarkFailed(f"of {RUNS} runs the workers have taken {taken}")
    return sorted(taken, reverse=True)


def _finished_by(stack: Stack, workers: Sequence[str]) -> list[int]:
    """How many runs each worker has logged as finished; the log line follows shortly after the end.

    Submitted runs are not counted: a worker may try to take a run that the other one has taken.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        logs = [stack.log_file(name).read_text(encoding="utf-8") for name in workers]
        found = [len(re.findall(r"Flow run '.*' - Finished", log)) for log in logs]
        if sum(found) >= RUNS or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _start_sharing(site: Site, name: str, limit: int | None) -> str:
    parts = site.parts
    return start_worker(parts.stack, parts.prefect, SALE.work_pool, site.environment, name, limit)


def _pause(client: httpx.Client, *, paused: bool) -> None:
    client.patch(f"/work_pools/{SALE.work_pool}", json={"is_paused": paused}).raise_for_status()


def _prefect(site: Site) -> httpx.Client:
    return httpx.Client(base_url=site.parts.prefect.api_url, timeout=30, trust_env=False)


def _run_batch(site: Site) -> None:
    """Let a worker run a batch of one sale, and wait for its end."""
    pending = site.pending()
    with _prefect(site) as client:
        _finish(client, _order_batch(site, client))
    if site.pending() != pending - 1:
        raise BenchmarkFailed(f"a run of {SALE.name} has not sent its document")


def _order_batch(site: Site, client: httpx.Client) -> str:
    """Claim one sale and create a run for it; returns the run's id."""
    token = str(uuid4())
    site.store.claims.claim(SALE, token=token, limit=1, lease=_LEASE)
    found = client.get(f"/deployments/name/{SALE.deployment}").raise_for_status().json()
    run = client.post(
        f"/deployments/{found['id']}/create_flow_run",
        json={
            "state": {"type": "SCHEDULED"},
            "parameters": {"claim_token": token, "granularity": "task"},
        },
    )
    return str(run.raise_for_status().json()["id"])


def _finish(client: httpx.Client, run_id: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while client.get(f"/flow_runs/{run_id}").json()["state_type"] != "COMPLETED":
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"a run of {SALE.name} has not completed")
        time.sleep(0.2)


def _pending_sale(site: Site) -> str:
    token = str(uuid4())
    (document,) = site.store.claims.claim(SALE, token=token, limit=1, lease=_LEASE).documents
    site.store.claims.release(SALE, token, unconfirmed=None, costs_attempt=False)
    return document.local_id
