"""The parts that all ways share, each measured separately: hence two PostgreSQL servers."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import httpx
import psycopg
from psycopg import sql

from deployments.local.parallel import at_once, run_command
from deployments.local.parts.postgres import PostgresServer, start_postgres
from deployments.local.parts.servers import (
    PREFECT_DATABASE,
    PrefectServer,
    prefect_client_environment,
    start_prefect_server,
    start_sandbox,
)
from deployments.local.parts.stores import start_mongo, start_redis
from deployments.local.sandbox.accounts import DEMO_ACCOUNTS
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.stack import Stack

SOURCE_POSTGRES = "postgres"
PREFECT_POSTGRES = "prefect-postgres"
PREFECT_PART = "prefect-server"
#: Separate database role of the measurements, so that their statements are not counted.
OBSERVER = "observer"
SCHEDULED = ("orchestrate", "reconcile")

#: Groups of parts, except the client's.
GROUPS = {
    "prefect server": [PREFECT_PART],
    "prefect database": [PREFECT_POSTGRES],
    "source database": [SOURCE_POSTGRES],
    "mongo": ["mongo"],
    "redis": ["redis"],
    "sandbox": ["sandbox"],
}


@dataclass(frozen=True)
class Parts:
    """The running parts.

    Attributes:
        passwords: of the shops' accounts.
        prefect_name: name of the Prefect server's part, which changes with its settings.
    """

    stack: Stack
    source: PostgresServer
    prefect_database: PostgresServer
    prefect: PrefectServer
    sandbox: SandboxAdmin
    mongo_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    passwords: dict[str, str] = field(repr=False)
    observer_password: str = field(repr=False)
    prefect_name: str = PREFECT_PART

    @property
    def groups(self) -> dict[str, list[str]]:
        return GROUPS | {"prefect server": [self.prefect_name]}

    def observer_url(self, database: str) -> str:
        port, password = self.source.port, self.observer_password
        return f"postgresql+psycopg://{OBSERVER}:{password}@127.0.0.1:{port}/{database}"

    def statements(self, database: str) -> int:
        """Number of statements that all roles except the observer executed on a source database.

        Transaction control is not counted; an executemany counts once per set of parameters.
        """
        with psycopg.connect(plain(self.observer_url("postgres"))) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements AS s "
                "JOIN pg_database AS d ON d.oid = s.dbid JOIN pg_roles AS r ON r.oid = s.userid "
                "WHERE d.datname = %s AND r.rolname <> %s",
                (database, OBSERVER),
            ).fetchone()
        return int(row[0]) if row else 0

    def events(self) -> int:
        """Number of events that the Prefect server has stored."""
        with psycopg.connect(plain(self.prefect_database.url(PREFECT_DATABASE))) as connection:
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        return int(row[0]) if row else 0

    def prefect_bytes(self) -> int:
        """Size of the Prefect server's database, with its indexes."""
        with psycopg.connect(plain(self.prefect_database.url(PREFECT_DATABASE))) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    def pause_schedules(self, paused: bool, *names: str) -> None:
        """Switch scheduled deployments off or on."""
        with httpx.Client(base_url=self.prefect.api_url, timeout=30, trust_env=False) as client:
            for name in names or SCHEDULED:
                found = client.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
                client.patch(
                    f"/deployments/{found['id']}", json={"paused": paused}
                ).raise_for_status()


@contextmanager
def start_parts(stack: Stack) -> Iterator[Parts]:
    """Start stores, sandbox and Prefect server, with pools and deployments, schedules paused.

    Raises:
        ServiceFailed, LauncherError: a part or a step failed.
    """
    passwords = {account.usr: secrets.token_urlsafe(12) for account in DEMO_ACCOUNTS}
    accounts = [replace(account, pwd=passwords[account.usr]) for account in DEMO_ACCOUNTS]
    source, prefect_database, redis_url, mongo_url, sandbox_url = at_once(
        stack,
        lambda: start_postgres(stack, SOURCE_POSTGRES),
        lambda: start_postgres(stack, PREFECT_POSTGRES),
        lambda: start_redis(stack),
        lambda: start_mongo(stack),
        lambda: start_sandbox(stack, accounts),
    )
    observer_password = secrets.token_urlsafe(24)
    _count_statements(stack, source, observer_password)
    with SandboxAdmin(sandbox_url) as sandbox:
        parts = Parts(
            stack=stack,
            source=source,
            prefect_database=prefect_database,
            prefect=start_prefect_server(stack, prefect_database),
            sandbox=sandbox,
            mongo_url=mongo_url,
            redis_url=redis_url,
            passwords=passwords,
            observer_password=observer_password,
        )
        deploy(parts)
        yield parts


def deploy(parts: Parts) -> None:
    """Create this project's work pools and deployments, schedules paused."""
    apply_pools(parts)
    client = prefect_client_environment(parts.stack, parts.prefect)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    run_command(parts.stack, "deploy", command, client)
    parts.pause_schedules(True)


def apply_pools(parts: Parts, *arguments: str) -> None:
    """Bring the work pools up to date."""
    client = prefect_client_environment(parts.stack, parts.prefect)
    command = [sys.executable, "-m", "deployments.server.work_pools", *arguments]
    run_command(parts.stack, "work-pools", command, client)


def restart_prefect(parts: Parts, name: str, settings: dict[str, str]) -> Parts:
    """Replace the Prefect server with a new one with an empty database and additional settings.

    The settings apply to the server and to everything that is started afterwards.
    """
    stack = parts.stack
    stack.remove(parts.prefect_name)
    parts.prefect_database.drop_database(parts.prefect_database.url(PREFECT_DATABASE))
    for variable in [v for v in stack.environment if v.startswith("PREFECT_")]:
        del stack.environment[variable]
    stack.environment.update(settings)
    prefect = start_prefect_server(stack, parts.prefect_database, name)
    parts = replace(parts, prefect=prefect, prefect_name=name)
    deploy(parts)
    return parts


def plain(url: str) -> str:
    """A SQLAlchemy URL in the format of the driver itself."""
    return url.replace("+psycopg", "").replace("+asyncpg", "")


def _count_statements(stack: Stack, postgres: PostgresServer, observer_password: str) -> None:
    """Enable pg_stat_statements, and create the role of the observer."""
    dsn = plain(postgres.url("postgres"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        connection.execute(
            sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(
                sql.Identifier(OBSERVER), sql.Literal(observer_password)
            )
        )
    stack.restart(SOURCE_POSTGRES)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("ALTER SYSTEM SET pg_stat_statements.track_utility = off")
        connection.execute("SELECT pg_reload_conf()")
