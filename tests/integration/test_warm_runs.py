"""Batch runs that a real worker starts warm: states, hooks, cancellation, output."""

from __future__ import annotations

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
from tests.support.system import System
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
    name = start_worker(stack, deployed, "sale", environment, f"warm-{uuid4().hex[:8]}")
    yield Worker(stack, name, folder)
    stack.remove(name)
    for server in fork_servers(folder):
        server.kill()
    shutil.rmtree(folder)


async def start() -> UUID:
    run = await arun_deployment(
        "sale/sale", parameters={"local_invoice_id": DOCUMENT}, timeout=0, as_subflow=False
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


def document(system: System) -> StoredDocument:
    return system.document("sale", DOCUMENT)


async def in_the_middle(system: System, worker: Worker) -> UUID:
    """A run whose call to the API has been accepted and is not answered."""
    system.admin.add_fault("accept_then_hang", operation="create", seconds=600, times=1)
    system.add("sale", DOCUMENT)
    run = await start()
    await wait_until_async(
        lambda: system.accepted("sale", DOCUMENT), "the document is sent", timeout=120
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
    assert "starts cold" not in worker.log()
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


@pytest.mark.parametrize("victim", ["run", "launcher", "preloaded process"])
async def test_a_killed_run_is_crashed_and_its_hook_frees_its_claim(
    system: System, worker: Worker, victim: str
) -> None:
    run = await in_the_middle(system, worker)
    (process,) = worker.runs()
    (launcher,) = worker.launchers()
    (server,) = fork_servers(worker.folder)
    pid = {"run": process, "launcher": launcher, "preloaded process": server}[victim].pid
    os.kill(pid, signal.SIGKILL)
    assert await ended(run) == "CRASHED"
    wait_until(lambda: is_gone(process.pid), "nothing of the run is left")
    kept = [path for path in worker.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    await wait_until_async(lambda: not document(system).claim_token, "the claim is free")


async def test_a_terminated_run_crashes_by_its_own_report(system: System, worker: Worker) -> None:
    run = await in_the_middle(system, worker)
    (launcher,) = worker.launchers()
    launcher.terminate()
    assert await ended(run) == "CRASHED"
    await wait_until_async(lambda: not document(system).claim_token, "the claim is free")
