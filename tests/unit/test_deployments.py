"""prefect.yaml and the code agree: entrypoints, parameters, pools, names and schedules."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

from deployments.server.work_pools import DESCRIPTIONS
from flows.pipelines import batch_abandoned, record_ended
from lib.pipelines import PIPELINES, SCHEDULER_POOL

ROOT = Path(__file__).resolve().parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {d["name"]: d for d in FILE["deployments"]}

#: Prefect ignores a key that it does not know without a word.
KNOWN_KEYS = {
    "name",
    "description",
    "entrypoint",
    "tags",
    "work_pool",
    "schedules",
    "concurrency_limit",
    "enforce_parameter_schema",
    "parameters",
}


def load_flow(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, name = deployment["entrypoint"].rsplit(".", 1)
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    return flow


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_entrypoint_is_a_flow_with_the_deployments_name(name: str) -> None:
    assert load_flow(DEPLOYMENTS[name]).name == name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_declared_parameters_bind_to_the_flow(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    schedules = [s.get("parameters", {}) for s in deployment.get("schedules", [])]
    for parameters in [deployment.get("parameters", {}), *schedules]:
        inspect.signature(load_flow(deployment).fn).bind(**parameters)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_deployment_has_a_key_that_prefect_would_ignore(name: str) -> None:
    assert set(DEPLOYMENTS[name]) - {"<<"} <= KNOWN_KEYS


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_deployment_runs_in_a_pool_that_is_created(name: str) -> None:
    assert DEPLOYMENTS[name]["work_pool"]["name"] in DESCRIPTIONS


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_every_deployment_name_used_in_code_exists(pipeline: Any) -> None:
    flow_name, deployment = pipeline.deployment.split("/")
    assert DEPLOYMENTS[deployment]["work_pool"]["name"] == pipeline.work_pool
    assert load_flow(DEPLOYMENTS[deployment]).name == flow_name


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_a_pipelines_flow_takes_a_claim_or_one_document(pipeline: Any) -> None:
    flow = load_flow(DEPLOYMENTS[pipeline.name])
    parameters = inspect.signature(flow.fn).parameters
    assert {"claim_token", pipeline.id_parameter, "pharmacy_code", "force"} <= set(parameters)
    assert all(p.default is not inspect.Parameter.empty for p in parameters.values())


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_explains_itself_in_the_run_form(name: str) -> None:
    properties = load_flow(DEPLOYMENTS[name]).parameters.properties
    assert [key for key, schema in properties.items() if not schema.get("description")] == []


def test_schedules_are_what_they_are_meant_to_be() -> None:
    found = {
        name: [schedule["interval"] for schedule in deployment.get("schedules", [])]
        for name, deployment in DEPLOYMENTS.items()
    }
    assert found == {
        "orchestrate": [60],
        "reconcile": [300],
        "daily-close": [],
        "import": [],
        "sale": [],
        "cancellation": [],
    }


def test_the_scheduler_has_a_pool_of_its_own_and_runs_do_not_pile_up() -> None:
    for name, limit in (("orchestrate", 3), ("reconcile", 1)):
        assert DEPLOYMENTS[name]["work_pool"]["name"] == SCHEDULER_POOL
        assert DEPLOYMENTS[name]["concurrency_limit"] == {
            "limit": limit,
            "collision_strategy": "CANCEL_NEW",
        }


def test_hooks_have_the_parameter_names_a_worker_calls_them_with() -> None:
    for hook in (record_ended, batch_abandoned):
        assert inspect.iscoroutinefunction(hook)
        assert list(inspect.signature(hook).parameters) == ["flow", "flow_run", "state"]
