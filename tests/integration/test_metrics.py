"""What flows count on the real parts, and that nothing of a document or a person is in it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.metrics.files import read
from lib.pipelines import SALE
from tests.support.system import System

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DQG_METRICS__DIR", str(tmp_path))
    return tmp_path


def counted(folder: Path) -> dict[tuple[str, ...], float]:
    """Counters and gauges by name and labels."""
    return {
        (key.name, *key.labels): value
        for key, (value, _) in read(folder).values.items()
        if not key.part
    }


def content_of(folder: Path) -> str:
    return "".join(path.read_text("utf-8", "replace") for path in folder.iterdir())


@pytest.mark.parametrize("granularity", ["flow", "task"])
@pytest.mark.settings(sync={"task_retries": 1}, breaker={"documents": 2, "shops": 1})
async def test_a_batch_counts_its_documents_calls_and_retries(
    system: System, folder: Path, granularity: str
) -> None:
    system.set_password("SHOP02", "qxwrong")
    system.add("sale", "GOOD", customer_name="Nguyễn Thị qxbuyer")
    system.add("sale", "INVALID", line={"lot_number": " "})
    system.add("sale", "NO-ACCOUNT", shop="SHOP02")
    claim = system.source.claims.claim(SALE, token="batch", limit=9, lease=timedelta(seconds=60))
    assert len(claim.documents) == 3
    await sale(claim_token="batch", granularity=granularity, return_state=True)

    system.admin.add_fault(
        "status", operation="create", match={"code": "BUSY-*"}, status=503, body={}
    )
    for number in range(2):
        system.add("sale", f"BUSY-{number}")
        await sale(local_invoice_id=f"BUSY-{number}", granularity=granularity, return_state=True)

    found = counted(folder)
    assert found["dqg_documents_total", "sale", "accepted", "none"] >= 1
    assert found["dqg_documents_total", "sale", "failed", "invalid"] == 1
    assert found["dqg_documents_total", "sale", "released", "account"] == 1
    assert found["dqg_api_calls_total", "sale", "submit", "2xx", "ok"] >= 1
    assert found["dqg_api_calls_total", "sale", "submit", "5xx", "unavailable"] == 3
    assert found["dqg_breaker_changes_total", "account", "open"] == 1
    assert found["dqg_breaker_changes_total", "pipeline", "open"] == 1
    for planted in ("qxwrong", "qxbuyer", "GOOD", "INVALID", "SHOP01", "SHOP02"):
        assert planted not in content_of(folder)


@pytest.mark.settings(sync={"task_retries": 2})
async def test_calls_repeated_within_a_run_are_counted(system: System, folder: Path) -> None:
    system.add("sale", "BUSY")
    system.admin.add_fault(
        "status", operation="create", match={"code": "BUSY"}, status=503, body={}, times=2
    )
    await sale(local_invoice_id="BUSY", return_state=True)
    found = counted(folder)
    assert system.document("sale", "BUSY").status == "SYNC_SUCCESS"
    assert found["dqg_retries_total", "sale"] == 2


async def test_orchestrate_shows_the_queue_and_the_breakers(system: System, folder: Path) -> None:
    for number in range(3):
        system.add("sale", f"HD-{number}")
    system.change("sale", "HD-2", unconfirmed=True)
    await orchestrate(return_state=True)
    found = counted(folder)
    assert found["dqg_queue_documents", "sale", "in_flight"] == 3
    assert found["dqg_queue_documents", "sale", "ready"] == 0
    assert found["dqg_queue_documents", "sale", "unconfirmed"] == 1
    assert found["dqg_queue_batches", "sale"] == 1
    assert found["dqg_queue_oldest_seconds", "import"] == 0
    assert found["dqg_breaker_state", "sale"] == 0
    assert found["dqg_paused_shops", "sale"] == 0


async def test_a_folder_that_cannot_be_used_stops_no_document(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("DQG_METRICS__DIR", str(tmp_path / "file"))
    system.add("sale", "HD-1")
    await sale(local_invoice_id="HD-1", return_state=True)
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"
