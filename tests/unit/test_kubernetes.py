"""What is applied to a Kubernetes cluster is true to the code, and to the compose file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.containers.secret_files import DEFAULT_FOLDERS
from deployments.server.work_pools import DESCRIPTIONS, TYPES, job_template
from tests.support.compose import services
from tests.unit.test_docs import check_command, prefect_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments" / "containers" / "kubernetes"
WORKERS = ("worker-process", "worker-kubernetes")
#: Settings of the packages prefect-redis and prefect-kubernetes.
FOREIGN = re.compile(r"PREFECT_(REDIS|INTEGRATIONS_KUBERNETES)_")


def loaded(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return values


def entries(node: Any) -> list[dict[str, Any]]:
    """Every variable anywhere in a file, as Kubernetes writes one."""
    if isinstance(node, list):
        return [entry for item in node for entry in entries(item)]
    if not isinstance(node, dict):
        return []
    if "name" in node and ("value" in node or "valueFrom" in node):
        return [node]
    return [entry for item in node.values() for entry in entries(item)]


def pinned_prefect() -> str:
    found = re.search(r'"prefect==([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert found is not None
    return found[1]


def test_the_images_are_of_the_version_that_is_locked() -> None:
    for image in (
        loaded("server")["global"]["prefect"]["image"],
        loaded("worker-kubernetes")["worker"]["image"],
    ):
        assert image["prefectTag"].startswith(f"{pinned_prefect()}-")
    default = job_template("kubernetes")["variables"]["properties"]["image"]["default"]
    own = loaded("worker-process")["worker"]["image"]
    assert f"{own['repository']}:{own['prefectTag']}" == default == services()["apply"]["image"]


@pytest.mark.parametrize("name", ["server", *WORKERS, "apply", "console"])
def test_every_variable_is_a_setting_and_no_secret_stands_in_a_file(name: str) -> None:
    found = {entry["name"]: entry for entry in entries(loaded(name))}
    prefect = {n for n in found if n.startswith("PREFECT_") and not FOREIGN.match(n)}
    assert prefect <= prefect_settings()
    secret = re.compile(r"(PASSWORD|AUTH_STRING|_URL)$")
    in_plain = {n for n, e in found.items() if secret.search(n) and "value" in e}
    assert in_plain <= {"PREFECT_API_URL"}


def test_the_server_shares_through_redis_what_the_compose_file_shares() -> None:
    given = {e["name"]: e for e in loaded("server")["global"]["prefect"]["env"]}
    wanted = services()["prefect-api"]["environment"]
    for name, value in wanted.items():
        if "prefect_redis" in value or "VACUUM" in name:
            assert given[name]["value"] == value
    assert {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_SERVER_DOCKET_URL"} <= set(given)
    assert loaded("server")["server"]["basicAuth"]["enabled"] is True
    assert loaded("server")["server"]["replicaCount"] > 1


@pytest.mark.parametrize("name", WORKERS)
def test_a_workers_arguments_exist_and_its_pool_is_ours(name: str) -> None:
    worker = loaded(name)["worker"]
    config = worker["config"]
    assert config["workPool"] in DESCRIPTIONS
    assert config["type"] in TYPES
    # As the chart puts them together.
    check_command(
        [
            *("prefect", "worker", "start", "--type", config["type"]),
            *("--pool", config["workPool"], "--install-policy", config["installPolicy"]),
            *("--limit", str(config["limit"]), "--with-healthcheck", *worker["extraArgs"]),
        ]
    )


def test_the_image_fits_the_chart_which_starts_programs_in_its_own_way() -> None:
    dockerfile = (ROOT / "deployments" / "containers" / "image" / "Dockerfile").read_text("utf-8")
    assert re.search(r"^ENTRYPOINT .*/usr/bin/tini.*/opt/prefect/entrypoint.sh", dockerfile, re.M)


def test_the_job_runs_what_the_compose_file_runs() -> None:
    pod = loaded("apply")["spec"]["template"]["spec"]
    (migrate,), (apply,) = pod["initContainers"], pod["containers"]
    assert migrate["args"] == services()["migrate"]["command"]
    assert apply["args"] == services()["apply"]["command"]
    for container in (migrate, apply):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def console_pod() -> dict[str, Any]:
    deployment = loaded("console")["items"][0]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def test_the_console_is_what_the_compose_file_starts() -> None:
    (container,) = console_pod()["containers"]
    wanted = services()["console"]
    assert container["args"] == wanted["command"]
    assert container["image"] == wanted["image"]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    for name, value in wanted["environment"].items():
        if name.startswith("DQG_CONSOLE__"):
            assert given[name] == value
    users = given["DQG_CONSOLE__USERS_FILE"]
    assert any(users.startswith(f"{m['mountPath']}/") for m in container["volumeMounts"])
    probe = container["livenessProbe"]["httpGet"]["path"]
    assert any(str(part).endswith(probe) for part in wanted["healthcheck"]["test"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_secrets_are_mounted_where_the_image_looks() -> None:
    mounts = [
        *loaded("worker-process")["worker"]["extraVolumeMounts"],
        *loaded("apply")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"],
        *console_pod()["containers"][0]["volumeMounts"],
    ]
    places = {mount["mountPath"] for mount in mounts if mount["name"] == "secrets"}
    assert places == {DEFAULT_FOLDERS[1]}
