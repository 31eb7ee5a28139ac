"""The units for systemd: valid, hardened, and true to the code; the same pace everywhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.local.parts.servers import WORKER_PREFETCH_SECONDS, WORKER_QUERY_SECONDS
from deployments.server.work_pools import DESCRIPTIONS
from tests.support.compose import services
from tests.unit.test_docs import check_command, prefect_settings
from tests.unit.test_kubernetes import WORKERS as KUBERNETES_WORKERS
from tests.unit.test_kubernetes import loaded

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments" / "server" / "systemd"
UNITS = {path.name: path for path in FOLDER.iterdir()}
SERVICES = sorted(name for name in UNITS if name.endswith(".service"))
EVERY_SERVICE = pytest.mark.parametrize("name", SERVICES)
WORKER = "dqg-sync-worker@.service"
INSTALLED = "/srv/dqg-sync"
PYTHON = f"{INSTALLED}/.venv/bin/python"


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit; a key may be given several times."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in UNITS[name].read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def environment(name: str) -> dict[str, str]:
    pairs = (pair.split("=", 1) for pair in unit(name)["Service"].get("Environment", []))
    return dict(pairs)  # type: ignore[arg-type]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    for name, path in UNITS.items():
        text = path.read_text(encoding="utf-8").replace(PYTHON, "/bin/true")
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(  # noqa: S603 - systemd's own checker
        [analyze, "verify", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@EVERY_SERVICE
def test_every_command_exists(name: str) -> None:
    (command,) = unit(name)["Service"]["ExecStart"]
    words = shlex.split(command.replace("%i", "sale").replace("${LIMIT}", "4"))
    wrapper = [PYTHON, "-m", "deployments.containers.secret_files"]
    assert words[:3] == wrapper, "secrets are files"
    inner = words[3:]
    assert inner[:2] == [PYTHON, "-m"]
    check_command(inner[2:] if inner[2] == "prefect" else ["python", *inner[1:]])


@EVERY_SERVICE
def test_every_variable_is_a_setting_and_no_secret_stands_in_a_file(name: str) -> None:
    names = {n for n in environment(name) if n.startswith("PREFECT_")}
    assert names <= prefect_settings()
    assert not re.search(r"(?i)password|auth_string|connection_url", UNITS[name].read_text())


@EVERY_SERVICE
def test_a_service_has_no_rights_and_writes_only_its_own_state(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] != ["root"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["ProtectSystem"] == ["strict"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["Restart"] == ["always"]


def test_every_pool_has_a_worker() -> None:
    wanted = unit("dqg-sync.target")["Unit"]["Wants"]
    workers = {name for name in wanted if "worker" in name}
    assert workers == {WORKER.replace("@", f"@{pool}") for pool in DESCRIPTIONS}


def test_workers_look_for_runs_at_the_same_pace_everywhere() -> None:
    worker = services()["worker-sale"]["environment"]
    names = ("PREFECT_WORKER_QUERY_SECONDS", "PREFECT_WORKER_PREFETCH_SECONDS")
    paces = {
        "local stack": [WORKER_QUERY_SECONDS, WORKER_PREFETCH_SECONDS],
        "compose": [int(worker[name]) for name in names],
        "systemd": [int(environment(WORKER)[name]) for name in names],
    }
    for name in KUBERNETES_WORKERS:
        config = loaded(name)["worker"]["config"]
        paces[name] = [config["queryInterval"], config["prefetchSeconds"]]
    assert all(pace == [2, 1] for pace in paces.values()), paces
