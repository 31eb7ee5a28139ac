"""Batch runs that a real worker starts warm: states, hooks, cancellation, output."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import psutil
import pytest
from prefect import get_client
from prefect.deployments import arun_deployment
from prefect.states import Cancelling

from deployments.local.parts.servers import PrefectServer, start_worker
from deployments.local.supervisor.stack import Stack
from lib.models import StoredDocument, SyncStatus
from tests.support.system import System, delete_waiting_runs
from tests.support.waiting import wait_until, wait_until_async
from tests.support.warm_start import fork_servers, is_gone

pytestmark = [pytest.mark.anyio, pytest.mark.settings(api={"read_timeout": 60})]

DOCUMENT = "HD-1"
SECRET = "not-for-a-file"


@dataclass
class Worker:
    """A worker of the pool `sale`, and the processes that it makes."""

    stack: Stack
    name: str
    folder: Path

    @property
    def process(self) -> psutil.Process:
        pid = self.stack.pid(self.name)
        assert pid is not None
        return psutil.Process(pid)

    def launchers(self) -> list[psutil.Process]:
        return [c for c in self.process.children() if "launcher.py" in " ".join(c.cmdline())]

    def runs(self) -> list[psutil.Process]:
        return [run for server in fork_servers(self.folder) for run in server.children()]

    def log(self) -> str:
        return self.stack.log_file(self.name).read_text(encoding="utf-8")


@pytest.fixture
def worker(stack: Stack, deployed: PrefectServer, system: System) -> Iterator[Worker]:
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    environment = {
        **system.environment,
        "XDG_RUNTIME_DIR": str(folder),
        "TMPDIR": str(folder),
        "SECRET_OF_A_RUN": SECRET,
    }
    asyncio.run(delete_waiting_runs())
    name = start_worker(stack, deployed, "sale", environment, f"warm-{uuid4().hex[:8]}")
    yield Worker(stack, name, folder)
    stack.remove(name)
    for server in fork_servers(folder):
        server.kill()
    shutil.rmtree(folder)


async def start(local_id: str = DOCUMENT) -> UUID:
    run = await arun_deployment(
        "sale/sale", parameters={"local_invoice_id": local_id}, timeout=0, as_subflow=False
    )
    return run.id


async def ended(run: UUID) -> str:
    """The final state of a run."""
    async with get_client() as client:
        for _ in range(600):
            state = (await client.read_flow_run(run)).state
            if state is not None and state.is_final():
                return state.type.value
            await anyio.sleep(0.1)
    raise AssertionError("the run did not end")


def document(system: System, local_id: str = DOCUMENT) -> StoredDocument:
    return system.document("sale", local_id)


async def in_the_middle(system: System, worker: Worker, local_id: str = DOCUMENT) -> UUID:
    """A run whose call to the API has been accepted and is not answered."""
    system.admin.add_fault("accept_then_hang", operation="create", seconds=600, times=1)
    system.add("sale", local_id)
    run = await start(local_id)
    await wait_until_async(
        lambda: system.accepted("sale", local_id), "the document is sent", timeout=120
    )
    assert len(worker.launchers()) == len(worker.runs()) == 1
    return run


async def test_a_run_is_forked_sends_its_document_and_shows_its_output(
    system: System, worker: Worker
) -> None:
    system.add("sale", DOCUMENT)
    assert await ended(await start()) == "COMPLETED"
    assert document(system).status is SyncStatus.SUCCESS
    assert fork_servers(worker.folder)
    assert "cold start" not in worker.log()
    assert "Finished in state Completed" in worker.log(), "the output of the run is streamed"


async def test_a_cancelled_run_ends_and_frees_its_claim(system: System, worker: Worker) -> None:
    run = await in_the_middle(system, worker)
    (process,) = worker.runs()
    async with get_client() as client:
        await client.set_flow_run_state(run, Cancelling())
    assert await ended(run) == "CANCELLED"
    assert is_gone(process.pid)
    await wait_until_async(lambda: not document(system).claim_token, "the claim is free")
    assert document(system).status is SyncStatus.PENDING
    assert await ended(await start()) == "COMPLETED"
    assert document(system).status is SyncStatus.SUCCESS
    assert system.accepted("sale", DOCUMENT) == 1


#: What is ended, and how; a launcher that is asked to end reports the end of its run.
ENDS = {
    "launcher, asked to": signal.SIGTERM,
    "launcher": signal.SIGKILL,
    "run": signal.SIGKILL,
    "preloaded process": signal.SIGKILL,
}


async def test_a_run_that_ends_early_is_crashed_and_its_claim_is_freed(
    system: System, worker: Worker
) -> None:
    for index, (what, number) in enumerate(ENDS.items()):
        local_id = f"HD-{index}"
        run = await in_the_middle(system, worker, local_id)
        (process,) = worker.runs()
        (launcher,) = worker.launchers()
        (server,) = fork_servers(worker.folder)
        found = {"run": process, "launcher": launcher, "preloaded process": server}
        os.kill(found[what.split(",")[0]].pid, number)
        assert await ended(run) == "CRASHED", what
        wait_until(lambda pid=process.pid: is_gone(pid), f"nothing of the run is left: {what}")
        kept = [path for path in worker.folder.rglob("*") if path.is_file()]
        assert not [path for path in kept if SECRET.encode() in path.read_bytes()], what
        await wait_until_async(
            lambda local_id=local_id: not document(system, local_id).claim_token,
            f"the claim is free: {what}",
        )
