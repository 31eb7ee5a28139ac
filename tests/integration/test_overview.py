"""The overviews `reconcile` keeps for operators: on the real parts, also with some away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from flows.pipelines import sale
from flows.reconcile import reconcile
from lib.pipelines import SALE
from lib.settings import MongoSettings
from lib.tracking.availability import by_hour
from lib.tracking.mongo import open_client
from lib.tracking.task_logs import TaskLogReader
from tests.support.artifacts import latest_artifact, rows_of
from tests.support.system import System

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]

UNKNOWN = {"drug_code": "DQG99999999"}


async def send_pending(system: System, granularity: str = "flow") -> None:
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )
    await sale(claim_token=claim.token, granularity=granularity, return_state=True)


async def test_failures_alike_are_one_line_with_a_link_to_a_run(system: System) -> None:
    system.add("sale", "U-1", line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    system.add("sale", "U-2", shop="SHOP02", line=UNKNOWN)
    system.add("sale", "BLANK", line={"lot_number": " "})
    await send_pending(system)
    await reconcile(return_state=True)
    found = await latest_artifact("failure-groups")
    largest, blank = rows_of(found)
    assert (largest["documents"], largest["drug code"]) == ("2", "DQG99999999")
    assert largest["shops"] == "SHOP01, SHOP02"
    assert blank["field"] == "so_lo"
    run_id = system.mongo.sync_failures.find_one({"local_id": "BLANK"})["record_run_id"]
    assert blank["example"] == f"[BLANK](../../runs/flow-run/{run_id})"
    assert "3 failures wait" in found.description
    assert "Bí Mật" not in found.data + found.description


async def test_a_document_that_ran_as_a_task_is_linked_to_its_task_run(system: System) -> None:
    system.add("sale", "BLANK", line={"lot_number": " "})
    await send_pending(system, "task")
    await reconcile(return_state=True)
    (row,) = rows_of(await latest_artifact("failure-groups"))
    assert "(../../runs/task-run/" in row["example"]


async def test_without_failures_that_is_said(system: System) -> None:
    await reconcile(return_state=True)
    found = await latest_artifact("failure-groups")
    assert "No open failure." in found.data
    assert "No document waits" in found.description


async def test_the_apis_health_is_told_from_our_own_calls(system: System) -> None:
    for number in range(3):
        system.add("sale", f"HD-{number}")
    system.add("sale", "U-1", line=UNKNOWN)
    await send_pending(system)
    await reconcile(return_state=True)
    page = (await latest_artifact("api-availability")).data
    assert "**100.0%** of 4 calls were answered" in page
    assert "1 answers refused the document" in page


async def test_calls_are_counted_by_hour_end_and_latency(system: System) -> None:
    now = datetime.now(UTC)

    def log(age: timedelta, *ends: str | None) -> dict[str, Any]:
        at = now - age
        call = {"action": "submit", "at": at, "duration_ms": 30.0, "http_status": None}
        return {
            "_id": str(uuid4()),
            "created_at": at,
            "attempts": [call | {"error_class": end} for end in ends],
        }

    system.mongo.task_logs.insert_many(
        [
            log(timedelta(0), None, "unavailable"),
            log(timedelta(hours=3), None, None, "rejected"),
            log(timedelta(days=3), "unavailable"),
            {"_id": "waits", "created_at": now},
        ]
    )
    settings = MongoSettings(
        url=system.environment["DQG_MONGO__URL"],
        database=system.environment["DQG_MONGO__DATABASE"],
    )
    async with open_client(settings) as client:
        logs = TaskLogReader(client[settings.database])
        counts = await logs.calls_by_hour(now - timedelta(hours=23))
    hours = [
        (h.calls, h.refused, h.errors) for _, h in by_hour(counts, datetime.now(UTC)) if h.calls
    ]
    assert sorted(hours) == [(2, 0, 1), (3, 1, 0)]


async def test_without_mongodb_nothing_fails_and_the_artifacts_stay(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile(return_state=True)
    before = await latest_artifact("failure-groups")
    monkeypatch.setenv("DQG_MONGO__URL", "mongodb://127.0.0.1:9")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    state = await reconcile(return_state=True)
    assert state.is_completed()
    assert (await latest_artifact("failure-groups")).id == before.id
