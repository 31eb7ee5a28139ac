"""What becomes of the records when Prefect itself fails in the middle of a batch."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows import fan_out
from flows.pipelines import sale
from flows.records import run_as_flow
from lib.batch import Batch
from lib.pipelines import SALE
from lib.records import Record
from lib.submission import submit
from tests.support.system import System

pytestmark = pytest.mark.anyio


def claim_all(system: System) -> str:
    lease = timedelta(seconds=60)
    return system.source.claim(SALE, token="batch", limit=10, lease=lease).token


async def test_a_record_whose_run_cannot_be_created_is_given_back_and_the_others_go_on(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "GOOD")
    system.add("sale", "UNLUCKY")

    async def run(batch: Batch, record: Record) -> None:
        if record.ref.local_id == "UNLUCKY":
            raise ConnectionError("the Prefect server is away")
        await run_as_flow(batch, record)

    monkeypatch.setattr(fan_out, "run_as_flow", run)
    state = await sale(claim_token=claim_all(system), return_state=True)
    assert state.message == "1 accepted, 1 released"
    unlucky = system.document("sale", "UNLUCKY")
    assert (unlucky.status, unlucky.claim_token, unlucky.attempts) == ("PENDING_SYNC", None, 0)
    assert not unlucky.unconfirmed


async def test_an_acceptance_whose_run_could_not_end_is_saved_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")

    async def run(batch: Batch, record: Record) -> None:
        await submit(batch, record)
        raise ConnectionError("the Prefect server is away")

    monkeypatch.setattr(fan_out, "run_as_flow", run)
    state = await sale(claim_token=claim_all(system), return_state=True)
    assert state.message == "1 accepted"
    document = system.document("sale", "HD-1")
    assert document.status == "SYNC_SUCCESS"
    assert document.national_id
