"""What is paid whatever the number of documents: a batch run, the idle stack, a command."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import httpx

from deployments.local.parallel import run_command
from deployments.local.parts.servers import prefect_client_environment
from lib.pipelines import SALE
from tests.benchmarks.meters import CLIENT, Meter
from tests.benchmarks.parts import Parts
from tests.benchmarks.report import GROWTH
from tests.benchmarks.runs import BenchmarkFailed
from tests.benchmarks.site import Site, new_site
from tests.benchmarks.ways import Way

RUNS = 6
#: Enough that there are sales for every run.
_DOCUMENTS = 60
_LEASE = timedelta(minutes=5)
_DAY = 86_400
_SETTLE_SECONDS = 20.0
_DEADLINE = 120.0


@dataclass
class Costs:
    """What was measured of them; as the arguments of `goals.goals_of_costs`."""

    a_run: dict[str, float] = field(default_factory=dict)
    idle: dict[str, dict[str, float]] = field(default_factory=dict)
    commands: dict[str, float] = field(default_factory=dict)
    claims: dict[int, float] = field(default_factory=dict)


def cpu_of_a_run(parts: Parts, way: Way) -> float:
    """CPU seconds of a batch run with one document, above what the idle worker uses.

    Raises:
        BenchmarkFailed: a run did not send its document.
    """
    site = new_site(parts, documents=_DOCUMENTS, latency_ms=0, settings=way.settings)
    with way.start(site, False) as running:
        meter = Meter(parts.stack, {CLIENT: running.parts})
        # The first run starts what stays.
        _run_batch(site)
        idle = meter.rate(5)[CLIENT]
        before = meter.read()
        for _ in range(RUNS):
            _run_batch(site)
        after = meter.read()
    site.close()
    return (after.since(before)[CLIENT] - idle * (after.at - before.at)) / RUNS


def idle(parts: Parts, way: Way, seconds: float) -> dict[str, float]:
    """The whole stack with its schedules on and nothing to do.

    Returns:
        The share of one core by group of parts; what the Prefect database grows by, GB per day.
    """
    site = new_site(parts, documents=0, latency_ms=0, settings=way.settings)
    with way.start(site, True) as running:
        # The first run starts what stays.
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
    """CPU seconds of `dqg --help` and `dqg status`, and seconds until `dqg send` is back.

    Raises:
        LauncherError: one of them failed.
    """
    site = new_site(parts, documents=_DOCUMENTS, latency_ms=0, settings=way.settings)
    with way.start(site, False):
        found = {name: _command(site, [name])[0] for name in ("--help", "status")}
        # The first run starts what stays.
        for _ in range(2):
            found["send"] = _command(site, ["send", SALE.name, _pending_sale(site)])[1]
    site.close()
    return found


def _command(site: Site, arguments: Sequence[str]) -> tuple[float, float]:
    """CPU seconds and seconds of a command."""
    parts = site.parts
    environment = prefect_client_environment(parts.stack, parts.prefect) | site.environment
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    run_command(parts.stack, f"dqg-{arguments[0].strip('-')}", command, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begin


def _run_batch(site: Site) -> None:
    """Have a worker run a batch of one sale, to its end."""
    token, pending = str(uuid4()), site.pending()
    site.store.claims.claim(SALE, token=token, limit=1, lease=_LEASE)
    api = site.parts.prefect.api_url
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
        found = client.get(f"/deployments/name/{SALE.deployment}").raise_for_status().json()
        run = client.post(
            f"/deployments/{found['id']}/create_flow_run",
            json={
                "state": {"type": "SCHEDULED"},
                "parameters": {"claim_token": token, "granularity": "task"},
            },
        )
        run_id = run.raise_for_status().json()["id"]
        deadline = time.monotonic() + _DEADLINE
        while client.get(f"/flow_runs/{run_id}").json()["state_type"] != "COMPLETED":
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"a run of {SALE.name} has not completed")
            time.sleep(0.2)
    if site.pending() != pending - 1:
        raise BenchmarkFailed(f"a run of {SALE.name} has not sent its document")


def _pending_sale(site: Site) -> str:
    token = str(uuid4())
    (document,) = site.store.claims.claim(SALE, token=token, limit=1, lease=_LEASE).documents
    site.store.claims.release(SALE, token, unconfirmed=None, costs_attempt=False)
    return document.local_id
