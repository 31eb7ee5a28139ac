"""`dqg doctor`: each planted fault is named, with what to do, and stops no other check.

That a whole installation is found well is tested end to end.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from sqlalchemy import update

from deployments.local.parts.servers import check_http
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.service import Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack
from deployments.migrations import SYNC
from lib.pipelines import PIPELINES
from tests.support.cli import dqg, dqg_json
from tests.support.doctor import examine, faults, verdicts
from tests.support.source import unmigrate
from tests.support.system import System
from tests.support.wrong_clock import IS_AVAILABLE, wrong_clock

pytestmark = pytest.mark.usefixtures("deployed")

NOWHERE = "127.0.0.1:9"


@pytest.fixture(scope="module")
def sqlite_server(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """API address of a Prefect server as it is without any setting: on SQLite, with nothing in."""
    home = tmp_path_factory.mktemp("sqlite-server")

    def make_service(port: int) -> Service:
        return Service(
            name="prefect-on-sqlite",
            command=[
                *(sys.executable, "-m", "prefect", "--no-prompt", "server", "start"),
                *("--host", "127.0.0.1", "--port", str(port), "--no-services"),
            ],
            ready=lambda: check_http(f"http://127.0.0.1:{port}/api/ready"),
            stage=Stage.SERVER,
            directory=home,
            environment={"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
            ready_seconds=180,
        )

    port = stack.add_on_free_port(make_service)
    yield f"http://127.0.0.1:{port}/api"
    stack.remove("prefect-on-sqlite")


def test_everything_but_the_missing_workers_and_paused_schedules_is_found_well(
    system: System,
) -> None:
    system.add("sale", "HD-1")
    found = examine()
    assert {check for check, seen in verdicts(found).items() if not seen <= {"ok", "note"}} == {
        "workers",
        "deployments",
    }
    # The test's server asks for no password.
    assert verdicts(found)["encryption"] == {"note"}
    logins = system.admin.summary()["logins"].values()
    assert [(count["ok"], count["refused"]) for count in logins] == [(1, 0)] * 3


def test_a_pool_without_a_worker_is_named(system: System) -> None:
    (fault,) = faults(examine(), "workers")
    assert "no worker of pool scheduler" in fault
    assert "prefect worker start --pool scheduler" in fault


def test_a_paused_schedule_is_named(system: System) -> None:
    found = faults(examine(), "deployments")
    assert [fault.split(" -> ")[1] for fault in found] == [
        "prefect --no-prompt deploy -n orchestrate",
        "prefect --no-prompt deploy -n reconcile",
    ]


async def _pause(pool: str, paused: bool) -> None:
    async with get_client() as client:
        await client.update_work_pool(pool, WorkPoolUpdate(is_paused=paused))


def test_a_paused_pool_is_named(system: System) -> None:
    asyncio.run(_pause("sale", True))
    try:
        found = examine()
    finally:
        asyncio.run(_pause("sale", False))
    (fault,) = faults(found, "work-pools")
    assert "prefect work-pool resume sale" in fault


@pytest.mark.parametrize(
    ("driver", "named"),
    [
        ("/opt/microsoft/msodbcsql99/lib64/libmsodbcsql.so", "no file /opt/microsoft/msodbcsql99"),
        # Where there is no driver manager that is said instead: no name can be looked up then.
        ("ODBC Driver 99 for SQL Server", "Driver 99|driver manager"),
    ],
)
def test_a_wrong_driver_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch, driver: str, named: str
) -> None:
    monkeypatch.setenv("DQG_SOURCE__URL", "mssql+pyodbc://dqg:secret@sqlserver.example/Pharmacy")
    monkeypatch.setenv("DQG_SOURCE__ODBC_DRIVER", driver)
    found = examine()
    (fault,) = faults(found, "odbc-driver")
    assert re.search(named, fault)
    assert "DQG_SOURCE__ODBC_DRIVER" in fault
    assert "secret" not in json.dumps(found)
    seen = verdicts(found)
    assert seen["source-database"] == seen["migrations"] == seen["api-login"] == {"not checked"}
    assert seen["redis"] == seen["mongodb"] == seen["prefect-database"] == {"ok"}


def test_a_missing_migration_is_named(system: System) -> None:
    unmigrate(system.environment["DQG_SOURCE__URL"], SYNC)
    found = examine()
    named = faults(found, "migrations")
    assert any(re.search(r"sync_\d+ has not been run; the last one was none", f) for f in named)
    assert all(fault.endswith("alembic upgrade sync@head") for fault in named)
    assert verdicts(found)["installation"] == {"not checked"}


def test_a_restored_copy_is_named(system: System) -> None:
    with system.engine.begin() as connection:
        table = system.tables.installation
        connection.execute(update(table).values(server_name="SQLPROD01"))
    (fault,) = faults(examine(), "installation")
    assert "SQLPROD01" in fault


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("DQG_MONGO__URL", f"mongodb://{NOWHERE}", "mongodb"),
        ("DQG_REDIS__URL", f"redis://{NOWHERE}", "redis"),
        ("DQG_SOURCE__URL", f"postgresql+psycopg://u:secret@{NOWHERE}/x", "source-database"),
    ],
)
def test_a_store_that_is_away_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str
) -> None:
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    monkeypatch.setenv(variable, value)
    found = examine()
    (fault,) = faults(found, check)
    assert variable in fault
    assert "secret" not in json.dumps(found)
    if check != "mongodb":
        assert verdicts(found)["api-login"] == {"not checked"}


def test_prefect_away_is_named(system: System) -> None:
    for url in (f"http://{NOWHERE}/api", None):
        with temporary_settings({PREFECT_API_URL: url}):
            found = examine()
        (fault,) = faults(found, "prefect-server")
        assert "PREFECT_API_URL" in fault
        assert verdicts(found)["workers"] == {"not checked"}
        assert verdicts(found)["api-login"] == {"ok"}


def test_sqlite_and_missing_pools_and_deployments_are_named(
    system: System, sqlite_server: str
) -> None:
    with temporary_settings({PREFECT_API_URL: sqlite_server}):
        found = examine()
    (fault,) = faults(found, "prefect-database")
    assert "SQLite" in fault
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" in fault
    pools = faults(found, "work-pools")
    assert len(pools) == 4
    assert "there is no work pool sale -> python -m deployments.server.work_pools" in pools
    named = "\n".join(faults(found, "deployments"))
    for name in ("orchestrate", "reconcile", *PIPELINES):
        assert f"{name}/{name} -> prefect --no-prompt deploy -n {name}" in named
    assert verdicts(found)["workers"] == {"not checked"}
    exposed = [row["what"] for row in found["findings"] if row["check"] == "encryption"]
    for what in ("pages of any site", "without a CSRF token", "asks for no password"):
        assert any(what in text for text in exposed)


class TestLogin:
    """One try an account, through the service's own client."""

    def test_a_wrong_password_is_named_and_not_tried_again(self, system: System) -> None:
        system.set_password("SHOP02", "wrong")
        found = examine()
        (fault,) = faults(found, "api-login")
        assert fault.startswith("SHOP02: the login is refused")
        again = faults(examine(), "api-login")
        assert again[0].startswith("SHOP02: paused after a refused login")
        assert _refused(system.admin) == 1
        # What the service does with it:
        assert dqg_json("status", status=1)["shop_breakers"]["SHOP02"]["state"] == "open"

    def test_a_corrected_password_is_tried_at_once(self, system: System) -> None:
        system.set_password("SHOP02", "wrong")
        examine()
        system.set_password("SHOP02", "Demo-minhtam-1")
        assert faults(examine(), "api-login") == []

    def test_a_token_that_is_in_use_is_left_alone(self, system: System) -> None:
        examine()
        examine()
        logins = system.admin.summary()["logins"]
        assert [count["ok"] for count in logins.values()] == [1, 1, 1]

    def test_a_shop_that_is_held_is_not_tried(self, system: System) -> None:
        dqg("pause", "shop", "SHOP01", "--why", "stocktaking", "--by", "lan")
        found = examine()
        assert "not checked" in verdicts(found)["api-login"]
        assert len(system.admin.summary()["logins"]) == 2

    def test_a_shop_without_an_account_is_named(self, system: System) -> None:
        system.add("sale", "LOST", shop="SHOP99")
        (fault,) = faults(examine(), "api-login")
        assert "SHOP99" in fault

    def test_an_api_that_is_away_is_named_once(
        self, system: System, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DQG_API__BASE_URL", f"http://{NOWHERE}/api")
        (fault,) = faults(examine(), "api-login")
        assert "DQG_API__BASE_URL" in fault


def test_an_http_address_is_named(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_API__BASE_URL", "http://duocquocgia.example/api")
    found = examine()
    (fault,) = faults(found, "settings")
    assert "https" in fault
    seen = verdicts(found)
    assert seen["source-database"] == {"not checked"}
    assert seen["prefect-server"] == {"ok"}


def test_an_http_address_that_is_allowed_is_named_and_gets_no_password(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_API__BASE_URL", "http://duocquocgia.example/api")
    monkeypatch.setenv("DQG_API__ALLOW_HTTP", "true")
    found = examine()
    (fault,) = faults(found, "api-address")
    assert "not encrypted" in fault
    assert verdicts(found)["api-login"] == {"not checked"}


def test_each_wrong_setting_is_a_finding(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_SYNC__BATCH_SIZE", "none")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "-1")
    named = faults(examine(), "settings")
    assert [fault.split(":")[0] for fault in named] == [
        "DQG_MONGO__TIMEOUT",
        "DQG_SYNC__BATCH_SIZE",
    ]


@pytest.mark.skipif(not IS_AVAILABLE, reason="no libfaketime for this platform")
def test_a_wrong_clock_is_named(system: System) -> None:
    found = _in_a_process(system, wrong_clock(-3600))
    (fault,) = faults(found, "clocks")
    assert fault.startswith("the clock of this machine differs from the others by -36")
    assert "NTP" in fault


def test_a_person_sees_a_table(system: System) -> None:
    shown = dqg("doctor", status=1)
    assert "prefect worker start --pool scheduler" in shown
    assert "3 faults" in shown


def _in_a_process(system: System, environment: dict[str, str]) -> Any:
    """What the command says as a person starts it."""
    api_url = PREFECT_API_URL.value()
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "doctor", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            **system.environment,
            "PREFECT_API_URL": api_url or "",
            "PREFECT_HOME": str(PREFECT_HOME.value()),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)


def _refused(admin: SandboxAdmin) -> int:
    return sum(count["refused"] for count in admin.summary()["logins"].values())
