"""Scenarios in which a store or the Prefect server becomes unavailable during sending."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text

from deployments.local.system import SOURCE_DATABASE
from tests.faults.harness import DRIVER, Harness
from tests.faults.scenario import ScenarioRun

#: Longer than the writer retries, so that outcomes are left for reconcile.
SOURCE_AWAY_SECONDS = 10.0
STORE_AWAY_SECONDS = 6.0


def source_away(run: ScenarioRun) -> None:
    """The source database becomes unavailable between acceptances and write-backs."""
    slow = run.start_slowly()
    with source_closed(run.harness):
        run.fault("source database away")
        time.sleep(SOURCE_AWAY_SECONDS)
    run.end_faults(slow)
    run.faults_ended()


def mongo_away(run: ScenarioRun) -> None:
    """MongoDB becomes unavailable in the middle of batches; nothing waits for it."""
    _without_part(run, "mongo")


def redis_away(run: ScenarioRun) -> None:
    """Redis becomes unavailable during batches and comes back empty; nothing waits for it."""
    _without_part(run, "redis")


def prefect_restarted(run: ScenarioRun) -> None:
    """The Prefect server restarts in the middle of batches."""
    stack = run.harness.stack
    slow = run.start_slowly()
    stack.restart("prefect-server")
    run.fault("prefect-server restarted")
    run.end_faults(slow)
    for part in (DRIVER, *run.harness.workers):
        run.expect(stack.is_running(part), f"{part} did not survive the restart")


def _without_part(run: ScenarioRun, name: str) -> None:
    slow = run.start_slowly()
    run.harness.stack.stop(name)
    run.fault(f"{name} away")
    seen, last_call = run.count("accepted"), run.sandbox.last_call()
    time.sleep(STORE_AWAY_SECONDS)
    run.expect(
        run.count("accepted") > seen or not run.calls(last_call),
        f"nothing was accepted while {name} was away",
    )
    run.harness.stack.start(name)
    run.end_faults(slow)
    run.faults_ended()


@contextmanager
def source_closed(harness: Harness) -> Iterator[None]:
    """The source database accepts no connection, and existing ones are terminated.

    The server itself keeps running: Prefect's own database is on it.
    """
    admin = create_engine(harness.system.postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {SOURCE_DATABASE} ALLOW_CONNECTIONS false"))
            try:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = :name"
                    ),
                    {"name": SOURCE_DATABASE},
                )
                yield
            finally:
                connection.execute(text(f"ALTER DATABASE {SOURCE_DATABASE} ALLOW_CONNECTIONS true"))
    finally:
        admin.dispose()
        harness.engine.dispose()
        harness.system.source.dispose()
