"""Logs as JSON: what a worker and its run write is one object a line, and says whose line it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from prefect.deployments import run_deployment
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_SETTINGS_PATH,
)

from deployments.local.supervisor.stack import ROOT
from tests.support.documents import SHOPS
from tests.support.system import System, delete_waiting_runs

JSON_LOGS = ROOT / "deployments" / "containers" / "logging" / "json.yml"
#: Printed for a person before logging begins.
_NO_LOG_LINES = ("Worker ", "Discovered ")


def run_once(pool: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a worker writes to its log that carries out what is due, and ends."""
    settings = {
        PREFECT_API_URL: PREFECT_API_URL.value(),
        PREFECT_HOME: PREFECT_HOME.value(),
        PREFECT_LOGGING_SETTINGS_PATH: JSON_LOGS,
    }
    for setting, value in settings.items():
        monkeypatch.setenv(setting.name, str(value))
    done = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--run-once"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return done.stderr


def lines_of(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in text.splitlines()
        if line.strip() and not line.startswith(_NO_LOG_LINES)
    ]


@pytest.mark.usefixtures("deployed")
def test_each_line_of_a_worker_and_its_run_is_an_object_that_names_run_and_document(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.set_password("SHOP01", "qxwrong")
    system.add("sale", "HD-1")
    system.add("sale", "HD-2", shop="SHOP02", customer_name="Nguyễn Thị qxbuyer")
    asyncio.run(delete_waiting_runs())
    run = run_deployment(
        "sale/sale", parameters={"local_invoice_id": "HD-1"}, timeout=0, as_subflow=False
    )
    good = run_deployment(
        "sale/sale", parameters={"local_invoice_id": "HD-2"}, timeout=0, as_subflow=False
    )
    written = run_once("sale", monkeypatch)
    lines = lines_of(written)
    assert system.document("sale", "HD-2").status == "SYNC_SUCCESS"

    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    of_workers = [line for line in lines if line["logger"].startswith("prefect.flow_runs.worker")]
    assert {line["flow_run_id"] for line in of_workers} == {str(run.id), str(good.id)}

    ours = {line.get("action"): line for line in lines if line["logger"].startswith("dqg.")}
    assert ours["logged_in"]["flow_run_id"]
    opened = ours["breaker_open"]
    assert (opened["pipeline"], opened["local_id"]) == ("sale", "HD-1")
    assert opened["level"] == "WARNING"

    of_documents = {(line.get("pipeline"), line.get("local_id")) for line in lines}
    assert {("sale", "HD-1"), ("sale", "HD-2")} <= of_documents
    for secret in ("qxwrong", "qxbuyer", *(account.pwd for account in SHOPS.values())):
        assert secret not in written
