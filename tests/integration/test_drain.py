"""Draining a work pool: no run is interrupted, and none is started meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import psutil
import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.states import Completed, Running

from deployments.server.drain import DrainFailed, drain, resume, stop_workers

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]

POOL = "sale"


@pytest.fixture(autouse=True)
def pool_goes_on() -> Iterator[None]:
    yield
    asyncio.run(resume(POOL))


async def running_batch() -> FlowRun:
    run = await arun_deployment(
        "sale/sale", parameters={"claim_token": str(uuid4())}, timeout=0, as_subflow=False
    )
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Running(), force=True)
    return run


async def end(run: FlowRun) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Completed(), force=True)


async def is_paused() -> bool:
    async with get_client() as client:
        return (await client.read_work_pool(POOL)).is_paused


async def test_an_idle_pool_is_paused_until_it_is_resumed() -> None:
    await drain(POOL, 30, quiet_seconds=0)
    assert await is_paused()
    await resume(POOL)
    assert not await is_paused()
    await resume(POOL)


async def test_a_run_is_waited_for() -> None:
    run = await running_batch()
    draining = asyncio.create_task(drain(POOL, 60, quiet_seconds=0))
    done, _ = await asyncio.wait([draining], timeout=3)
    assert not done
    await end(run)
    await draining


async def test_a_run_that_does_not_end_is_named_and_left_alone() -> None:
    run = await running_batch()
    with pytest.raises(DrainFailed, match=run.name):
        await drain(POOL, 0, quiet_seconds=0)
    async with get_client() as client:
        assert (await client.read_flow_run(run.id)).state_name == "Running"
    assert await is_paused()
    await end(run)


def test_workers_are_asked_to_stop_and_waited_for() -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    stop_workers([worker.pid])
    assert not psutil.pid_exists(worker.pid)
    worker.wait()
    stop_workers([worker.pid])  # gone already


def test_a_worker_that_stays_is_not_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:  # noqa: S603
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        with pytest.raises(DrainFailed, match=str(worker.pid)):
            stop_workers([worker.pid], limit=0.5)
        assert worker.poll() is None
        worker.kill()
