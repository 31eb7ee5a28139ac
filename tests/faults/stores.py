"""Scenarios in which a store or the Prefect server goes away while documents are on their way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text

from deployments.local.system import SOURCE_DATABASE
from tests.faults.bench import DRIVER, Bench
from tests.faults.trial import Trial

#: Longer than the writer's own patience, so that outcomes are left for reconcile.
SOURCE_AWAY_SECONDS = 10.0
STORE_AWAY_SECONDS = 6.0


def source_away(trial: Trial) -> None:
    """The source database goes away between the acceptances and their write-backs."""
    slow = trial.start_slowly()
    with source_closed(trial.bench):
        trial.fault("source database away")
        time.sleep(SOURCE_AWAY_SECONDS)
    trial.end_faults(slow)
    trial.healed()


def mongo_away(trial: Trial) -> None:
    """MongoDB goes away in the middle of batches; nothing waits for it."""
    _without_part(trial, "mongo")


def redis_away(trial: Trial) -> None:
    """Redis goes away in the middle of batches, and comes back empty; nothing waits for it."""
    _without_part(trial, "redis")


def prefect_restarted(trial: Trial) -> None:
    """The Prefect server restarts in the middle of batches."""
    stack = trial.bench.stack
    slow = trial.start_slowly()
    stack.restart("prefect-server")
    trial.fault("prefect-server restarted")
    trial.end_faults(slow)
    for part in (DRIVER, *trial.bench.workers):
        trial.expect(stack.is_running(part), f"{part} did not survive the restart")


def _without_part(trial: Trial, name: str) -> None:
    slow = trial.start_slowly()
    trial.bench.stack.stop(name)
    trial.fault(f"{name} away")
    seen, last_call = trial.count("accepted"), trial.sandbox.last_call()
    time.sleep(STORE_AWAY_SECONDS)
    trial.expect(
        trial.count("accepted") > seen or not trial.calls(last_call),
        f"nothing was accepted while {name} was away",
    )
    trial.bench.stack.start(name)
    trial.end_faults(slow)
    trial.healed()


@contextmanager
def source_closed(bench: Bench) -> Iterator[None]:
    """Nobody gets into the source database, and whoever is in is thrown out.

    The server itself stays: Prefect's own database is on it.
    """
    admin = create_engine(bench.system.postgres.url("postgres"), isolation_level="AUTOCOMMIT")
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
        bench.engine.dispose()
        bench.system.source.dispose()
