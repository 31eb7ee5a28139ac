"""Settings and helpers shared by tests of the whole running system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployments.local.system import System
from lib.pipelines import PIPELINES
from tests.support.waiting import wait_until

SETTINGS = {
    "api": {"read_timeout": 5, "settle_seconds": 1},
    "sync": {"task_retry_delay": 0.2, "task_retry_jitter": 0, "attempt_delay": 2},
}


@dataclass(frozen=True)
class DemoEnd:
    """Results of the demo documents, read before any test added its own documents.

    Attributes:
        disagreements: with the demo's plan, one line each.
        failures: all failure records.
    """

    disagreements: list[str]
    failures: list[dict[str, Any]]


def drain(system: System) -> None:
    """Wait until the scheduled orchestrator has processed all pending documents."""

    def is_drained() -> bool:
        summaries = system.source.counts.summary(list(PIPELINES.values()))
        return not any(s.pending or s.in_flight for s in summaries)

    wait_until(is_drained, "every document has its final status", timeout=300, poll=3)
