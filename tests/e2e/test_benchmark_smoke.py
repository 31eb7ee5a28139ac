"""The benchmark's harness works: each kind of way sends its documents and is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.local.supervisor.stack import ROOT

DOCUMENTS = 6
WAYS = ("bare", "threads", "task")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    state = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks"],
        cwd=ROOT,
        env={
            **os.environ,
            "STATE": str(state),
            "DOCS": str(DOCUMENTS),
            "LATENCY": "0",
            "WAYS": ",".join(WAYS),
            "STEADY": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "docs/s" in done.stdout
    found: dict[str, Any] = json.loads(Path(state / "results.json").read_text())
    return found


def test_every_way_is_measured_on_the_same_documents(results: dict[str, Any]) -> None:
    ways = {way["way"]: way for way in results["ways"]}
    assert tuple(ways) == WAYS
    assert {way["documents"] for way in ways.values()} == {DOCUMENTS}
    assert {way["posts"] for way in ways.values()} == {1.0}


def test_statements_calls_and_memory_are_counted(results: dict[str, Any]) -> None:
    ways = {way["way"]: way for way in results["ways"]}
    assert all(way["statements"] > 0 for way in ways.values())
    assert ways["bare"]["prefect_calls"] == ways["threads"]["prefect_calls"] == 0
    assert ways["task"]["prefect_calls"] > 0
    assert ways["task"]["events"] > 0
    assert all(way["peak_mb"]["client"] > 10 for way in ways.values())
    assert ways["bare"]["cpu"]["client"] > 0
    assert ways["threads"]["cpu"]["client"] > 0
