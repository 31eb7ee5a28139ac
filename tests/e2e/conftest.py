"""The whole system as `make run` starts it: a Prefect server, a worker a pool, demo documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.local.stack import Stack
from deployments.local.system import System, start_system

SETTINGS = {
    "api": {"read_timeout": 5},
    "sync": {"task_retry_delay": 0.2, "task_retry_jitter": 0, "attempt_delay": 2},
}
#: A stopped worker is noticed after half a minute instead of two.
QUICKER = {
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "8",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "5",
}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with Stack(tmp_path_factory.mktemp("e2e")) as stack:
        stack.environment |= QUICKER
        with start_system(stack, settings=SETTINGS) as system:
            yield system
