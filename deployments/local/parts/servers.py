"""The sandbox of the national API, the Prefect server and its workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import httpx

from deployments.local.parts.postgres import PostgresServer
from deployments.local.sandbox.accounts import SandboxAccount
from deployments.local.supervisor.service import NotReady, Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack, write_private

PREFECT_DATABASE = "prefect"
WORKER_QUERY_SECONDS = 2
#: A worker takes a run at most this many seconds before its scheduled time.
WORKER_PREFETCH_SECONDS = 1


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A running Prefect server."""

    port: int

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.ui_url}/api"


def start_sandbox(
    stack: Stack,
    accounts: Sequence[SandboxAccount] = (),
    options: Mapping[str, object] | None = None,
    name: str = "sandbox",
) -> str:
    """Start the sandbox; return its address without a path.

    Args:
        accounts: accounts that may log in; by default those of the demo chain's shops.
        options: its behaviour, fields of `deployments.local.sandbox.options.Options`.

    Raises:
        ServiceFailed: it did not start.
    """
    arguments = [f"--{key.replace('_', '-')}={value}" for key, value in (options or {}).items()]
    if accounts:
        file = stack.private_dir / f"{name}-accounts.json"
        write_private(file, json.dumps([asdict(account) for account in accounts]))
        arguments.append(f"--accounts={file}")

    def make_service(port: int) -> Service:
        return Service(
            name=name,
            command=[
                sys.executable,
                "-m",
                "deployments.local.sandbox",
                f"--port={port}",
                *arguments,
            ],
            ready=lambda: check_http(f"http://127.0.0.1:{port}/_sandbox/health"),
            stage=Stage.STORE,
            directory=ROOT,
        )

    return f"http://127.0.0.1:{stack.add_on_free_port(make_service)}"


def start_prefect_server(
    stack: Stack, postgres: PostgresServer, name: str = "prefect-server"
) -> PrefectServer:
    """Start a Prefect server with a new database in this PostgreSQL.

    Raises:
        ServiceFailed: it did not start.
    """
    home = stack.state_dir / name
    home.mkdir()
    postgres.create_named_database(PREFECT_DATABASE)

    def make_service(port: int) -> Service:
        server = PrefectServer(port)
        return Service(
            name=name,
            command=[
                *(sys.executable, "-m", "prefect", "--no-prompt", "server", "start"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            ready=lambda: check_http(f"{server.api_url}/health"),
            stage=Stage.SERVER,
            directory=home,
            environment={
                "PREFECT_HOME": str(home),
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url(
                    PREFECT_DATABASE, driver="asyncpg"
                ),
                "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
                "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "20",
                # With the default (memory), a restart would crash runs with a concurrency limit.
                "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                    "prefect.server.concurrency.lease_storage.filesystem"
                ),
                # Seconds until the concurrency slot of a killed scheduler run is released.
                "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
                # As in production: runs are kept for 90 days, events for 7.
                "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
                "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7776000",
                "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
                "PREFECT_SERVER_UI_API_URL": server.api_url,
                # By default, pages of any site may call the API from a browser on this machine.
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": server.ui_url,
                "PREFECT_UI_URL": server.ui_url,
                "PREFECT_API_URL": server.api_url,
            },
            ready_seconds=180,
        )

    return PrefectServer(stack.add_on_free_port(make_service))


def prefect_client_environment(stack: Stack, server: PrefectServer) -> dict[str, str]:
    """Variables that make a process use this server and no other one."""
    return {
        "PREFECT_HOME": str(stack.state_dir / "prefect-client"),
        "PREFECT_API_URL": server.api_url,
        "PREFECT_UI_URL": server.ui_url,
    }


def start_worker(
    stack: Stack,
    server: PrefectServer,
    pool: str,
    environment: Mapping[str, str],
    name: str | None = None,
    limit: int | None = None,
) -> str:
    """Start a process worker for an existing work pool; return the name of its part.

    Args:
        environment: for the flows it runs.
        name: of the part and of the worker, needed if a pool has several workers.
        limit: maximum number of concurrent runs, None for no limit.

    Raises:
        ServiceFailed: it did not start, or the pool does not exist.
    """
    name = name or f"worker-{pool}"
    stack.add(
        Service(
            name=name,
            command=[
                *(sys.executable, "-m", "prefect", "--no-prompt", "worker", "start"),
                *("--pool", pool, "--name", name, "--type", "process"),
                "--no-create-pool-if-not-found",
                *(() if limit is None else ("--limit", str(limit))),
            ],
            ready=lambda: _check_worker(server, pool, name),
            stage=Stage.WORKER,
            directory=ROOT,
            environment={
                **prefect_client_environment(stack, server),
                "PREFECT_WORKER_QUERY_SECONDS": str(WORKER_QUERY_SECONDS),
                "PREFECT_WORKER_PREFETCH_SECONDS": str(WORKER_PREFETCH_SECONDS),
                **environment,
            },
            stop_seconds=20,
            ready_seconds=180,
        )
    )
    return name


def check_http(url: str) -> None:
    """Raise NotReady unless the address answers with success."""
    try:
        response = httpx.get(url, timeout=5, trust_env=False)
    except httpx.TransportError as error:
        raise NotReady(str(error) or type(error).__name__) from error
    if not response.is_success:
        raise NotReady(f"HTTP {response.status_code}")


def _check_worker(server: PrefectServer, pool: str, name: str) -> None:
    try:
        response = httpx.post(
            f"{server.api_url}/work_pools/{pool}/workers/filter",
            json={},
            timeout=10,
            trust_env=False,
        )
    except httpx.TransportError as error:
        raise NotReady(str(error) or type(error).__name__) from error
    if not response.is_success:
        raise NotReady(f"HTTP {response.status_code}")
    if not any(w["name"] == name and w["status"] == "ONLINE" for w in response.json()):
        raise NotReady("the server does not know it yet")
