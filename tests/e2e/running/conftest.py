"""The whole system as `make run` starts it: a Prefect server, a worker a pool, demo documents.

It is stopped when the tests of this folder are done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest

from deployments.local.parts.postgres import PostgresServer
from deployments.local.supervisor.stack import Stack
from deployments.local.system import MONGO_DATABASE, System, start_system
from deployments.local.verdict import find_problems
from tests.support.running import SETTINGS, DemoEnd, drain
from tests.support.waiting import wait_until

#: A stopped worker is noticed after half a minute instead of two.
QUICKER = {
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "8",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "5",
}


@pytest.fixture(scope="package")
def running(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With its documents in a database that is given to it; `make run` shows it without one."""
    source_url = postgres.create_database("given")
    with Stack(tmp_path_factory.mktemp("e2e")) as stack:
        stack.environment |= QUICKER
        with start_system(stack, source_url=source_url, settings=SETTINGS) as system:
            assert system.source_url == source_url
            yield system


@pytest.fixture(scope="package")
def demo_end(running: System) -> DemoEnd:
    drain(running)
    with pymongo.MongoClient[dict[str, Any]](running.mongo_url) as client:
        kept = client[MONGO_DATABASE].sync_failures
        wanted = len(running.plan.fail)
        # Written after the row, so that a MongoDB that is away holds up no status.
        wait_until(lambda: kept.count_documents({}) >= wanted, "the failures are kept", timeout=30)
        return DemoEnd(find_problems(running), list(kept.find()))


@pytest.fixture(scope="package")
def drained(running: System, demo_end: DemoEnd) -> System:
    """The system with its demo documents done; a test adds documents of names of its own."""
    return running
