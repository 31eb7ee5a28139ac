"""End to end: scheduled runs, real workers, and what an operator finds afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from deployments.local.parts.servers import prefect_client_environment
from deployments.local.supervisor.stack import ROOT
from deployments.local.system import System
from lib.models import StoredDocument
from lib.pipelines import CANCELLATION, PIPELINES, SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.tables import build_tables
from tests.support.documents import insert_document
from tests.support.running import DemoEnd, drain
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
TABLES = build_tables(SourceSettings())


def prefect(system: System, *arguments: str) -> str:
    """Runs the command a person would, in the environment a person would have."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT,
        env={**os.environ, **prefect_client_environment(system.stack, system.prefect)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dqg(system: System, *arguments: str, status: int = 0) -> str:
    """The operator's command line, likewise."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "deployments.cli", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **prefect_client_environment(system.stack, system.prefect),
            **system.environment,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def query(system: System, path: str, body: dict[str, Any]) -> Any:
    """The Prefect API, as the UI asks it."""
    response = httpx.post(f"{system.prefect.api_url}{path}", json=body, trust_env=False)
    return response.raise_for_status().json()


def get(system: System, path: str) -> Any:
    response = httpx.get(f"{system.prefect.api_url}{path}", trust_env=False)
    return response.raise_for_status().json()


def runs_named(system: System, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(
        system,
        "/flow_runs/filter",
        {"flow_runs": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC"},
    )
    return found


def document(system: System, local_id: str) -> StoredDocument:
    (found,) = system.source.documents.find(SALE, local_id)
    return found


def test_all_three_pipelines_are_drained_as_planned(demo_end: DemoEnd) -> None:
    """With the documents in a database that was given."""
    assert demo_end.disagreements == []


def test_every_failure_is_recorded_with_payload_answer_and_reason(
    drained: System, demo_end: DemoEnd
) -> None:
    failures = demo_end.failures
    assert {row["record_id"] for row in failures} == {ref.record_id for ref in drained.plan.fail}
    assert all(row["error"] and row["state"] == "open" for row in failures)
    refused_by_the_api = [row for row in failures if row["error_class"] == "rejected"]
    assert refused_by_the_api
    assert all(row["payload"] and row["answer"] for row in refused_by_the_api)


def test_runs_carry_the_documents_name_and_are_tagged(drained: System) -> None:
    (run,) = runs_named(drained, "sale-invoice HD-S01-000101")
    assert {"sale", "SHOP01"} <= set(run["tags"])
    assert run["state"]["message"].startswith("đã được nhận với mã ")


def test_pools_and_artifacts_are_there(drained: System) -> None:
    pools = {pool["name"] for pool in query(drained, "/work_pools/filter", {})}
    assert pools >= {"import", "sale", "cancellation", "scheduler"}
    artifacts = {a["key"]: a for a in query(drained, "/artifacts/latest/filter", {})}
    assert artifacts["orchestrate-summary"]["type"] == "markdown"
    assert artifacts["sale-progress"]["type"] == "progress"
    assert artifacts["sale-progress"]["data"] == 100.0


def test_the_doctor_finds_nothing_wrong(drained: System) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "doctor", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            **drained.environment,
            **prefect_client_environment(drained.stack, drained.prefect),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["findings"]
    assert {finding["verdict"] for finding in found} <= {"ok", "note"}
    assert {"clocks", "workers", "api-login"} <= {finding["check"] for finding in found}


def test_prefects_database_holds_identifiers_only(drained: System) -> None:
    runs = query(drained, "/flow_runs/filter", {"limit": 200})
    parameters = [run["parameters"] for run in runs]
    allowed = {
        *("claim_token", "pipeline", "record_id", "local_id", "granularity", "force"),
        *("pharmacy_code", "shop_pharmacy_code"),
        *(pipeline.id_parameter for pipeline in PIPELINES.values()),
    }
    assert set().union(*parameters) <= allowed


def test_a_single_invoice_is_sent_by_a_deployment_run(drained: System) -> None:
    engine = create_source_engine(drained.source_url, SourceSettings())
    insert_document(engine, TABLES, "sale", "HD-HAND", status="SYNC_FAILED")
    engine.dispose()
    prefect(drained, "deployment", "run", "sale/sale", "-p", "local_invoice_id=HD-HAND")
    wait_until(
        lambda: document(drained, "HD-HAND").status == "SYNC_SUCCESS",
        "the invoice is accepted",
        timeout=120,
    )
    (counters,) = drained.sandbox.documents(code="HD-HAND")
    assert (counters["accepted"], counters["posts"]) == (1, 1)


def test_an_unknown_invoice_fails_with_a_message_that_names_it(drained: System) -> None:
    deployment = get(drained, "/deployments/name/sale/sale")
    parameters = {"local_invoice_id": "HD-NOWHERE"}
    query(drained, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})

    def failed_run() -> dict[str, Any] | None:
        runs = runs_named(drained, "sale HD-NOWHERE")
        return runs[0] if runs and runs[0]["state_type"] == "FAILED" else None

    wait_until(failed_run, "the run fails", timeout=120)
    run = failed_run()
    assert run is not None
    assert "HD-NOWHERE" in run["state"]["message"]


def test_good_faulty_and_flaky_documents_share_a_batch(drained: System) -> None:
    engine = create_source_engine(drained.source_url, SourceSettings())
    insert_document(engine, TABLES, "cancellation", "PX-GOOD")
    insert_document(engine, TABLES, "cancellation", "PX-FLAKY")
    insert_document(engine, TABLES, "cancellation", "PX-FAULTY", issue_type=9)
    engine.dispose()
    drained.sandbox.add_fault(
        "status", operation="create", match={"code": "PX-FLAKY"}, status=503, times=2
    )
    drain(drained)
    ends = {}
    for local_id in ("PX-GOOD", "PX-FLAKY", "PX-FAULTY"):
        (found,) = drained.source.documents.find(CANCELLATION, local_id)
        ends[local_id] = found
    assert {local_id: end.status for local_id, end in ends.items()} == {
        "PX-GOOD": "SYNC_SUCCESS",
        "PX-FLAKY": "SYNC_SUCCESS",
        "PX-FAULTY": "SYNC_FAILED",
    }
    assert "loai_phieu_xuat" in (ends["PX-FAULTY"].message or "")
    # A 503 may have stored it: nothing is sent again before its call has settled.
    assert ends["PX-FLAKY"].attempts == 3


def test_one_pipeline_can_be_deployed_alone(drained: System) -> None:
    output = prefect(drained, "deploy", "-n", "sale")
    assert "sale/sale" in output
    assert get(drained, "/deployments/name/sale/sale")["work_pool_name"] == "sale"


def test_one_command_sends_a_document_and_another_tells_its_story(drained: System) -> None:
    engine = create_source_engine(drained.source_url, SourceSettings())
    insert_document(engine, TABLES, "sale", "HD-TOLD", status="SYNC_FAILED")
    insert_document(
        engine, TABLES, "sale", "HD-WRONG", status="SYNC_FAILED", line={"lot_number": " "}
    )
    engine.dispose()
    shown = dqg(drained, "send", "sale", "HD-TOLD")
    # However short, no state of the run is left out.
    seen = [line.split()[2].rstrip(":") for line in shown.splitlines() if " s  " in line]
    assert [seen[0], seen[-1]] == ["Scheduled", "Completed"]
    assert "Running" in seen
    assert f"accepted as {document(drained, 'HD-TOLD').national_id}" in shown
    refused = json.loads(dqg(drained, "send", "sale", "HD-WRONG", "--json", status=1))
    assert (refused["status"], refused["run_ended"]) == ("SYNC_FAILED", True)
    assert "so_lo" in refused["reason"]

    (told,) = json.loads(dqg(drained, "trace", "HD-TOLD", "--json"))["documents"]
    assert [e["event"] for e in told["events"] if e["store"] == "task_logs"] == [
        *("logged", "started", "attempt", "accepted", "closed"),
    ]
    assert {run["name"] for run in told["runs"]} == {"sale HD-TOLD", "sale-invoice HD-TOLD"}
