"""How cost grows with the backlog: claims and memory, and documents sent."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import func, insert, literal, select, text

from deployments.local.errors import LauncherError
from deployments.local.parts.servers import prefect_client_environment
from deployments.local.supervisor.stack import ROOT
from lib.pipelines import PIPELINES, SALE
from tests.benchmarks import report
from tests.benchmarks.goals import Goal, at_most, goals_table
from tests.benchmarks.options import Options
from tests.benchmarks.parts import Parts
from tests.benchmarks.runs import BenchmarkFailed, Result, measure
from tests.benchmarks.site import Site, new_site
from tests.benchmarks.ways import ALL_WAYS

PENDING = (1_000, 10_000, 100_000, 1_000_000)
DRAINED = (100, 1_000, 5_000, 20_000)
CLAIMED = 500
CLAIMS = 9
#: Documents with lines, older than all others, so that these are claimed.
REAL = 500
#: Number of sales that are copied; neighbouring sales belong to different shops.
PATTERNS = 50
LATENCY_MS = 50
LEASE = timedelta(minutes=5)

Say = Callable[[str], None]


def run(parts: Parts, options: Options, say: Say) -> dict[str, Any]:
    """Measure and print both; returns both for JSON."""
    pending = PENDING[:2] if options.small else PENDING
    drained = (20, 60) if options.small else DRAINED
    backlogs = [_backlog(parts, count, say) for count in pending]
    drains = []
    for documents in drained:
        drains.append(
            measure(parts, "task", ALL_WAYS["task"], documents=documents, latency_ms=LATENCY_MS)
        )
        say(f"{documents} documents drained at {drains[-1].rate:.1f}/s")
    print("\nwith documents waiting in one table\n")
    print(
        report.table(
            ["pending", "claim of 500, ms", "orchestrate, peak MB", "orchestrate, s"],
            [
                [
                    row["pending"],
                    *(report.Figure(row[k]) for k in ("claim_ms", "peak_mb", "seconds")),
                ]
                for row in backlogs
            ],
        )
    )
    print(f"\ndrained at granularity task, API at {LATENCY_MS} ms\n")
    print(report.ways_table(drains))
    found = _goals(backlogs, drains)
    print("\n" + goals_table(found))
    return {
        "backlogs": backlogs,
        "drains": [result.as_json() for result in drains],
        "goals": [goal.as_json() for goal in found],
    }


def claim_growth(parts: Parts, pending: Sequence[int], say: Say) -> dict[int, float]:
    """Median milliseconds of a claim by the number of pending documents in its table."""
    found = {}
    for count in pending:
        site = new_site(parts, documents=REAL, latency_ms=0)
        _fill(site, count)
        found[count] = _claim_times(site)
        site.close()
        say(f"{count} pending: claim {found[count]:.1f} ms")
    return found


def _goals(backlogs: list[dict[str, Any]], drains: list[Result]) -> list[Goal]:
    few, many = backlogs[0], backlogs[-1]
    label = f"{many['pending']:,} : {few['pending']:,} pending, "
    found = [
        at_most(label + "claim", many["claim_ms"] / few["claim_ms"], 1.5),
        at_most(label + "memory", many["peak_mb"] / few["peak_mb"], 1.3),
    ]
    for less, more in itertools.pairwise(drains):
        text = f"{more.documents:,} : {less.documents:,} documents, CPU a document"
        found.append(at_most(text, more.cpu_total / less.cpu_total, 1.1))
    return found


def _backlog(parts: Parts, count: int, say: Say) -> dict[str, Any]:
    site = new_site(parts, documents=REAL, latency_ms=0)
    _fill(site, count)
    claim_ms = _claim_times(site)
    seconds, peak_mb = _orchestrate(site)
    say(f"{count} pending: claim {claim_ms:.1f} ms, orchestrate {peak_mb:.0f} MB")
    _cancel_runs(parts)
    site.close()
    return {"pending": count, "claim_ms": claim_ms, "peak_mb": peak_mb, "seconds": seconds}


def _fill(site: Site, count: int) -> None:
    """Insert copies of sales, newer and without lines, until `count` documents are pending."""
    header = site.tables.header(SALE)
    local_id = site.tables.local_id(SALE)
    dated = header.c[SALE.date_column]
    own = ("id", local_id.key, dated.key, "created_at", "updated_at")
    copied = [c for c in header.c if c.key not in own]
    number = func.generate_series(1, max(0, count - site.pending())).column_valued("number")
    first = select(func.min(header.c.id)).scalar_subquery()
    newer = select(func.max(dated) + timedelta(days=1)).scalar_subquery()
    copies = select(literal("X-") + number.cast(local_id.type), newer, *copied).where(
        header.c.id == first + number % PATTERNS
    )
    with site.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(insert(header).from_select([local_id, dated, *copied], copies))
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def _claim_times(site: Site) -> float:
    """Median milliseconds of claims, each released before the next."""
    times = []
    for _ in range(CLAIMS):
        token = str(uuid4())
        begin = time.perf_counter()
        claim = site.store.claims.claim(SALE, token=token, limit=CLAIMED, lease=LEASE)
        times.append((time.perf_counter() - begin) * 1000)
        if len(claim.documents) != CLAIMED:
            raise BenchmarkFailed(f"{len(claim.documents)} documents were claimed")
        site.store.claims.release(SALE, token, unconfirmed=None, costs_attempt=False)
    return statistics.median(times)


def _orchestrate(site: Site) -> tuple[float, float]:
    """Seconds and peak MB of one run of the orchestrator in a separate process."""
    stack = site.parts.stack
    _pretend_workers(site.parts)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.orchestrate_once"],
        cwd=ROOT,
        env={
            **stack.environment,
            **prefect_client_environment(stack, site.parts.prefect),
            **site.environment,
            "DQG_SYNC__ORCHESTRATE_SECONDS": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(f"the orchestrator failed:\n{done.stderr[-2000:]}")
    peak: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return time.monotonic() - begin, peak["peak_mb"]


def _pretend_workers(parts: Parts) -> None:
    """Send the heartbeat of one worker per pool: without a worker nothing is claimed."""
    with httpx.Client(base_url=parts.prefect.api_url, timeout=30, trust_env=False) as client:
        for pool in PIPELINES:
            client.post(
                f"/work_pools/{pool}/workers/heartbeat", json={"name": "pretended"}
            ).raise_for_status()


def _cancel_runs(parts: Parts) -> None:
    """Delete the runs that were dispatched to workers that do not exist."""
    with httpx.Client(base_url=parts.prefect.api_url, timeout=30, trust_env=False) as client:
        found = client.post(
            "/flow_runs/filter",
            json={
                "flows": {"name": {"any_": list(PIPELINES)}},
                "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}},
            },
        ).raise_for_status()
        for flow_run in found.json():
            client.delete(f"/flow_runs/{flow_run['id']}").raise_for_status()
