"""Alerts on real parts: told once by however many processes, and applied however often."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.events.schemas.automations import Automation
from pydantic import SecretStr
from redis.asyncio import Redis

from deployments.local.parts.servers import PrefectServer
from deployments.local.supervisor.stack import ROOT, free_port
from deployments.server.alerts.apply import TAG, apply_alerts
from deployments.server.alerts.files import read_alerts
from flows.orchestrate import orchestrate
from lib.alerts.conditions import AlertState
from lib.alerts.state import AlertStateStore
from lib.errors import StoreUnavailable
from lib.resilience.breaker import Breakers
from lib.resilience.redis_fallback import open_redis
from lib.settings import AlertSettings, BreakerSettings, RedisSettings
from tests.support.system import System
from tests.support.waiting import wait_until_async

# Apprise loads all its services at the first address.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

ALERTS = read_alerts()
WEBHOOK = AlertSettings(webhook_url=SecretStr("http://127.0.0.1:1/hook"))
RAISED, GOOD = AlertState(True, 1, (("SHOP01", "79"),)), AlertState(False, 2)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(RedisSettings(url=SecretStr(redis_url))) as client:
        yield client


# What was told


async def test_of_two_processes_one_notes_a_change(redis: Redis) -> None:
    one, other = AlertStateStore(redis, "dqg"), AlertStateStore(redis, "dqg")
    first = await one.read()
    assert first.alert_states == {}
    noted = [await p.write("account:ab", AlertState(), RAISED) for p in (one, other)]
    assert noted == [True, False]
    assert (await other.read()).alert_states == {"account:ab": RAISED}
    assert await other.write("account:ab", RAISED, GOOD)
    last = await one.read()
    assert (last.alert_states, last.generation) == ({"account:ab": GOOD}, first.generation)
    assert await redis.pttl("dqg:alerts") > 0


async def test_a_redis_that_forgot_begins_anew(redis: Redis) -> None:
    alert_states = AlertStateStore(redis, "dqg")
    before = await alert_states.read()
    await redis.flushall()
    assert (await alert_states.read()).generation != before.generation


async def test_without_redis_nothing_is_known() -> None:
    url = SecretStr(f"redis://127.0.0.1:{free_port()}")
    async with open_redis(RedisSettings(url=url)) as client:
        with pytest.raises(StoreUnavailable):
            await AlertStateStore(client, "dqg").read()


# Telling


def events(server: PrefectServer, name: str, since: datetime) -> list[dict[str, Any]]:
    """What the server has of our events of this name since a moment, newest first."""
    response = httpx.post(
        f"{server.api_url}/events/filter",
        json={
            "filter": {"event": {"name": [name]}, "occurred": {"since": since.isoformat()}},
            "limit": 50,
        },
        trust_env=False,
    )
    found: list[dict[str, Any]] = response.raise_for_status().json()["events"]
    return found


@pytest.mark.usefixtures("deployed")
async def test_orchestrators_at_once_tell_of_a_breaker_once(system: System, redis: Redis) -> None:
    breakers = Breakers(redis, "dqg", BreakerSettings())
    server = system.prefect
    opened, closed = "dqg.breaker.opened", "dqg.breaker.closed"
    begin = datetime.now(UTC)

    await breakers.trip("pipeline:sale", "HTTP 503")
    await asyncio.gather(*(orchestrate(return_state=True) for _ in range(2)))
    await orchestrate(return_state=True)
    await breakers.reset("pipeline:sale")
    await asyncio.gather(*(orchestrate(return_state=True) for _ in range(2)))
    await orchestrate(return_state=True)

    await wait_until_async(lambda: events(server, closed, begin), "the end is told")
    told = {name: len(events(server, name, begin)) for name in (opened, closed)}
    assert told == {opened: 1, closed: 1}
    newest = events(server, opened, begin)[0]
    assert (newest["payload"]["where"], newest["payload"]["why"]) == ("sale", "HTTP 503")
    assert newest["resource"]["prefect.resource.id"] == "dqg.breaker.sale"


@pytest.mark.usefixtures("deployed")
@pytest.mark.settings(alerts={"pending_seconds": 60, "failure_count": 2})
async def test_overdue_documents_and_failures_are_told_by_pipeline(system: System) -> None:
    names = ("dqg.pending.overdue", "dqg.failures.above-rate")
    begin = datetime.now(UTC)
    system.add("import", "PN-1", created_at="2026-01-02 03:04:05")
    for number in range(3):
        system.add("cancellation", f"PX-{number}", status="SYNC_FAILED")
    for _ in range(2):
        state = await orchestrate(return_state=True)
        assert state.is_completed()

    await wait_until_async(
        lambda: [len(events(system.prefect, name, begin)) for name in names] == [1, 1],
        "both are told once",
    )
    wheres = [events(system.prefect, name, begin)[0]["payload"]["where"] for name in names]
    assert wheres == ["import", "cancellation"]


@pytest.mark.usefixtures("deployed")
async def test_an_alert_that_cannot_be_told_does_not_stop_the_orchestrator(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_REDIS__URL", f"redis://127.0.0.1:{free_port()}")
    system.add("sale", "HD-1")
    state = await orchestrate(return_state=True)
    assert state.message == "1 documents dispatched in 1 batches"


# Applying


async def ours() -> dict[str, Automation]:
    async with get_client() as client:
        found = [a for a in await client.read_automations(limit=200) if TAG in a.tags]
    by_name = {automation.name: automation for automation in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.mark.usefixtures("prefect_server")
async def test_alerts_may_be_applied_again_and_again() -> None:
    names = sorted(alert.name for alert in ALERTS)
    await apply_alerts([], WEBHOOK)
    assert sorted((await apply_alerts(ALERTS, WEBHOOK)).created) == names
    first = await ours()
    again = await apply_alerts(ALERTS, WEBHOOK)
    assert (sorted(again.unchanged), again.created, again.updated) == (names, [], [])
    assert await ours() == first

    fewer = await apply_alerts(ALERTS[1:], WEBHOOK)
    assert fewer.removed == [ALERTS[0].name]
    assert sorted(await ours()) == sorted(alert.name for alert in ALERTS[1:])


@pytest.mark.usefixtures("prefect_server")
async def test_what_somebody_switched_off_stays_off_when_it_is_updated() -> None:
    await apply_alerts([], WEBHOOK)
    await apply_alerts(ALERTS, WEBHOOK)
    there = await ours()
    async with get_client() as client:
        await client.pause_automation(there[ALERTS[0].name].id)
    applied = await apply_alerts(ALERTS, AlertSettings())
    assert len(applied.updated) == len(ALERTS)
    assert applied.switched_off == [ALERTS[0].name]
    after = await ours()
    assert [name for name, automation in after.items() if not automation.enabled] == [
        ALERTS[0].name
    ]
    assert {name: a.id for name, a in after.items()} == {name: a.id for name, a in there.items()}
    assert {action.type for a in after.values() for action in a.actions} == {"do-nothing"}


def command(environment: dict[str, str], server: PrefectServer) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.server.alerts"],
        cwd=ROOT,
        env={**os.environ, **environment, "PREFECT_API_URL": server.api_url},
        check=False,
        capture_output=True,
        text=True,
    )


async def test_the_command_says_what_it_did_and_that_nobody_is_told(system: System) -> None:
    done = await asyncio.to_thread(command, system.environment, system.prefect)
    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    assert "no message is sent" in done.stdout
    wrong = {**system.environment, "DQG_ALERTS__URLS": "mailtos://u:hidden@smtp.example"}
    refused = await asyncio.to_thread(command, wrong, system.prefect)
    assert refused.returncode == 1
    assert "DQG_ALERTS__URLS" in refused.stderr
    assert "hidden" not in refused.stdout + refused.stderr
