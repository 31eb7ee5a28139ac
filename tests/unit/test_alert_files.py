"""The automations kept as files: they watch what exists, and say what to do."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prefect.server.events.actions import SendNotification
from pydantic import SecretStr

from deployments.server.alerts.files import FOLDER, ROUTE_LABEL, Alert, for_routes, read_alerts
from deployments.server.alerts.targets import WEBHOOK_BLOCK, make_blocks
from deployments.server.work_pools import DESCRIPTIONS
from lib.alerts.conditions import EVERYBODY
from lib.errors import ConfigurationError
from lib.settings import AlertRoute, AlertSettings
from tests.unit.test_docs import anchors_of, text_of

ROOT = Path(__file__).resolve().parents[2]
ALERTS = read_alerts()
BLOCK_ID = "00000000-0000-0000-0000-000000000000"

#: Apprise loads all its services at the first address.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

MESSAGES = "dqg: messages"
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
#: The others carry the text of their event.
every_text = pytest.mark.parametrize(
    "alert", [alert for alert in ALERTS if alert.name != MESSAGES], ids=lambda alert: alert.name
)


def alert_named(text: str) -> Alert:
    (found,) = [alert for alert in ALERTS if text in alert.name]
    return found


def test_names_are_unique_and_say_whose_they_are() -> None:
    names = Counter(alert.name for alert in ALERTS)
    assert set(names.values()) == {1}
    assert all(name.startswith("dqg: ") for name in names)


def test_every_alert_has_its_recovery_beside_it() -> None:
    for path in set(FOLDER.glob("*.yaml")) - {FOLDER / "messages.yaml"}:
        subjects = re.findall(r'subject: "\[dqg\] (\w+):', path.read_text("utf-8"))
        assert subjects == ["ALERT", "RECOVERED"], path.name


def test_each_route_has_its_messages_and_everybody_the_rest() -> None:
    made = for_routes(ALERTS, [EVERYBODY, "north"])
    messages = {
        alert.name: (alert.trigger.model_dump()["match"][ROUTE_LABEL], route)
        for alert, route in made
        if alert.name.startswith(MESSAGES)
    }
    assert messages == {
        MESSAGES: (EVERYBODY, EVERYBODY),
        f"{MESSAGES}, north": ("north", "north"),
    }
    assert {route for alert, route in made if alert.name not in messages} == {EVERYBODY}


def test_every_pool_is_watched() -> None:
    for text in ("pool without workers", "pool has workers again"):
        match = alert_named(text).trigger.match
        assert set(match["prefect.resource.name"]) == set(DESCRIPTIONS)


def test_the_return_of_the_orchestrator_follows_its_silence() -> None:
    silent = alert_named("orchestrator is silent")
    assert silent.name in alert_named("orchestrator is back").trigger.match["prefect.resource.name"]


@every_text
def test_a_message_says_what_where_and_what_to_do(alert: Alert) -> None:
    lines = {line.split(":")[0] for line in alert.body.splitlines() if not line.startswith(" ")}
    assert {"What", "Where", "Do"} <= lines
    if "ALERT" in alert.subject:
        assert "Why" in lines
        (anchor,) = re.findall(r"docs/runbook\.md#([\w-]+)", alert.body)
        assert anchor in anchors_of(ROOT / "docs" / "runbook.md")
    assert "ui_url" in alert.body


@every_alert
def test_the_server_can_read_the_templates(alert: Alert) -> None:
    SendNotification(block_document_id=BLOCK_ID, subject=alert.subject, body=alert.body)


@every_alert
def test_the_page_tells_of_every_alert(alert: Alert) -> None:
    assert f"`{alert.name}`" in text_of(ROOT / "docs" / "alerts.md")


def test_a_misspelt_trigger_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / "messages.yaml").read_text("utf-8")
    (tmp_path / "wrong.yaml").write_text(text.replace("within:", "whithin:"), "utf-8")
    with pytest.raises(ValueError, match="whithin"):
        read_alerts(tmp_path)


def test_without_addresses_there_is_no_block() -> None:
    assert make_blocks(AlertSettings()) == {EVERYBODY: {}}


def test_the_webhook_hides_its_address_and_its_headers() -> None:
    settings = AlertSettings(
        webhook_url=SecretStr("https://chat.example/hidden"),
        webhook_headers={"X-Token": SecretStr("hidden")},
        urls=SecretStr("mailtos://u:hidden@smtp.example?from=a@x.vn&to=b@x.vn\njson://hidden/x"),
        routes={"north": AlertRoute(shops=("HN*",), urls=SecretStr("json://hidden.example/y"))},
    )
    blocks = make_blocks(settings)
    assert {route: list(of_route) for route, of_route in blocks.items()} == {
        EVERYBODY: [WEBHOOK_BLOCK, "dqg-alerts-everybody-1", "dqg-alerts-everybody-2"],
        "north": ["dqg-alerts-north-1"],
    }
    for of_route in blocks.values():
        for block in of_route.values():
            assert "hidden" not in block.model_dump_json()


@pytest.mark.parametrize(
    "settings",
    [
        {"webhook_url": "chat.example/hidden"},
        {"webhook_url": "https://chat.example", "webhook_json": {"text": "{{nothing}}"}},
        {"urls": "nothing://hidden"},
        {"urls": "mailtos://u:hidden@smtp.example"},
        {"routes": {"north": {"shops": ["HN*"], "urls": "nothing://hidden"}}},
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_not_shown(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="DQG_ALERTS__") as error:
        make_blocks(AlertSettings.model_validate(settings))
    assert "hidden" not in str(error.value)
