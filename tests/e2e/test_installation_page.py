"""The commands of docs/installation.md, word for word, in a checkout with nothing but a `.env`.

Placeholders of the page (addresses, passwords) are replaced by those of real parts. The commands
that make the environment itself are not run; `NOT_RUN` names them. That of `sqlcmd` is parsed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine

from deployments.local.parts.postgres import PostgresServer
from deployments.local.parts.servers import check_http
from deployments.local.supervisor.service import Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack, free_port
from deployments.migrations import BUSINESS, migrate
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.store import open_source
from lib.source.tables import build_tables
from tests.support.documents import SHOPS, insert_document
from tests.support.sandbox import Sandbox
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

PAGE = ROOT / "docs" / "installation.md"
TABLES = build_tables(SourceSettings())
DOCUMENT = "HD-S01-000101"
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)

NOT_RUN = {
    "python3 -m venv .venv": "makes the environment that this test runs in",
    ".venv/bin/python -m pip install --no-deps --require-hashes -r requirements.txt": "likewise",
    ".venv/bin/python -m pip install --no-deps --editable .": "likewise",
    "source .venv/bin/activate": "likewise",
    "apt-get install unixodbc": "changes the system",
}


def _commands() -> list[str]:
    return [
        line.strip()
        for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.strip()
    ]


@dataclass
class Checkout:
    """A copy of the code, and what a person's shell knows in it."""

    folder: Path
    stack: Stack
    environment: dict[str, str]
    replacements: dict[str, str]
    port: int
    workers: int = 0
    later: list[str] = field(default_factory=list)

    def read(self, line: str) -> str:
        for placeholder, real in self.replacements.items():
            line = line.replace(placeholder, real)
        return line

    def run(self, line: str, *, within: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the page's own commands
            ["/bin/bash", "-c", self.read(line)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def must_run(self, line: str) -> str:
        done = self.run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, line: str, name: str, stage: Stage, url: str | None = None) -> None:
        """A command that stays: a server, a worker."""

        def ready() -> None:
            if url is not None:
                check_http(url)

        self.stack.add(
            Service(
                name=name,
                command=shlex.split(self.read(line)),
                ready=ready,
                stage=stage,
                directory=self.folder,
                environment=self.environment,
                ready_seconds=180,
                stop_seconds=20,
            )
        )

    def set(self, *lines: str) -> None:
        with (self.folder / ".env").open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def _programs(folder: Path) -> None:
    """The commands that the environment has once the checkout is installed in it."""
    folder.mkdir()
    console = "from deployments.cli.console_script import main; main()"
    for name, arguments in {
        "python": "",
        "prefect": "-m prefect",
        "alembic": "-m alembic",
        "dqg": f"-c '{console}'",
    }.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n', encoding="utf-8")
        program.chmod(0o700)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The pharmacy's database, as it is before anything of ours is in it."""
    migrate(database_url, BUSINESS)
    engine = create_source_engine(database_url, SourceSettings())
    # Failed, so that the schedule does not send it before the page does.
    insert_document(engine, TABLES, "sale", DOCUMENT, status="SYNC_FAILED")
    with engine.begin() as connection:
        for shop, account in SHOPS.items():
            values = {
                "shop_pharmacy_code": shop,
                "pharmacy_code": account.ma_co_so,
                "account": account.usr,
                "password": account.pwd,
                "shop_name": shop,
                "address": "-",
                "phone_number": "-",
                "status": 1,
            }
            connection.execute(TABLES.accounts.insert().values(values))
    yield engine
    engine.dispose()


@pytest.fixture
def checkout(stack: Stack, postgres: PostgresServer, tmp_path: Path) -> Checkout:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("deployments", "flows", "lib", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "prefect.yaml", ".env.example", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    _programs(tmp_path / "bin")
    port = free_port()
    server_database = postgres.create_database("prefect").rsplit("/", 1)[1]
    own = {n: v for n, v in os.environ.items() if not n.startswith(("DQG_", "PREFECT_"))}
    return Checkout(
        folder,
        stack,
        own
        | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PREFECT_HOME": str(tmp_path / "prefect"),
        },
        {
            "postgresql+asyncpg://prefect:PASSWORD@db.example/prefect": postgres.url(
                server_database, "asyncpg"
            ),
            "127.0.0.1:4200": f"127.0.0.1:{port}",
            "--port 4200": f"--port {port}",
        },
        port,
    )


def test_every_command_of_the_page_works(
    checkout: Checkout,
    engine: Engine,
    database_url: str,
    redis_url: str,
    mongo_url: str,
    mongo_database_name: str,
    sandbox: Sandbox,
) -> None:
    commands = _commands()
    assert NOT_RUN.keys() <= set(commands), "a command that is not run has left the page"
    for line in commands:
        if line in NOT_RUN:
            continue
        follow = next((do for begin, do in _WAYS.items() if line.startswith(begin)), _run)
        follow(checkout, line)
        if line == "chmod 600 .env":
            checkout.set(
                f"DQG_SOURCE__URL={database_url}",
                f"DQG_MONGO__URL={mongo_url}",
                f"DQG_MONGO__DATABASE={mongo_database_name}",
                f"DQG_REDIS__URL={redis_url}",
                f"DQG_API__BASE_URL={sandbox.base_url}",
            )
    assert "sync_0001" in (checkout.folder / "sync.sql").read_text(encoding="utf-8")
    (document,) = open_source(engine, TABLES).documents.find(SALE, DOCUMENT)
    assert document.status == "SYNC_SUCCESS"
    for line in checkout.later:
        checkout.must_run(line)


def _run(checkout: Checkout, line: str) -> None:
    checkout.must_run(line)


def _check_sqlcmd(_checkout: Checkout, line: str) -> None:
    """Its file exists, and has exactly the variables that it is given."""
    words = shlex.split(line)
    script = (ROOT / words[words.index("-i") + 1]).read_text(encoding="utf-8")
    given = {word.partition("=")[0] for word in words[words.index("-v") + 1 :]}
    assert given == set(re.findall(r"\$\((\w+)\)", script))


def _export(checkout: Checkout, line: str) -> None:
    name, _, value = line.removeprefix("export ").partition("=")
    checkout.environment[name] = checkout.read(value)


def _set(checkout: Checkout, line: str) -> None:
    # A reference needs a block that a person makes: tests/integration/test_secrets.py.
    if "prefect-secret://" not in line:
        checkout.set(line)


def _start_server(checkout: Checkout, line: str) -> None:
    url = f"http://127.0.0.1:{checkout.port}/api/ready"
    checkout.start(line, "page-server", Stage.SERVER, url)


def _start_worker(checkout: Checkout, line: str) -> None:
    checkout.workers += 1
    checkout.start(line, f"page-worker-{checkout.workers}", Stage.WORKER)


def _run_deployment(checkout: Checkout, line: str) -> None:
    if checkout.workers:
        checkout.must_run(line)
    else:
        checkout.later.append(line)  # the page shows it before there are deployments


def _examine(checkout: Checkout, line: str) -> None:
    # A worker counts as online a few seconds after its start.
    wait_until(lambda: checkout.run(line).returncode == 0, "a sound doctor", 240, poll=2)


def _make_key(checkout: Checkout, line: str) -> None:
    checkout.set(f"DQG_API__ACCOUNT_KEY={checkout.must_run(line).strip().splitlines()[-1]}")


#: What is done with a line of the page, by how it begins; any other is run.
_WAYS: dict[str, Callable[[Checkout, str], None]] = {
    "sqlcmd ": _check_sqlcmd,
    "export ": _export,
    "DQG_": _set,
    "prefect server start": _start_server,
    "prefect worker start": _start_worker,
    "prefect deployment run": _run_deployment,
    "dqg doctor": _examine,
    "dqg accounts key": _make_key,
}
