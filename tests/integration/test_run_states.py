"""How the run of a document ends in Prefect, and what its log says."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import State

from flows.pipelines import sale
from tests.integration.test_pipelines import run_batch
from tests.support.system import System

pytestmark = pytest.mark.anyio


async def state_of_run(local_id: str) -> State[object]:
    """The last state of a document's subflow."""
    named = FlowRunFilterName(any_=[f"sale-invoice {local_id}"])
    async with get_client() as client:
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=named))
    assert run.state is not None
    return run.state


@pytest.mark.parametrize("granularity", ["flow", "task"])
async def test_a_refused_document_leaves_no_traceback(
    system: System, granularity: str, caplog: pytest.LogCaptureFixture
) -> None:
    system.add("sale", "BLANK-LOT", line={"lot_number": " "})
    system.add("sale", "UNKNOWN-DRUG", line={"drug_code": "DQG99999999"})
    await run_batch(system, "sale", granularity=granularity)
    assert set(system.statuses("sale").values()) == {"SYNC_FAILED"}
    assert "Traceback" not in caplog.text
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def test_a_refused_document_fails_with_its_reason_as_the_message(system: System) -> None:
    local_id = f"BLANK-{uuid4().hex[:8]}"
    system.add("sale", local_id, line={"lot_number": " "})
    await run_batch(system, "sale")
    state = await state_of_run(local_id)
    assert (state.name, state.message) == ("Failed", "dòng 1, số lô (so_lo): để trống")
    assert system.document("sale", local_id).message == state.message


async def test_a_document_that_waits_for_its_account_is_not_failed(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    local_id = f"WAITS-{uuid4().hex[:8]}"
    system.add("sale", local_id, shop="SHOP99")
    await run_batch(system, "sale")
    state = await state_of_run(local_id)
    assert (state.name, state.is_completed()) == ("Waiting", True)
    assert "SHOP99" in (state.message or "")
    assert "Traceback" not in caplog.text

    by_hand = await sale(local_invoice_id=local_id, return_state=True)
    assert (by_hand.name, by_hand.is_failed()) == ("Waiting", False)
    assert system.document("sale", local_id).status == "PENDING_SYNC"


async def test_a_document_that_cannot_be_sent_by_hand_says_why_in_words(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.add("sale", "SENT")
    await run_batch(system, "sale")
    said = {
        local_id: (await sale(local_invoice_id=local_id, return_state=True)).message
        for local_id in ("MISSPELT", "SENT")
    }
    assert said == {
        "MISSPELT": "không có Hóa đơn bán 'MISSPELT'",
        "SENT": "Hóa đơn bán 'SENT' đã được tiếp nhận; chỉ gửi lại khi chọn force",
    }
    assert "Traceback" not in caplog.text
