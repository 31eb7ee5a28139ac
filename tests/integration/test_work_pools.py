"""Work pools on a real Prefect server: applied again and again, and never changed in type."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

from deployments.local.parts.servers import PrefectServer
from deployments.server import apply, work_pools
from deployments.server.work_pools import PoolMismatch, apply_work_pools

pytestmark = pytest.mark.anyio
#: Other names than the system's own, which other tests use.
POOLS = ("tried-one", "tried-two")


@pytest.fixture(autouse=True)
async def _pools_of_its_own(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    monkeypatch.setattr(work_pools, "DESCRIPTIONS", dict.fromkeys(POOLS, "tried"))
    yield
    async with get_client() as client:
        for pool in await client.read_work_pools():
            if pool.name in POOLS:
                await client.delete_work_pool(pool.name)


async def types() -> dict[str, str]:
    async with get_client() as client:
        return {p.name: p.type for p in await client.read_work_pools() if p.name in POOLS}


@pytest.mark.parametrize("pool_type", ["process", "docker", "kubernetes"])
async def test_pools_of_a_type_are_made_and_brought_up_to_date(pool_type: str) -> None:
    defaults = {} if pool_type == "process" else {"image": "registry.example/dqg-sync:2"}
    await apply_work_pools(pool_type, pools=POOLS)
    async with get_client() as client:
        await client.update_work_pool(POOLS[0], WorkPoolUpdate(is_paused=True, concurrency_limit=3))
        await apply_work_pools(pool_type, pools=POOLS, defaults=defaults)
        pool = await client.read_work_pool(POOLS[0])
    assert await types() == dict.fromkeys(POOLS, pool_type)
    assert pool.is_paused
    assert pool.concurrency_limit == 3
    variables = pool.base_job_template["variables"]["properties"]
    assert {name: variables[name]["default"] for name in defaults} == defaults


async def test_a_pool_of_another_type_is_named_and_none_is_touched() -> None:
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOLS[1], type="docker"))
    with pytest.raises(PoolMismatch, match=r"tried-two \(docker\)"):
        await apply_work_pools("process", pools=POOLS)
    assert await types() == {POOLS[1]: "docker"}


async def test_pools_may_differ_in_type() -> None:
    await apply_work_pools("process", pools=[POOLS[0]])
    await apply_work_pools("kubernetes", pools=[POOLS[1]])
    assert await types() == {POOLS[0]: "process", POOLS[1]: "kubernetes"}


async def test_applying_stops_at_the_first_failure(
    deployed: PrefectServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", deployed.api_url)
    assert apply.main(["--type", "docker"]) == 1
    shown = capfd.readouterr()
    assert "sale (process)" in shown.err
    assert "the following commands are not run" in shown.err
    assert "deploy --all" not in shown.out
