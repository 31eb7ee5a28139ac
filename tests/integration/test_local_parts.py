"""The parts of the local stack are the real things, and can be told from each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pymongo
import pytest
import redis

from deployments.local.errors import LauncherError
from deployments.local.parts import postgres as postgres_module
from deployments.local.parts.postgres import PostgresServer, start_postgres
from deployments.local.parts.stores import start_mongo, start_redis
from deployments.local.state import empty_state
from deployments.local.supervisor.service import NotReady, Service, ServiceFailed, Stage
from deployments.local.supervisor.stack import ROOT, Stack, free_port
from tests.support.sandbox import Sandbox
from tests.support.waiting import wait_until


def sleeper(name: str, directory: Path, code: str = "pass", **changes: object) -> Service:
    """A part that runs some Python code and then waits for its end."""
    values: dict[str, object] = {
        "name": name,
        "command": [sys.executable, "-c", f"{code}\nimport time\ntime.sleep(600)"],
        "ready": lambda: None,
        "stage": Stage.SERVER,
        "directory": directory,
    }
    return Service(**{**values, **changes})  # type: ignore[arg-type]


def never_ready() -> None:
    raise NotReady("nobody is at home")


def test_postgres_gives_each_caller_an_empty_utf8_database(
    postgres: PostgresServer, database_url: str
) -> None:
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE names (name text)")
        connection.execute("INSERT INTO names VALUES (%s)", ["Dược phẩm Hà Nội"])
        assert connection.execute("SELECT name FROM names").fetchone() == ("Dược phẩm Hà Nội",)
    other = postgres.create_database("other")
    with psycopg.connect(other.replace("+psycopg", "")) as connection:
        count = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
    assert count == (0,)
    postgres.drop_database(other)
    postgres.drop_database(other)


def test_postgres_refuses_a_wrong_password(postgres: PostgresServer) -> None:
    stranger = PostgresServer(postgres.port, "guessed")
    with pytest.raises(NotReady, match="password authentication failed"):
        stranger.check()


def test_redis_needs_its_password(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []
        client.set("left", "over")  # the fixture of the next test removes it
        port = client.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_redis_is_empty_for_each_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []


def test_mongo_keeps_databases_apart(mongo_url: str, mongo_database_name: str) -> None:
    with pymongo.MongoClient[dict[str, object]](mongo_url) as client:
        client[mongo_database_name]["logs"].insert_one({"name": "Thuốc"})
        assert client[mongo_database_name]["logs"].count_documents({}) == 1
        assert client[f"{mongo_database_name}_other"]["logs"].count_documents({}) == 0


def test_no_secret_stands_on_a_command_line(
    stack: Stack, postgres: PostgresServer, redis_url: str
) -> None:
    secret_values = (postgres.password, urlsplit(redis_url).password or "")
    for name in ("postgres", "redis"):
        pid = stack.pid(name)
        assert pid is not None
        command = " ".join(psutil.Process(pid).cmdline())
        assert not any(value in command for value in secret_values)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_postgres_does_not_run_as_root(stack: Stack, postgres: PostgresServer) -> None:
    pid = stack.pid("postgres")
    assert pid is not None
    assert psutil.Process(pid).username() == "nobody"


def test_a_part_gets_its_environment_exactly(stack: Stack, tmp_path: Path) -> None:
    value = '{"SalesInvoices": "Hóa đơn"}\n\'100%\' (HOME)s ; # $HOME'
    code = (
        "import os, pathlib\n"
        "pathlib.Path('seen').write_text(os.environ['DQG_VALUE'], encoding='utf-8')"
    )
    stack.add(sleeper("environment", tmp_path, code, environment={"DQG_VALUE": value}))
    seen = tmp_path / "seen"
    wait_until(lambda: seen.exists() and seen.stat().st_size, "the part writes its variable")
    assert seen.read_text(encoding="utf-8") == value
    stack.remove("environment")


def test_a_part_does_not_see_settings_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere.example/api")
    with Stack(tmp_path / "state") as stack:
        stack.add(
            sleeper(
                "curious",
                tmp_path,
                "import os, pathlib\n"
                "pathlib.Path('seen').write_text(str(os.environ.get('PREFECT_API_URL')))",
            )
        )
        seen = tmp_path / "seen"
        wait_until(lambda: seen.exists() and seen.read_text(), "the part writes its variable")
    assert seen.read_text() == "None"


def test_a_part_that_dies_at_start_is_reported_with_its_last_words(
    stack: Stack, tmp_path: Path
) -> None:
    part = sleeper("dying", tmp_path, "raise SystemExit('no disk left')", ready=never_ready)
    with pytest.raises(ServiceFailed, match=r"dying stopped while starting.*\n.*no disk left"):
        stack.add(part)
    stack.remove("dying")


def test_a_part_whose_program_is_missing_is_reported(stack: Stack, tmp_path: Path) -> None:
    part = sleeper("missing", tmp_path, command=[str(tmp_path / "nothing")], ready=never_ready)
    with pytest.raises(ServiceFailed, match=r"nothing cannot be run: No such file"):
        stack.add(part)
    stack.remove("missing")


def test_a_part_that_never_becomes_ready_is_stopped(stack: Stack, tmp_path: Path) -> None:
    part = sleeper("deaf", tmp_path, ready=never_ready, ready_seconds=0.2)
    with pytest.raises(ServiceFailed, match=r"not ready after 0 s \(nobody is at home\)"):
        stack.add(part)
    assert not stack.is_running("deaf")
    stack.remove("deaf")


def test_a_part_that_loses_its_port_gets_another(stack: Stack, tmp_path: Path) -> None:
    tried: list[int] = []

    def make_service(port: int) -> Service:
        tried.append(port)
        if len(tried) == 1:
            return sleeper("late", tmp_path, "raise SystemExit('Address already in use')")
        return sleeper("late", tmp_path)

    def slow_service(port: int) -> Service:
        part = make_service(port)
        ready = never_ready if len(tried) == 1 else part.ready
        return Service(part.name, part.command, ready, part.stage, part.directory)

    assert stack.add_on_free_port(slow_service) == tried[1] != tried[0]
    stack.remove("late")


def test_free_ports_are_given_out_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_parts_are_killed_and_started_one_by_one(stack: Stack, tmp_path: Path) -> None:
    stack.add(sleeper("victim", tmp_path))
    stack.add(sleeper("witness", tmp_path))
    first, witness = stack.pid("victim"), stack.pid("witness")
    stack.kill("victim", signal.SIGKILL)
    wait_until(lambda: not stack.is_running("victim"), "the victim ends")
    assert stack.stopped_services() == ["victim"]
    assert stack.pid("victim") is None
    with pytest.raises(ProcessLookupError):
        stack.kill("victim")
    stack.start("victim")
    assert stack.pid("victim") not in (None, first)
    assert stack.pid("witness") == witness
    stack.stop("victim")
    stack.stop("victim")
    assert not stack.is_running("victim")
    stack.remove("victim")
    stack.remove("witness")


def test_workers_stop_before_the_servers_they_need(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "def end(*_):\n"
        "    with open('ended', 'a') as f: f.write({name!r} + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path({name!r}).touch()"
    )
    names = {"worker": Stage.WORKER, "store": Stage.STORE, "server": Stage.SERVER}
    with Stack(tmp_path / "state") as stack:
        for name, stage in names.items():
            stack.add(sleeper(name, tmp_path, code.format(name=name), stage=stage))
        wait_until(
            lambda: all((tmp_path / name).exists() for name in names), "all parts handle signals"
        )
    assert (tmp_path / "ended").read_text().split() == ["worker", "server", "store"]


STARTER = """
import signal, sys, time
from pathlib import Path
from deployments.local.supervisor.service import Service, Stage
from deployments.local.supervisor.stack import Stack
from deployments.local.state import empty_state

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
state = Path(sys.argv[1])
escape = "import os, sys, time; os.setsid(); time.sleep(600)"
code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {escape!r}])"
with empty_state(state) as lock, Stack(state, keep_open=[lock]) as stack:
    part = Service("parent", [sys.executable, "-c", code], lambda: None, Stage.WORKER, state)
    stack.add(part)
    (state / "private").write_text(f"{stack.private_dir} {stack.pid('parent')}")
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_process_that_started_the_stack(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    starter = subprocess.Popen(command, cwd=ROOT)  # noqa: S603
    try:
        written = tmp_path / "private"
        wait_until(lambda: written.exists() and written.read_text(), "the stack is up")
        private_dir, pid = written.read_text().split()
        parent = psutil.Process(int(pid))
        wait_until(parent.children, "the part has a child of its own")
        (reaper,) = psutil.Process(starter.pid).children()
        family = [parent, *parent.children(), *reaper.children(recursive=True)]
        # An orphan in a session of its own, as the engine of a killed worker is.
        parent.kill()
        starter.send_signal(number)
        starter.wait(30)
    finally:
        starter.kill()
        starter.wait()
    wait_until(lambda: is_free(tmp_path), "the state folder can be used again")
    assert not any(is_alive(process) for process in family)
    assert not Path(private_dir).exists()


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_free(state_dir: Path) -> bool:
    try:
        with empty_state(state_dir):
            return True
    except LauncherError:
        return False


def test_a_stack_works_in_a_folder_with_an_unusual_name(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s 100% "ours" (của tôi)'
    folder.mkdir()
    with Stack(folder / "state") as stack:
        start_redis(stack)
        start_mongo(stack)
        start_postgres(stack)
        assert stack.stopped_services() == []
        assert "Ready to accept connections" in stack.log_tail("redis")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_postgres_runs_where_its_user_cannot_reach_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = postgres_module._installed()
    for folder in (installed.parent.name, f"{installed.parent.name}.libs"):
        source = installed.parents[1] / folder
        shutil.copytree(source, closed / folder, symlinks=True)
    moved = closed / installed.relative_to(installed.parents[1])
    monkeypatch.setattr(postgres_module, "_installed", lambda: moved)
    with Stack(tmp_path / "state") as stack:
        server = start_postgres(stack)
        server.create_database("reached")
        pid = stack.pid("postgres")
        assert pid is not None
        assert Path(psutil.Process(pid).exe()).is_relative_to(stack.private_dir)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_giving_up_ends_the_wait_for_a_service(tmp_path: Path) -> None:
    with Stack(tmp_path / "state") as stack, ThreadPoolExecutor() as pool:
        waiting = pool.submit(stack.add, sleeper("deaf", tmp_path, ready=never_ready))
        wait_until((stack.log_dir / "deaf.log").exists, "the part has been started")
        stack.give_up()
        with pytest.raises(ServiceFailed, match="deaf was not ready when the wait was cancelled"):
            waiting.result(timeout=30)
        assert not stack.is_running("deaf")


def test_the_sandbox_is_as_new_for_each_test(sandbox: Sandbox) -> None:
    response = httpx.post(
        f"{sandbox.base_url}/tai_khoan/dang_nhap",
        json={"usr": "demo_hoasen", "pwd": "Demo-hoasen-1"},
        trust_env=False,
    )
    assert response.json()["data"]["token"]
    assert len(sandbox.admin.calls()) == 1
    sandbox.admin.set_options(latency_ms=1)


def test_the_sandbox_is_reset_between_tests(sandbox: Sandbox) -> None:
    assert sandbox.admin.calls() == []
