"""The running stack as the scenarios use it: new documents, workers, and checks from outside."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pymongo
import redis
from sqlalchemy import Engine, delete, select

from deployments.local.demo.chain import SHOPS
from deployments.local.demo.documents import DemoPlan, add_shops, seed_demo
from deployments.local.parts.servers import prefect_client_environment, start_worker
from deployments.local.sandbox.resources import RESOURCES
from deployments.local.supervisor.service import Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack
from deployments.local.system import MONGO_DATABASE, System, start_system
from deployments.local.verdict import Key, read_stored
from lib.models import StoredDocument
from lib.pipelines import PIPELINES, Pipeline
from lib.settings import SourceSettings
from lib.source.dialects import utc_now
from lib.source.engine import create_source_engine
from lib.source.tables import SourceTables, build_tables
from lib.tracking.log_collections import SYNC_FAILURES, TASK_LOGS
from tests.faults.content import Content, content_of_body, content_of_rows
from tests.faults.driver import ORCHESTRATED, RECONCILED
from tests.support.warm_start import forked_runs

#: Long enough for a worker on a busy machine to start a run; otherwise claims would expire again
#: and again.
LEASE_SECONDS = 20.0
BREAKER_PAUSE = 2.0
ACCOUNT_PAUSE = 8.0
#: Short, so that an open breaker or a lost lease does not delay a scenario for long.
SETTINGS: dict[str, dict[str, object]] = {
    "source": {"statement_timeout": 8},
    "mongo": {"timeout": 1},
    "redis": {"timeout": 1},
    "api": {"connect_timeout": 2, "read_timeout": 2, "settle_seconds": 1, "short_retry_after": 2},
    "sync": {
        "batch_size": 100,
        "task_batch_size": 200,
        # Low, so that every granularity is used even with a small load.
        "auto_flow_limit": 20,
        "documents_per_task": 10,
        "flow_concurrency": 32,
        "concurrency": 64,
        "orchestrate_seconds": 0,
        "dispatch_grace": 5,
        "accepted_grace": 3,
        "task_retries": 2,
        "task_retry_delay": 0.2,
        "attempt_delay": 1,
        "attempt_delay_max": 4,
    },
    "breaker": {
        "cooldown": BREAKER_PAUSE,
        "cooldown_max": 2 * BREAKER_PAUSE,
        "account_cooldown": ACCOUNT_PAUSE,
        "account_cooldown_max": ACCOUNT_PAUSE,
        "one_shop_seconds": 1,
        "probe_seconds": 10,
        "ramp": 4,
    },
}
RECONCILE_PERIOD = 3.0
DRIVER = "driver"
STARTED = ("PENDING", "RUNNING", "CANCELLING")
POLL_SECONDS = 0.25


class Overdue(Exception):
    """A condition did not hold within its generous limit; the text describes it."""


@dataclass(frozen=True, slots=True)
class Harness:
    """The running system between and during scenarios; several threads may use it.

    Attributes:
        workers: names of the workers that are part of the stack, running or not.
        given_up: set when the suite is interrupted: all waiting ends.
    """

    system: System
    engine: Engine = field(repr=False)
    tables: SourceTables = field(repr=False)
    mongo: pymongo.MongoClient[dict[str, Any]] = field(repr=False)
    redis: redis.Redis = field(repr=False)
    prefect: httpx.Client = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    workers: list[str] = field(default_factory=lambda: [f"worker-{name}" for name in PIPELINES])
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def stack(self) -> Stack:
        return self.system.stack

    # -- documents --------------------------------------------------------------------------------

    def reset(self) -> None:
        """Remove documents, logs, tokens and breakers; reset the shops and the API to the start."""
        with self.engine.begin() as connection:
            for pipeline in PIPELINES.values():
                connection.execute(delete(self.tables.details(pipeline)))
                connection.execute(delete(self.tables.header(pipeline)))
            connection.execute(delete(self.tables.delivery))
            connection.execute(delete(self.tables.accounts))
        add_shops(self.engine, self.tables, SHOPS, self.passwords)
        for name in (TASK_LOGS, SYNC_FAILURES):
            self.mongo[MONGO_DATABASE][name].delete_many({})
        self.redis.flushdb()
        self.system.sandbox.reset()
        # An API that refuses duplicates would hide a document sent twice: this one stores it again.
        self.system.sandbox.set_options(duplicates="accept")

    def seed(
        self, documents: int, seed: int, faulty_share: float, pipelines: Sequence[str]
    ) -> DemoPlan:
        """Insert new documents; returns their required final status."""
        return seed_demo(
            self.engine,
            self.tables,
            documents=documents,
            seed=seed,
            passwords=self.passwords,
            faulty_share=faulty_share,
            by_hand=False,
            pipelines=pipelines,
        )

    def rows(self, plan: DemoPlan) -> dict[tuple[str, int], StoredDocument]:
        """The current rows of the documents in the source, by pipeline and primary key."""
        return read_stored(self.system, plan.documents)

    def contents(
        self, pipelines: Sequence[Pipeline]
    ) -> tuple[dict[Key, Content], dict[Key, Content]]:
        """Content of the documents in the source and at the API, by resource, facility and code."""
        source: dict[Key, Content] = {}
        api: dict[Key, Content] = {}
        for pipeline in pipelines:
            lines = self._lines(pipeline)
            source |= {key: content_of_rows(rows) for key, rows in lines.items()}
            resource = RESOURCES[pipeline.resource]
            for (facility, code), body in self.system.sandbox.bodies(resource.name).items():
                key = (resource.name, facility, code)
                api[key] = content_of_body(body[resource.lines_field])
        return source, api

    def _lines(self, pipeline: Pipeline) -> dict[Key, list[dict[str, Any]]]:
        header, details = self.tables.header(pipeline), self.tables.details(pipeline)
        local_id = self.tables.local_id(pipeline)
        found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        with self.engine.connect() as connection:
            for facility, code, drug, lot, quantity in connection.execute(
                select(
                    header.c.pharmacy_code,
                    local_id,
                    details.c.drug_code,
                    details.c.lot_number,
                    details.c.quantity,
                ).join(details, self.tables.foreign_key(pipeline) == header.c.id)
            ):
                found[(pipeline.resource, facility.strip(), code.strip())].append(
                    {"drug_code": drug, "lot_number": lot, "quantity": quantity}
                )
        return found

    def now(self) -> datetime:
        """UTC, by the clock of the source database."""
        with self.engine.connect() as connection:
            moment: datetime = connection.execute(select(utc_now())).scalar_one()
        return moment.replace(tzinfo=UTC)

    def logs(self) -> list[dict[str, Any]]:
        return list(self.mongo[MONGO_DATABASE][TASK_LOGS].find())

    def failures(self) -> list[dict[str, Any]]:
        return list(self.mongo[MONGO_DATABASE][SYNC_FAILURES].find())

    # -- processes --------------------------------------------------------------------------------

    def start_driver(self, name: str, *arguments: str) -> None:
        """Start a process that orchestrates, and reconciles if the arguments request it."""
        if name in self.stack.stopped_services():
            self.stack.remove(name)
        self.stack.add(
            Service(
                name=name,
                command=[sys.executable, "-m", "tests.faults.driver", *arguments],
                ready=lambda: None,
                stage=Stage.WORKER,
                directory=ROOT,
                environment={
                    **prefect_client_environment(self.stack, self.system.prefect),
                    "PREFECT_LOGGING_LEVEL": "WARNING",
                    **self.system.environment,
                },
            )
        )

    def start_worker(
        self, pool: str, name: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start one more worker of a pool."""
        self.workers.append(name)
        start_worker(
            self.stack,
            self.system.prefect,
            pool,
            {**self.system.environment, **(environment or {})},
            name,
        )

    def remove_worker(self, name: str) -> None:
        """Stop a worker, if it still runs, and remove it."""
        self.workers.remove(name)
        self.stack.remove(name)

    def engines(self, part: str) -> list[psutil.Process]:
        """The processes of a worker's runs: its children, and the processes forked for them."""
        launchers = self.launchers(part)
        return [*launchers, *_forked_for(launchers)]

    def preloaded(self, part: str) -> list[psutil.Process]:
        """The processes that a worker's runs were forked from."""
        parents = {run.ppid() for run in _forked_for(self.launchers(part))}
        return [psutil.Process(pid) for pid in parents]

    def launchers(self, part: str) -> list[psutil.Process]:
        """A worker's children."""
        pid = self.stack.pid(part) if part in self.workers else None
        if pid is None:
            return []
        try:
            return psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def rounds(self) -> int:
        """Rounds of reconcile the driver has finished."""
        return self._driver_log().count(RECONCILED)

    def orchestrator_rounds(self) -> int:
        """Rounds of the orchestrator the driver has finished."""
        return self._driver_log().count(ORCHESTRATED)

    def unfinished_reconciles(self) -> list[str]:
        """The driver's rounds of reconcile that did not end Completed."""
        return [
            line.removeprefix(RECONCILED).strip()
            for line in self._driver_log().splitlines()
            if line.startswith(RECONCILED) and not line.startswith(f"{RECONCILED} Completed")
        ]

    def _driver_log(self) -> str:
        return self.stack.log_file(DRIVER).read_text(errors="replace")

    # -- Prefect's view ---------------------------------------------------------------------------

    def runs(
        self,
        flows: Sequence[str],
        states: Sequence[str] = STARTED,
        since: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Flow runs of these flows, by default those that have started and not ended."""
        begun = {} if since is None else {"start_time": {"after_": since.isoformat()}}
        answer = self.prefect.post(
            "/flow_runs/filter",
            json={
                "flows": {"name": {"any_": list(flows)}},
                "flow_runs": {"state": {"type": {"any_": list(states)}}, **begun},
                "limit": 200,
            },
        )
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    def set_run_environment(self, pipeline: Pipeline, environment: Mapping[str, str]) -> None:
        """Set further environment variables for the runs of a pipeline from now on."""
        deployment = self.prefect.get(f"/deployments/name/{pipeline.deployment}")
        self.prefect.patch(
            f"/deployments/{deployment.raise_for_status().json()['id']}",
            json={"job_variables": {"env": dict(environment)}},
        ).raise_for_status()

    def cancel(self, run_id: str) -> None:
        """Ask Prefect to cancel a run, as a user does."""
        self.prefect.post(
            f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}}
        ).raise_for_status()

    def set_run_state(self, run_id: str, state_type: str) -> None:
        """Set a run's state without informing its process, as a user can in the UI."""
        self.prefect.post(
            f"/flow_runs/{run_id}/set_state", json={"state": {"type": state_type}, "force": True}
        ).raise_for_status()

    def run_state(self, run_id: str) -> str:
        run = self.prefect.get(f"/flow_runs/{run_id}").raise_for_status().json()
        return str(run["state_type"])


def wait(condition: Callable[[], object], what: str, limit: float = 240) -> None:
    """Poll until the condition holds.

    Raises:
        Overdue: it did not within `limit` seconds.
    """
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise Overdue(f"not within {limit:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def open_harness(
    stack: Stack,
    report: Callable[[str], None] = lambda _: None,
    *,
    lease_seconds: float = LEASE_SECONDS,
) -> Iterator[Harness]:
    """Start the system without documents, and with a driver instead of its scheduler.

    Args:
        lease_seconds: how long the documents and logs of a dead holder wait.

    Raises:
        ServiceFailed, LauncherError: a part or a step failed.
    """
    settings = SETTINGS | {"sync": SETTINGS["sync"] | {"lease_seconds": lease_seconds}}
    with start_system(
        stack, documents=0, settings=settings, pools=tuple(PIPELINES), report=report
    ) as system:
        tables = build_tables(SourceSettings())
        engine = create_source_engine(system.source_url, SourceSettings())
        with (
            pymongo.MongoClient[dict[str, Any]](system.mongo_url) as mongo,
            redis.Redis.from_url(system.redis_url) as redis_client,
            httpx.Client(base_url=system.prefect.api_url, timeout=30, trust_env=False) as prefect,
        ):
            passwords = {
                row.username: row.password.get_secret_value()
                for row in system.source.accounts.all()
            }
            harness = Harness(system, engine, tables, mongo, redis_client, prefect, passwords)
            _pause_schedules(prefect)
            harness.start_driver(DRIVER, *driver_arguments())
            wait(harness.rounds, "a first round of reconcile")
            try:
                yield harness
            finally:
                engine.dispose()


def _forked_for(launchers: Sequence[psutil.Process]) -> list[psutil.Process]:
    outputs = {_output_of(launcher) for launcher in launchers} - {None}
    return [run for run in forked_runs() if _output_of(run) in outputs]


def _output_of(process: psutil.Process) -> str | None:
    """The target of standard output; a forked run shares it with the launcher that requested it."""
    try:
        return os.readlink(f"/proc/{process.pid}/fd/1")
    except OSError:
        return None


def driver_arguments() -> list[str]:
    """Arguments of the driver that replaces the scheduler."""
    return ["--reconcile-every", str(RECONCILE_PERIOD)]


def _pause_schedules(prefect: httpx.Client) -> None:
    for name in ("orchestrate", "reconcile"):
        found = prefect.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
        prefect.patch(f"/deployments/{found['id']}", json={"paused": True}).raise_for_status()
