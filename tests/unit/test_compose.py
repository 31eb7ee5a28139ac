"""The compose file and the image's recipe: valid, hardened, and true to the code they run."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.containers.compose import prepare
from deployments.containers.image import check
from deployments.server.work_pools import DESCRIPTIONS
from lib.settings import Settings
from tests.support.compose import FILE, compose_file, ours, secret_targets, services, variables
from tests.unit.test_docs import check_command, prefect_settings

ROOT = FILE.parents[3]
DOCKERFILE = ROOT / "deployments" / "containers" / "image" / "Dockerfile"
WORKERS = {name: f"worker-{name}" for name in DESCRIPTIONS}
JOBS = {"prefect-database", "migrate", "apply", "cli", "trial-database", "trial-tables"}
EVERY_SERVICE = pytest.mark.parametrize("name", services())
OUR_SERVICE = pytest.mark.parametrize("name", ours())


def tool(name: str) -> str:
    """Path of a linter; the test is skipped where it has no wheel."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it has wheels for some platforms only")
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603


def test_the_dockerfile_passes_its_linter() -> None:
    done = run(tool("hadolint"), str(DOCKERFILE))
    assert done.returncode == 0, done.stdout


def test_the_compose_file_passes_its_linter() -> None:
    done = run(tool("compose-lint"), "check", str(FILE))
    assert done.returncode == 0, done.stdout


def test_the_compose_file_is_valid() -> None:
    if importlib.util.find_spec("compose_spec") is None:
        pytest.skip("compose-spec is not installed: it has wheels for some platforms only")
    from compose_spec import PyCompose

    parsed = PyCompose.from_json(json.dumps(compose_file()))
    parsed.validate()
    assert set(parsed.service_names()) == set(services())


def test_there_is_a_worker_for_every_pool_and_it_can_be_scaled() -> None:
    for pool, name in WORKERS.items():
        service = services()[name]
        command = service["command"]
        assert command[command.index("--pool") + 1] == pool
        assert "container_name" not in service
        assert "ports" not in service


@OUR_SERVICE
def test_every_command_of_our_image_exists(name: str) -> None:
    check_command(ours()[name]["command"])


@OUR_SERVICE
def test_every_health_check_of_our_image_exists(name: str) -> None:
    test = ours()[name].get("healthcheck", {}).get("test", [])
    if not test:
        assert name in JOBS
        return
    words = [word for word in test[1:] if word != "/opt/prefect/entrypoint.sh"]
    check_command(words)


@EVERY_SERVICE
def test_what_keeps_running_has_a_health_check_and_restarts(name: str) -> None:
    service = services()[name]
    assert ("healthcheck" in service) == (name not in JOBS)
    assert (service["restart"] == "no") == (name in JOBS)
    if name not in JOBS:
        assert service["stop_grace_period"].endswith("s")


@EVERY_SERVICE
def test_every_service_is_bounded_and_has_no_rights(name: str) -> None:
    service = services()[name]
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") or name == "sqlserver"
    assert "build" in service or service["user"] != "root"
    assert "privileged" not in service


def test_only_ui_console_and_metrics_are_published_and_only_on_this_machine() -> None:
    published = {name: s["ports"] for name, s in services().items() if "ports" in s}
    assert published == {
        "prefect-ui": ["127.0.0.1:4200:4200"],
        "console": ["127.0.0.1:4300:4300"],
        "metrics": ["127.0.0.1:9464:9464"],
    }


def test_workers_count_where_the_exporter_reads() -> None:
    readers = {name: s for name, s in services().items() if "DQG_METRICS__DIR" in str(s)}
    assert set(readers) == {"metrics", *WORKERS.values()}
    for service in readers.values():
        folder = service["environment"]["DQG_METRICS__DIR"]
        assert service["volumes"] == [f"metrics:{folder}"]
        assert f"{folder}\n" in DOCKERFILE.read_text(encoding="utf-8"), "its owner is the user"


@OUR_SERVICE
def test_what_runs_for_long_logs_json_by_a_file_of_the_image(name: str) -> None:
    path = ours()[name].get("environment", {}).get("PREFECT_LOGGING_SETTINGS_PATH")
    assert (path is None) == (name in JOBS - {"prefect-database"} or name == "metrics")
    assert path is None or (ROOT / Path(path).relative_to("/srv/dqg")).is_file()


@EVERY_SERVICE
def test_every_image_is_pinned_by_a_version(name: str) -> None:
    tag = services()[name]["image"].rstrip("}").rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+|\d{4}-CU\d+", tag)


def test_no_secret_stands_in_an_environment() -> None:
    wrong = [
        f"{name}: {key}"
        for name, service in services().items()
        for key, value in service.get("environment", {}).items()
        if re.search(r"PASSWORD$|AUTH_STRING|_URL$", key) and "@" in str(value)
    ]
    assert wrong == []
    assert not [s for s in services().values() if "MSSQL_SA_PASSWORD" in s.get("environment", {})]


@OUR_SERVICE
def test_every_variable_and_secret_is_a_setting(name: str) -> None:
    service = ours()[name]
    names = {*service.get("environment", {}), *secret_targets(service)} - {"TZ"}
    sections = {f"DQG_{section.upper()}" for section in Settings.model_fields}
    prefect = {n for n in names if n.startswith("PREFECT_")}
    # The package prefect-redis reads this one by itself.
    assert prefect - prefect_settings() <= {"PREFECT_REDIS_MESSAGING_URL"}
    assert {n.split("__")[0] for n in names - prefect} <= sections


def test_every_secret_is_made_and_every_one_made_is_used() -> None:
    used = {secret for s in services().values() for secret in secret_targets(s).values()}
    assert set(compose_file()["secrets"]) == used == set(prepare.FILES)
    for name, secret in compose_file()["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"


def test_the_api_asks_for_a_password_and_everyone_who_calls_it_has_it() -> None:
    for name, service in ours().items():
        targets = secret_targets(service)
        if "PREFECT_API_URL" in service.get("environment", {}):
            assert targets["PREFECT_API_AUTH_STRING"] == "prefect_auth", name
        if "PREFECT_SERVER_DATABASE_HOST" in service.get("environment", {}):
            assert targets["PREFECT_SERVER_API_AUTH_STRING"] == "prefect_auth", name


def test_a_server_of_several_processes_shares_everything_through_redis() -> None:
    server = {name: s for name, s in ours().items() if name.startswith("prefect-")}
    assert set(server) == {"prefect-database", "prefect-api", "prefect-ui", "prefect-services"}
    for service in server.values():
        environment = service["environment"]
        assert environment["PREFECT_MESSAGING_BROKER"] == "prefect_redis.messaging"
        assert environment["PREFECT_MESSAGING_CACHE"] == "prefect_redis.messaging"
        assert environment["PREFECT_SERVER_EVENTS_CAUSAL_ORDERING"] == "prefect_redis.ordering"
        lease_storage = environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
        assert lease_storage == "prefect_redis.lease_storage"
        assert {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_SERVER_DOCKET_URL"} <= set(
            secret_targets(service)
        )
    for name in ("prefect-api", "prefect-ui"):
        assert "--no-services" in server[name]["command"]
    assert server["prefect-api"]["deploy"]["replicas"] > 1


def test_the_stores_have_no_way_out_and_only_who_needs_one_has_it() -> None:
    assert compose_file()["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "redis", "mongo", "prefect-api", "apply", "sqlserver"):
        assert services()[name]["networks"] == ["stores"]
    for name in (*WORKERS.values(), "migrate"):
        assert "outside" in services()[name]["networks"]


def test_parts_wait_for_what_they_need() -> None:
    def needs(name: str) -> dict[str, str]:
        return {n: c["condition"] for n, c in services()[name]["depends_on"].items()}

    done, well = "service_completed_successfully", "service_healthy"
    assert needs("prefect-database") == {"postgres": well}
    assert needs("prefect-api") == {"prefect-database": done, "redis": well}
    assert needs("apply") == {"migrate": done, "prefect-api": well}
    for worker in WORKERS.values():
        assert needs(worker) == {"apply": done, "prefect-api": well, "mongo": well}


def test_every_name_in_the_file_is_defined_in_it() -> None:
    file = compose_file()
    for service in services().values():
        assert set(service.get("networks", [])) <= set(file["networks"])
        assert set(service.get("depends_on", {})) <= set(services())
        volumes = {mount.split(":")[0] for mount in service.get("volumes", [])}
        assert volumes <= set(file["volumes"])


def test_variables_of_the_file_are_documented() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [name for name in sorted(variables()) if f"`{name}`" not in page] == []


def test_the_image_has_what_it_copies_and_is_made_from_the_lock() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {source.split("/")[0] for source in copied} == {
        line.removeprefix("!") for line in kept if line.startswith("!")
    }
    assert "--require-hashes" in text
    final = text[text.rindex("\nFROM ") :]
    assert "pip" not in final
    assert re.search(r"^USER 10001", final, re.MULTILINE)


def test_the_image_and_the_lock_agree_on_the_version_of_python() -> None:
    version = re.search(r"python:(\d+\.\d+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert version is not None
    assert f">={version[1]}" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_an_image_without_a_driver_or_with_a_broken_flow_is_not_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_driver() -> str:
        return str(tmp_path / "none.so")

    broken = tmp_path / "prefect.yaml"
    broken.write_text("deployments:\n- {entrypoint: flows.nothing.nothing}\n", encoding="utf-8")
    monkeypatch.setattr(check, "find_odbc_driver", no_driver)
    monkeypatch.setattr(check, "FILE", broken)
    driver, flow = check.problems()
    assert "SQL Server cannot be reached" in driver
    assert "flows.nothing.nothing cannot be imported" in flow


def test_secret_files_are_made_once_and_fit_together(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert prepare.prepare(folder) == ["source_url", "migration_url"]
    first = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(first) == set(prepare.FILES)
    assert first["redis_password"] in first["redis_url"]
    assert first["redis_password"] in first["prefect_redis_url"]
    assert first["mongo_password"] in first["mongo_url"]
    empty = {*prepare.BY_HAND, *prepare.OPTIONAL}
    assert {name for name in first if not first[name]} == empty
    assert len(set(first.values()) - {""}) == len(first) - len(empty)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}

    (folder / "source_url").write_text("mssql+pyodbc://chain", encoding="utf-8")
    assert prepare.prepare(folder, trial=True) == []
    second = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert second["source_url"] == "mssql+pyodbc://chain"
    assert second["sa_password"] in second["migration_url"]
    assert {n: first[n] for n in first if first[n]} == {n: second[n] for n in first if first[n]}


def test_preparing_says_what_is_left_to_fill_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.main(["--folder", str(tmp_path / "here")]) == 0
    assert "fill in" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert prepare.main(["--folder", str(tmp_path / "file")]) == 1
    assert "error:" in capsys.readouterr().err
