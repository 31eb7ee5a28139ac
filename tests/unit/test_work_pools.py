"""Job templates of the work pools: what Prefect's workers expect, and what the chain may change."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.templating import apply_values

from deployments.server.work_pools import TYPES, PoolMismatch, job_template, main
from tests.support.compose import compose_file, services

EVERY_TYPE = pytest.mark.parametrize("pool_type", TYPES)


def rendered(pool_type: str, **values: object) -> dict[str, Any]:
    """The job as a worker makes it, from the template's defaults and some values."""
    template = job_template(pool_type)
    variables = template["variables"]["properties"]
    defaults = {n: v["default"] for n, v in variables.items() if "default" in v}
    return dict(apply_values(template["job_configuration"], {**defaults, **values}))


def test_there_is_a_template_for_processes_containers_and_kubernetes() -> None:
    assert TYPES == ("docker", "kubernetes", "process")


@EVERY_TYPE
def test_every_placeholder_is_a_variable_and_every_variable_is_used(pool_type: str) -> None:
    template = job_template(pool_type)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@EVERY_TYPE
def test_the_variables_are_a_schema_that_the_defaults_fit(pool_type: str) -> None:
    schema = job_template(pool_type)["variables"]
    is_valid_schema(schema)
    defaults = {n: v["default"] for n, v in schema["properties"].items() if "default" in v}
    validate(defaults, schema, raise_on_error=True)
    assert all(v.get("description") and v.get("title") for v in schema["properties"].values())


@EVERY_TYPE
def test_what_a_worker_sets_itself_can_be_set(pool_type: str) -> None:
    needed = {"name", "env", "labels", "command", "stream_output"}
    assert needed <= set(job_template(pool_type)["variables"]["properties"])


def test_a_kubernetes_job_has_the_shape_that_the_worker_demands() -> None:
    job = rendered("kubernetes")["job_manifest"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    # `prefect-kubernetes` refuses a manifest that lacks one of these.
    assert (pod["parallelism"], pod["completions"], pod["restartPolicy"]) == (1, 1, "Never")
    assert [container["name"] for container in pod["containers"]] == ["prefect-job"]
    assert {"labels", "annotations"} <= set(job_template_metadata())


def job_template_metadata() -> dict[str, Any]:
    return dict(job_template("kubernetes")["job_configuration"]["job_manifest"]["metadata"])


def test_a_kubernetes_job_is_hardened_and_takes_its_secrets_from_files() -> None:
    pod = rendered("kubernetes")["job_manifest"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"secrets": "/etc/dqg-sync/secrets", "tmp": "/tmp"}  # noqa: S108
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
    assert "command" not in container, "the image's own entrypoint reads the secrets"


def test_a_container_is_hardened_and_takes_its_secrets_from_files() -> None:
    job = rendered("docker")
    assert job["privileged"] is False
    assert job["container_create_kwargs"]["read_only"] is True
    assert job["container_create_kwargs"]["cap_drop"] == ["ALL"]
    assert [volume.split(":")[1:] for volume in job["volumes"]] == [["/run/secrets", "ro"]]


@pytest.mark.parametrize("pool_type", sorted({*TYPES} - {"process"}))
def test_runs_keep_what_they_write_where_they_may_write(pool_type: str) -> None:
    assert rendered(pool_type)["env"]["PREFECT_HOME"].startswith("/tmp/")  # noqa: S108


def test_a_default_can_be_replaced() -> None:
    template = job_template("kubernetes", {"image": "registry.example/dqg-sync:1.2.0"})
    default = template["variables"]["properties"]["image"]["default"]
    assert default == "registry.example/dqg-sync:1.2.0"


def test_an_unknown_variable_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(PoolMismatch, match=r"no variable 'imgae'; it has .*image"):
        job_template("kubernetes", {"imgae": "x"})
    assert main(["--type", "docker", "--default", "imgae=x"]) == 1
    assert "imgae" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--type", "ecs"], ["--pool", "nothing"], ["--default", "image"]]
)
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_runs_in_containers_join_the_networks_of_the_compose_file() -> None:
    job, file = rendered("docker"), compose_file()
    assert {name.removeprefix(f"{file['name']}_") for name in job["networks"]} == set(
        services()["worker-sale"]["networks"]
    )
    api = services()["worker-sale"]["environment"]["PREFECT_API_URL"]
    assert job["env"]["PREFECT_API_URL"] == api
    assert job["image"] == services()["worker-sale"]["image"]
