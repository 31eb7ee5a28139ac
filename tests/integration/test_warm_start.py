"""Warm starts: the launcher and the fork server, with a run that tells what it was given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.local.supervisor.stack import ROOT
from deployments.server.warm_start import launcher
from tests.support.waiting import wait_until
from tests.support.warm_start import fork_servers, is_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts are for Linux")

RUN = "tests.support.warm_run"
RUNS_TO_SHOW = 10_000
ALLOWED_GROWTH = 32 * 2**20


@dataclass
class Machine:
    """A private folder for sockets, and launchers started with it."""

    folder: Path
    root: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, do: str, **environment: str) -> subprocess.Popen[bytes]:
        path = self.root / "deployments/server/warm_start/launcher.py"
        settings = {"XDG_RUNTIME_DIR": str(self.folder), "DO": do, "LC_ALL": "C.UTF-8"}
        return subprocess.Popen(  # noqa: S603 - our own launcher
            [sys.executable, "-I", "-S", path, RUN],
            env=settings | self.environment | environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, do: str, **environment: str) -> tuple[int, str, str]:
        """Exit status, output and errors of a run."""
        with self.start(do, **environment) as process:
            out, errors = process.communicate(timeout=120)
        return process.returncode, out.decode(), errors.decode()

    def report(self, **environment: str) -> dict[str, Any]:
        """What a run was given."""
        status, out, errors = self.run("report", **environment)
        assert (status, errors) == (0, "")
        facts: dict[str, Any] = json.loads(out)
        return facts

    def waiting_run(self) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        """A launcher whose run waits for a signal, and what the run was given."""
        process = self.start("wait")
        assert process.stdout is not None
        facts: dict[str, Any] = json.loads(process.stdout.readline())
        return process, facts

    @property
    def sockets(self) -> list[Path]:
        return list(self.folder.glob("dqg-sync-*/*.socket"))

    def stop(self) -> None:
        """End the fork servers."""
        for server in fork_servers(self.folder):
            server.kill()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def shared() -> Iterator[Machine]:
    """A machine with a fork server that these tests share, because it takes seconds to start."""
    machine = Machine(Path(tempfile.mkdtemp(prefix="warm-")))
    machine.report()
    yield machine
    machine.stop()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine without a fork server."""
    machine = Machine(Path(tempfile.mkdtemp(prefix="warm-")))
    yield machine
    machine.stop()


@pytest.fixture
def checkout(machine: Machine, tmp_path: Path) -> Machine:
    """A machine with a copy of the code that a test may change."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("flows", "tasks", "lib"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("deployments", "deployments/server", "tests", "tests/support"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name in ("deployments/server/warm_start", "tests/support/warm_run.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    machine.root = tmp_path
    return machine


def test_runs_are_forked_from_one_preloaded_process(shared: Machine) -> None:
    first, second = shared.report(), shared.report()
    assert first["preloaded"]
    assert second["parent"] == first["parent"] != os.getpid()
    assert second["pid"] != first["pid"]


def test_a_run_has_its_launchers_environment_and_folder_and_nothing_else(shared: Machine) -> None:
    shared.report(OF_ANOTHER_RUN="1")
    facts = shared.report(DQG_SOURCE__URL="secret")
    assert facts["folder"] == facts["path"][0] == str(shared.folder)
    assert facts["environment"] == {
        "DO": "report",
        "DQG_SOURCE__URL": "secret",
        "LC_ALL": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(shared.folder),
    }


def test_the_preloaded_process_has_no_thread_no_connection_and_no_setting_of_a_run(
    shared: Machine,
) -> None:
    facts = shared.report(DQG_SOURCE__URL="secret", PREFECT__FLOW_RUN_ID="1")
    server = psutil.Process(facts["parent"])
    assert server.num_threads() == facts["threads"] == 1
    assert server.net_connections("inet") == []
    assert not {"DQG_SOURCE__URL", "PREFECT__FLOW_RUN_ID", "DO"} & server.environ().keys()


@pytest.mark.parametrize(("do", "status"), [("exit", 3), ("raise", 1), ("die", -signal.SIGKILL)])
def test_a_run_ends_its_launcher_as_it_ends(shared: Machine, do: str, status: int) -> None:
    assert shared.run(do)[0] == status


def test_output_and_errors_arrive_where_the_launchers_go(shared: Machine) -> None:
    assert shared.run("exit") == (3, "out\n", "err\n")
    assert "ValueError: as it was told" in shared.run("raise")[2]


def test_output_is_streamed_and_a_signal_is_forwarded(shared: Machine) -> None:
    process, _ = shared.waiting_run()
    with process:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, b"signal 15\n")


def test_a_run_dies_with_its_launcher(shared: Machine) -> None:
    process, facts = shared.waiting_run()
    with process:
        process.kill()
        wait_until(lambda: is_gone(facts["pid"]), "the run is gone")
    assert shared.report()["parent"] == facts["parent"]


def test_a_launcher_dies_with_its_run(shared: Machine) -> None:
    process, facts = shared.waiting_run()
    with process:
        os.kill(facts["pid"], signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL


def test_launcher_and_run_die_with_the_preloaded_process_and_the_next_run_works(
    machine: Machine,
) -> None:
    process, facts = machine.waiting_run()
    with process:
        os.kill(facts["parent"], signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    wait_until(lambda: is_gone(facts["pid"]), "the run is gone")
    assert machine.report()["parent"] != facts["parent"]


def test_a_terminated_preloaded_process_waits_for_its_runs(machine: Machine) -> None:
    process, facts = machine.waiting_run()
    with process:
        os.kill(facts["parent"], signal.SIGTERM)
        wait_until(lambda: not machine.sockets, "it takes no more requests")
        assert machine.report()["parent"] != facts["parent"]
        process.terminate()
        assert process.wait(60) == 7
    wait_until(lambda: is_gone(facts["parent"]), "the terminated one has ended")


def test_launchers_that_come_at_once_share_one_preloaded_process(machine: Machine) -> None:
    with ThreadPoolExecutor(6) as threads:
        facts = list(threads.map(lambda _: machine.report(), range(6)))
    assert len({fact["parent"] for fact in facts}) == 1
    assert len({fact["pid"] for fact in facts}) == 6


def test_a_preloaded_process_ends_when_it_is_not_used(machine: Machine) -> None:
    machine.environment["DQG_WARM_START__IDLE_SECONDS"] = "0.2"
    server = machine.report()["parent"]
    wait_until(lambda: is_gone(server), "it has ended")
    assert machine.sockets == []
    assert machine.report()["parent"] != server


def test_changed_code_is_run_by_another_preloaded_process(checkout: Machine) -> None:
    flow = checkout.root / "flows/pipelines.py"
    before = checkout.report()["parent"]
    flow.write_text(flow.read_text(encoding="utf-8") + '\nMARK = "new"\n', encoding="utf-8")
    assert checkout.report()["parent"] != before
    _, out, _ = checkout.run("load", FOLDER=str(checkout.root))
    assert json.loads(out) == {"file": str(flow), "mark": "new"}


def test_code_that_cannot_be_imported_is_left_to_a_cold_start(checkout: Machine) -> None:
    (checkout.root / "flows/broken.py").write_text("import does_not_exist\n", encoding="utf-8")
    status, out, errors = checkout.run("report")
    assert (status, json.loads(out)["preloaded"]) == (0, False)
    assert "cold start of this run: the fork server ended" in errors
    (log,) = checkout.folder.glob("dqg-sync-*/*.log")
    assert "does_not_exist" in log.read_text(encoding="utf-8")


def test_a_deployment_gets_the_code_of_its_own_folder(shared: Machine, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/__init__.py").touch()
    other = tmp_path / "flows/pipelines.py"
    other.write_text('MARK = "another checkout"\n', encoding="utf-8")
    status, out, errors = shared.run("load", FOLDER=str(tmp_path))
    assert (status, errors) == (0, "")
    assert json.loads(out) == {"file": str(other), "mark": "another checkout"}


def test_a_folder_that_others_can_reach_is_not_used(machine: Machine) -> None:
    folder = machine.folder / f"dqg-sync-{os.geteuid()}"
    folder.mkdir(mode=0o755)
    status, out, errors = machine.run("report")
    facts = json.loads(out)
    assert (status, facts["preloaded"]) == (0, False)
    assert errors == f"dqg-sync: cold start of this run: {folder} is not a private folder\n"
    assert facts["path"][:2] == [str(machine.folder), str(ROOT)], "as after a warm start"


def test_a_path_too_long_for_a_socket_is_a_cold_start(machine: Machine) -> None:
    long = machine.folder / ("x" * 80)
    long.mkdir()
    status, _, errors = machine.run("exit", XDG_RUNTIME_DIR=str(long))
    assert status == 3
    assert errors.count("\n") == 2, "one line, and what the run says"
    assert "the path of the socket is too long" in errors


def test_a_preloaded_library_gets_the_variables_of_the_run(machine: Machine) -> None:
    """It reads them when a process starts, which a forked run has behind it."""
    status, _, errors = machine.run("exit", LD_PRELOAD="libc.so.6")
    assert status == 3
    assert "cold start of this run: LD_PRELOAD is set" in errors


def test_the_memory_of_the_preloaded_process_does_not_grow(shared: Machine) -> None:
    """Runs are asked for as the launcher does, without its interpreter; growth is extrapolated."""
    server = psutil.Process(shared.report()["parent"])
    (path,) = shared.sockets
    environment = {b"DO": b"nothing"}

    def run_some(number: int) -> None:
        for _ in range(number):
            with open(os.devnull, "r+b") as null:
                request = os.memfd_create("request")
                os.write(request, launcher.encode_request(RUN, b"/", environment))
                connection = launcher.connect(str(path))
                assert connection is not None
                with connection:
                    files = [null.fileno()] * 3
                    socket.send_fds(connection, [b"r"], [*files, request])
                    os.close(request)
                    assert connection.recv(1) == launcher.STARTED
                    assert connection.recv(4) == launcher.STATUS.pack(0)

    run_some(20)
    before, files = server.memory_info().rss, server.num_fds()
    run_some(80)
    growth = (server.memory_info().rss - before) / 80 * RUNS_TO_SHOW
    assert growth < ALLOWED_GROWTH
    wait_until(lambda: server.num_fds() <= files, "the last run's files are closed")


def test_a_fork_server_that_should_be_ready_is_not_waited_for_long(tmp_path: Path) -> None:
    """One that is stuck costs each run seconds: they start cold."""
    path = tmp_path / "s.socket"
    path.touch()
    assert (
        launcher.START_SECONDS - 60 < launcher.answer_timeout(str(path)) <= launcher.START_SECONDS
    )
    os.utime(path, (0, 0))
    assert launcher.answer_timeout(str(path)) == launcher.ANSWER_SECONDS
    path.unlink()
    assert launcher.answer_timeout(str(path)) == launcher.ANSWER_SECONDS
