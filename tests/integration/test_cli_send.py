"""`dqg send` up to the worker, which these tests have none of; tests/e2e follows it to the end."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support.cli import dqg, dqg_json
from tests.support.documents import SHOPS
from tests.support.system import System

pytestmark = pytest.mark.usefixtures("deployed")

NOWHERE = "http://127.0.0.1:9/api"


def parameters_of(run_id: str) -> dict[str, object]:
    async def read() -> dict[str, object]:
        async with get_client() as client:
            return (await client.read_flow_run(UUID(run_id))).parameters

    return asyncio.run(read())


async def pause_pool(paused: bool) -> None:
    from prefect.client.schemas.actions import WorkPoolUpdate

    async with get_client() as client:
        await client.update_work_pool("sale", WorkPoolUpdate(is_paused=paused))


def test_a_run_is_started_for_exactly_this_document(system: System) -> None:
    system.add("sale", "HD-1")
    system.add("sale", "HD-1", shop="SHOP02")
    code = SHOPS["SHOP02"].ma_co_so
    words = ("send", "sale", "HD-1", "--pharmacy-code", code, "--timeout", "1")
    found = dqg_json(*words, status=1)
    assert (found["accepted"], found["status"], found["run_ended"]) == (
        False,
        "PENDING_SYNC",
        False,
    )
    assert parameters_of(found["run_id"]) == {
        "local_invoice_id": "HD-1",
        "pharmacy_code": code,
        "force": False,
    }
    assert "worker" in found["waits_for"]
    (kept,) = system.mongo.audit.find({})
    assert (kept["action"], kept["documents"], kept["shops"]) == ("sent", ["HD-1"], ["SHOP02"])


def test_a_paused_pool_is_named(system: System) -> None:
    system.add("sale", "HD-1")
    asyncio.run(pause_pool(True))
    try:
        text = dqg("send", "sale", "HD-1", "--timeout", "1", status=1)
    finally:
        asyncio.run(pause_pool(False))
    assert "the work pool is paused" in text
    assert "continues to wait" in text


def test_what_cannot_be_sent_is_said_before_any_run(system: System) -> None:
    system.add("sale", "TWO")
    system.add("sale", "TWO", shop="SHOP02")
    system.add("sale", "SENT", status="SYNC_SUCCESS", national_invoice_id="QG-1")
    assert "HD-0" in dqg("send", "sale", "HD-0", status=1)
    assert "--pharmacy-code" in dqg("send", "sale", "TWO", status=1)
    text = dqg("send", "sale", "SENT", status=1)
    assert "QG-1" in text
    assert "--force" in text
    dqg("send", "nothing", "HD-0", status=2)


def test_an_accepted_document_that_was_not_sent_again_is_no_success(system: System) -> None:
    system.add("sale", "SENT", status="SYNC_SUCCESS", national_invoice_id="QG-1")
    found = dqg_json("send", "sale", "SENT", "--force", "--timeout", "1", status=1)
    assert not found["accepted"]
    assert parameters_of(found["run_id"])["force"] is True


def test_prefect_away_is_named(system: System) -> None:
    system.add("sale", "HD-1")
    with temporary_settings({PREFECT_API_URL: NOWHERE}):
        assert "Prefect" in dqg("send", "sale", "HD-1", status=1)
        assert "Prefect" in dqg_json("send", "sale", "HD-1", status=1)["error"]
    assert system.statuses("sale") == {"HD-1": "PENDING_SYNC"}
