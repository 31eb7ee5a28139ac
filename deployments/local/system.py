"""The whole system on one machine: starts its parts in the right order, with demo documents.

Used by `make run` and by the end-to-end tests.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import inspect

from deployments.local.demo.documents import DemoPlan, seed_demo
from deployments.local.environment_file import offer_environment
from deployments.local.errors import LauncherError
from deployments.local.parallel import at_once, run_command
from deployments.local.parts.postgres import PostgresServer, start_postgres
from deployments.local.parts.servers import (
    PrefectServer,
    prefect_client_environment,
    start_prefect_server,
    start_sandbox,
    start_worker,
)
from deployments.local.parts.stores import start_mongo, start_redis
from deployments.local.sandbox.accounts import DEMO_ACCOUNTS
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.stack import Stack
from deployments.migrations import BUSINESS, SYNC, migrate
from lib.pipelines import PIPELINES, SCHEDULER_POOL
from lib.settings import ENV_FILE_VARIABLE, SourceSettings, as_environment
from lib.source.engine import create_source_engine, translate_errors
from lib.source.store import Source, open_source
from lib.source.tables import build_tables

SOURCE_DATABASE = "source"
MONGO_DATABASE = "dqg_sync"
POOLS = (SCHEDULER_POOL, *PIPELINES)


@dataclass(frozen=True, slots=True)
class System:
    """The running system.

    Attributes:
        source: the source database, for inspection.
        plan: which demo documents must succeed and which must fail.
        environment: the settings of the workers; contains secrets.
    """

    stack: Stack
    postgres: PostgresServer
    prefect: PrefectServer
    sandbox: SandboxAdmin
    source: Source
    source_url: str = field(repr=False)
    mongo_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    plan: DemoPlan = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


@contextmanager
def start_system(
    stack: Stack,
    *,
    source_url: str | None = None,
    documents: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    sandbox_options: Mapping[str, object] | None = None,
    pools: Sequence[str] = POOLS,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[System]:
    """Start every part, with migrated databases, demo documents, deployments and workers.

    Args:
        source_url: an empty database for the documents, by default one in the stack's PostgreSQL.
        documents, seed: number and seed of the demo documents, by default the demo's.
        settings: additional settings of the service, by section and name.
        sandbox_options: how the sandbox of the national API behaves.
        pools: work pools that get a worker.
        report: called with a message after each step.

    Raises:
        ServiceFailed, LauncherError: a part or a step failed.
    """
    passwords = {account.usr: secrets.token_urlsafe(12) for account in DEMO_ACCOUNTS}
    accounts = [replace(account, pwd=passwords[account.usr]) for account in DEMO_ACCOUNTS]
    source_settings = SourceSettings.model_validate((settings or {}).get("source", {}))
    if source_url is not None:
        # Before anything starts: existing data are never deleted or mixed with demo documents.
        check_empty(source_url, source_settings)
    postgres, redis_url, mongo_url, sandbox_url = at_once(
        stack,
        lambda: start_postgres(stack),
        lambda: start_redis(stack),
        lambda: start_mongo(stack),
        lambda: start_sandbox(stack, accounts, sandbox_options),
    )
    report("PostgreSQL, Redis, MongoDB and the sandbox of the national API are up")

    if source_url is None:
        postgres.create_named_database(SOURCE_DATABASE)
        source_url = postgres.url(SOURCE_DATABASE)
    url = source_url
    tables = build_tables(source_settings)
    engine = create_source_engine(url, source_settings)

    def fill_source() -> DemoPlan:
        migrate(url, BUSINESS, SYNC, settings=source_settings)
        return seed_demo(engine, tables, documents=documents, seed=seed, passwords=passwords)

    prefect, plan = at_once(stack, lambda: start_prefect_server(stack, postgres), fill_source)
    report(f"the Prefect server is up, {len(plan.documents)} demo documents are in the source")

    client = prefect_client_environment(stack, prefect)
    run_command(
        stack, "work-pools", [sys.executable, "-m", "deployments.server.work_pools"], client
    )
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    run_command(stack, "deploy", deploy, client)
    report("work pools and deployments are created")

    sandbox = SandboxAdmin(sandbox_url)
    environment = _settings_environment(
        {
            "source": {"url": url},
            "mongo": {"url": mongo_url, "database": MONGO_DATABASE},
            "redis": {"url": redis_url},
            "api": {"base_url": sandbox.api_url},
            "console": {"users_file": stack.private_dir / "console-users.json"},
        },
        settings or {},
    )
    workers = [_worker_starter(stack, prefect, pool, environment) for pool in pools]
    alerts = [sys.executable, "-m", "deployments.server.alerts"]
    at_once(
        stack, *workers, lambda: run_command(stack, "alerts", alerts, {**client, **environment})
    )
    report("the workers are up, and the alerts are set up")
    with sandbox, offer_environment(stack, {**client, **environment}):
        source = open_source(engine, tables)
        try:
            yield System(
                stack=stack,
                postgres=postgres,
                prefect=prefect,
                sandbox=sandbox,
                source=source,
                source_url=url,
                mongo_url=mongo_url,
                redis_url=redis_url,
                plan=plan,
                environment=environment,
            )
        finally:
            source.dispose()


def check_empty(source_url: str, settings: SourceSettings) -> None:
    """Raise unless the database is reachable and has no table and no view.

    Raises:
        LauncherError: it has a table or a view.
        ConfigurationError, StoreUnavailable: it cannot be used.
    """
    engine = create_source_engine(source_url, settings)
    try:
        with translate_errors(), engine.connect() as connection:
            inspector = inspect(connection)
            schema = settings.db_schema
            names = inspector.get_table_names(schema) + inspector.get_view_names(schema)
    finally:
        engine.dispose()
    if names:
        raise LauncherError(
            f"SOURCE: the database {engine.url.database!r} is not empty: it has "
            f"{', '.join(sorted(names)[:3])}. The demo needs an empty one"
        )


def _worker_starter(
    stack: Stack, prefect: PrefectServer, pool: str, environment: Mapping[str, str]
) -> Callable[[], str]:
    return lambda: start_worker(stack, prefect, pool, environment)


def _settings_environment(*layers: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    # Ignore a settings file in the checkout: it belongs to another installation.
    merged = {ENV_FILE_VARIABLE: ""}
    for layer in layers:
        merged |= as_environment(layer)
    return merged


def check_complete(system: System) -> None:
    """Raise LauncherError if a part has stopped unexpectedly; the text has the end of its log."""
    for name in system.stack.stopped_services():
        raise LauncherError(str(system.stack.failure(name)))
