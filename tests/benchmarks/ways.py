"""The ways that are compared: what each starts, and how it dispatches documents."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
from celery import Celery

from deployments.local.errors import LauncherError
from deployments.local.parallel import at_once, run_command
from deployments.local.parts.servers import prefect_client_environment, start_worker
from deployments.local.supervisor.service import NotReady, Service, Stage
from deployments.local.supervisor.stack import ROOT
from deployments.local.system import POOLS
from deployments.server.work_pools import TEMPLATES
from lib.pipelines import PIPELINES
from lib.settings import Granularity
from tests.benchmarks.job import Job
from tests.benchmarks.parts import apply_pools
from tests.benchmarks.site import IN_FLIGHT, Sections, Site

CORES = psutil.cpu_count() or 1
#: Poll interval of a Celery producer that looks for new documents, seconds.
POLL_SECONDS = 1.0
#: Longer than the minute between two scheduled runs.
FIRST_RUN_SECONDS = 150.0

ORCHESTRATOR = "orchestrate/orchestrate"


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Running:
    """A way that has been started.

    Attributes:
        parts: names of its own parts of the stack.
        dispatch: begins to send the pending documents; returns at once, with the process to
            measure if there is one.
        nudge: called periodically while documents are pending.
    """

    parts: list[str]
    dispatch: Callable[[], subprocess.Popen[bytes] | None]
    nudge: Callable[[], None] = field(default=_nothing)


@dataclass(frozen=True)
class Way:
    """Attributes:
    label: for the table.
    settings: of the service, in addition to those of every way.
    start: starts the way; `steady` is true if documents keep appearing.
    """

    label: str
    start: Callable[[Site, bool], AbstractContextManager[Running]]
    settings: Sections = field(default_factory=dict)


@contextmanager
def workers(site: Site, *pools: str) -> Iterator[list[str]]:
    """Start process workers for some pools in parallel."""
    parts, stack = site.parts, site.parts.stack

    def starter(pool: str) -> Callable[[], str]:
        return lambda: start_worker(stack, parts.prefect, pool, site.environment)

    names: list[str] = at_once(stack, *map(starter, pools))
    try:
        yield names
    finally:
        for name in names:
            stack.remove(name)


@contextmanager
def cold(site: Site, steady: bool) -> Iterator[Running]:
    """This project with Prefect's standard start of a run: a new interpreter imports everything."""
    apply_pools(site.parts, "--default", "command=null")
    try:
        with orchestrated(site, steady) as running:
            yield running
    finally:
        apply_pools(site.parts)


@contextmanager
def orchestrated(site: Site, steady: bool) -> Iterator[Running]:
    """This project, as it is deployed: its scheduler and one process worker per pipeline."""

    def nudge() -> None:
        summaries = site.store.counts.summary(list(PIPELINES.values()))
        if any(s.pending > s.waiting and not s.in_flight for s in summaries):
            run_orchestrator(site)

    def dispatch() -> None:
        if steady:
            site.parts.pause_schedules(False, "orchestrate")
            wait_for_orchestrator(site)
        else:
            run_orchestrator(site)

    with workers(site, *POOLS) as names:
        try:
            yield Running(names, dispatch, _nothing if steady else nudge)
        finally:
            site.parts.pause_schedules(True)
            end_orchestrators(site)


def wait_for_orchestrator(site: Site) -> None:
    """Wait for the first scheduled run to start.

    Raises:
        LauncherError: it does not start in time.
    """
    body = {
        "flows": {"name": {"any_": ["orchestrate"]}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
    }
    with httpx.Client(base_url=site.parts.prefect.api_url, timeout=30, trust_env=False) as client:
        deadline = time.monotonic() + FIRST_RUN_SECONDS
        while not client.post("/flow_runs/filter", json=body).raise_for_status().json():
            if time.monotonic() > deadline:
                raise LauncherError("no run of orchestrate has started")
            time.sleep(0.2)


def end_orchestrators(site: Site) -> None:
    """Cancel unfinished orchestrator runs: each polls for a minute, and few may run at once."""
    with httpx.Client(base_url=site.parts.prefect.api_url, timeout=30, trust_env=False) as client:
        unfinished = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}
        body = {"flows": {"name": {"any_": ["orchestrate"]}}, "flow_runs": unfinished}
        for run in client.post("/flow_runs/filter", json=body).raise_for_status().json():
            client.post(
                f"/flow_runs/{run['id']}/set_state",
                json={"state": {"type": "CANCELLED"}, "force": True},
            ).raise_for_status()


def run_orchestrator(site: Site) -> None:
    """Start a run of the orchestrator now."""
    with httpx.Client(base_url=site.parts.prefect.api_url, timeout=30, trust_env=False) as client:
        found = client.get(f"/deployments/name/{ORCHESTRATOR}").raise_for_status().json()
        client.post(
            f"/deployments/{found['id']}/create_flow_run", json={"state": {"type": "SCHEDULED"}}
        ).raise_for_status()


def celery(pool: str, concurrency: int) -> Callable[[Site, bool], AbstractContextManager[Running]]:
    """A Celery worker and a producer."""

    @contextmanager
    def start(site: Site, steady: bool) -> Iterator[Running]:
        stack = site.parts.stack
        broker = Celery(broker=site.parts.redis_url)

        def ready() -> None:
            if not broker.control.ping(timeout=1):
                raise NotReady("it answers no ping")

        name = f"celery-{pool}"
        worker = Service(
            name=name,
            command=[
                *(sys.executable, "-m", "celery", "-A", "tests.benchmarks.celery_app", "worker"),
                *("--pool", pool, "--concurrency", str(concurrency), "--loglevel", "WARNING"),
            ],
            ready=ready,
            stage=Stage.WORKER,
            directory=ROOT,
            environment=site.environment,
            stop_signal="QUIT",
        )
        stack.add(worker)
        producers: list[subprocess.Popen[bytes]] = []

        def dispatch() -> subprocess.Popen[bytes]:
            period = [str(POLL_SECONDS)] if steady else []
            producers.append(_command(site, "tests.benchmarks.celery_dispatch", *period))
            return producers[-1]

        try:
            yield Running([name], dispatch)
        finally:
            for producer in producers:
                producer.terminate()
                producer.wait()
            stack.remove(name)
            broker.close()

    return start


@contextmanager
def bare(site: Site, steady: bool) -> Iterator[Running]:
    """One asyncio loop without an orchestrator."""
    started: list[subprocess.Popen[bytes]] = []

    def dispatch() -> subprocess.Popen[bytes]:
        started.append(_command(site, "tests.benchmarks.bare"))
        return started[-1]

    try:
        yield Running([], dispatch)
    finally:
        for process in started:
            process.terminate()
            process.wait()


@contextmanager
def stock(site: Site, steady: bool) -> Iterator[Running]:
    """One deployment run per document on a stock process worker."""
    api = site.parts.prefect.api_url
    template = json.loads((TEMPLATES / "process.json").read_text(encoding="utf-8"))
    pool = {"name": "stock", "type": "process", "base_job_template": template}
    with httpx.Client(base_url=api, timeout=60, trust_env=False) as client:
        made = client.post("/work_pools/", json=pool)
        if made.status_code != httpx.codes.CONFLICT:
            made.raise_for_status()
        run_command(
            site.parts.stack,
            "deploy-stock",
            [
                *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
                *("--prefect-file", "tests/benchmarks/stock.yaml"),
            ],
            prefect_client_environment(site.parts.stack, site.parts.prefect),
        )
        deployment = client.get("/deployments/name/stock/stock").raise_for_status().json()["id"]
        job = Job(site.settings)

        def dispatch() -> None:
            pending = job.pending({})
            job.log_dispatch(pending)
            for ref in pending:
                client.post(
                    f"/deployments/{deployment}/create_flow_run",
                    json={
                        "parameters": {"pipeline": ref.pipeline, "record_id": ref.record_id},
                        "state": {"type": "SCHEDULED"},
                    },
                ).raise_for_status()

        with workers(site, "stock") as names:
            yield Running(names, dispatch)


def _command(site: Site, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    stack = site.parts.stack
    with stack.log_file(module.rsplit(".", 1)[1]).open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**stack.environment, **site.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _project(granularity: Granularity) -> Way:
    settings: Mapping[str, Mapping[str, object]] = {"sync": {"granularity": granularity.value}}
    return Way(f"this project, {granularity.value}", orchestrated, settings)


def _cold(granularity: Granularity) -> Way:
    settings = {"sync": {"granularity": granularity.value, "orchestrate_seconds": 0}}
    return Way(f"this project, {granularity.value}, cold, once a minute", cold, settings)


ALL_WAYS: dict[str, Way] = {
    "stock": Way("a deployment run a document", stock),
    "prefork": Way(f"Celery, prefork, {CORES} processes", celery("prefork", CORES)),
    "threads": Way(f"Celery, {IN_FLIGHT} threads", celery("threads", IN_FLIGHT)),
    "bare": Way("bare asyncio loop", bare),
    "flow": _project(Granularity.FLOW),
    "task": _project(Granularity.TASK),
    "auto": _project(Granularity.AUTO),
    "flow-cold": _cold(Granularity.FLOW),
    "cold": _cold(Granularity.AUTO),
}
