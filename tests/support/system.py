"""The whole system for one test: real stores, a real Prefect server, the sandbox, and its data."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pymongo
import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings
from sqlalchemy import Engine, select, update

from deployments.local.parts.postgres import PostgresServer
from deployments.local.parts.servers import PrefectServer, start_prefect_server
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.stack import ROOT, Stack
from deployments.server.work_pools import apply_work_pools
from lib.models import StoredDocument
from lib.pipelines import PIPELINES, Pipeline, get_pipeline
from lib.settings import SourceSettings, as_environment
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import SourceTables, build_tables
from tests.support.documents import SHOPS, insert_document, set_delivery, split_columns


@dataclass(frozen=True)
class System:
    """Everything a test of flows needs; the environment points at these parts."""

    engine: Engine
    tables: SourceTables
    source: Source
    mongo: Any
    admin: SandboxAdmin
    prefect: PrefectServer
    environment: dict[str, str]

    def add(
        self,
        pipeline: str,
        local_id: str,
        *,
        shop: str = "SHOP01",
        lines: int = 1,
        line: dict[str, Any] | None = None,
        **header: Any,
    ) -> int:
        """Insert a valid document, or one with the fault that a test specifies; returns its id."""
        return insert_document(
            self.engine,
            self.tables,
            pipeline,
            local_id,
            shop=shop,
            lines=lines,
            line=line,
            **header,
        )

    def document(self, pipeline: str, local_id: str) -> StoredDocument:
        (found,) = self.source.documents.find(get_pipeline(pipeline), local_id)
        return found

    def statuses(self, pipeline: str) -> dict[str, str]:
        """Status by local id."""
        kind = get_pipeline(pipeline)
        query = select(self.tables.local_id(kind), self.tables.header(kind).c.status)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def change(self, pipeline: Pipeline | str, local_id: str, **values: Any) -> None:
        """Write columns of a document or of its delivery row, such as an expired lease."""
        kind = pipeline if isinstance(pipeline, Pipeline) else get_pipeline(pipeline)
        values, ours = split_columns(self.tables, kind, values)
        header = self.tables.header(kind)
        this_one = self.tables.local_id(kind) == local_id
        with self.engine.begin() as connection:
            if values:
                connection.execute(update(header).where(this_one).values(values))
            record_ids = connection.execute(select(header.c.id).where(this_one)).scalars().all()
        if ours:
            for record_id in record_ids:
                set_delivery(self.engine, self.tables, kind, record_id, ours)

    def set_password(self, shop: str, password: str) -> None:
        """Set the password of a shop in AccountShop."""
        accounts = self.tables.accounts
        with self.engine.begin() as connection:
            connection.execute(
                update(accounts)
                .where(accounts.c.shop_pharmacy_code == shop)
                .values(password=password)
            )

    def accepted(self, pipeline: str, local_id: str) -> int:
        """How often the API accepted a document."""
        found = self.admin.documents(resource=get_pipeline(pipeline).resource, code=local_id)
        return sum(counters["accepted"] for counters in found)


@pytest.fixture(scope="session")
def prefect_server(
    stack: Stack, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    """A Prefect server on PostgreSQL; this process and its flows use it."""
    server = start_prefect_server(stack, postgres)
    with temporary_settings(
        {
            PREFECT_API_URL: server.api_url,
            PREFECT_UI_URL: server.ui_url,
            PREFECT_HOME: tmp_path_factory.mktemp("prefect-home"),
        }
    ):
        yield server


@pytest.fixture
def system(
    prefect_server: PrefectServer,
    migrated_url: str,
    redis_url: str,
    mongo_url: str,
    mongo_database_name: str,
    sandbox: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[System]:
    """A system without documents. Settings come from the marker `settings(section={...})`."""
    values: dict[str, dict[str, object]] = {
        "source": {"url": migrated_url, "settle_seconds": 0},
        "mongo": {"url": mongo_url, "database": mongo_database_name},
        "redis": {"url": redis_url},
        "api": {"base_url": sandbox.base_url, "read_timeout": 5, "settle_seconds": 0},
        "sync": {
            "orchestrate_seconds": 0,
            "task_retry_delay": 0.05,
            "task_retry_jitter": 0,
            "write_batch_delay": 0.005,
        },
        "breaker": {},
        # Otherwise a test that runs in the morning receives the digest.
        "alerts": {"digest_at": ""},
    }
    # The closest marker last: settings of a test override those of its module.
    for marker in reversed(list(request.node.iter_markers("settings"))):
        for section, changes in marker.kwargs.items():
            values[section] = values.get(section, {}) | changes
    environment = as_environment(values)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tables = build_tables(SourceSettings())
    engine = create_source_engine(migrated_url, SourceSettings())
    with engine.begin() as connection:
        connection.execute(
            tables.accounts.insert(),
            [
                {
                    "shop_pharmacy_code": shop,
                    "pharmacy_code": account.ma_co_so,
                    "account": account.usr,
                    "password": account.pwd,
                    "shop_name": shop,
                    "address": "-",
                    "phone_number": "-",
                    "status": 1,
                }
                for shop, account in SHOPS.items()
            ],
        )
    with pymongo.MongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield System(
            engine=engine,
            tables=tables,
            source=open_source(engine, tables),
            mongo=client[mongo_database_name],
            admin=sandbox.admin,
            prefect=prefect_server,
            environment=environment,
        )
    engine.dispose()


@pytest.fixture(scope="session")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    """The server with the work pools and all deployments of prefect.yaml, schedules paused."""
    asyncio.run(apply_work_pools())
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": prefect_server.api_url},
        check=True,
        capture_output=True,
        text=True,
    )
    asyncio.run(_pause_schedules())
    asyncio.run(_pretend_workers())
    return prefect_server


async def _pause_schedules() -> None:
    async with get_client() as client:
        for name in ("orchestrate", "reconcile"):
            deployment = await client.read_deployment_by_name(f"{name}/{name}")
            await client.update_deployment(deployment.id, DeploymentUpdate(paused=True))


async def _pretend_workers() -> None:
    """Send heartbeats of workers that take no run: the tests run batches themselves."""
    async with get_client() as client:
        for pipeline in PIPELINES.values():
            await client.send_worker_heartbeat(
                pipeline.work_pool, "test-worker", heartbeat_interval_seconds=86_400
            )


async def delete_waiting_runs() -> None:
    """Delete the scheduled runs of other tests: a worker would start a process for each of them."""
    waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    async with get_client() as client:
        while runs := await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=waiting)):
            for run in runs:
                await client.delete_flow_run(run.id)
