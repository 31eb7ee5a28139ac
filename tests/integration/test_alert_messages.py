"""From what happens to what a person gets to read of it, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from deployments.server.alerts.apply import apply_alerts
from deployments.server.alerts.files import Alert, read_alerts
from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.pipelines import get_pipeline
from lib.resilience.breaker import Breakers
from lib.resilience.redis_fallback import open_redis
from lib.settings import AlertSettings, BreakerSettings, RedisSettings
from tests.support.documents import SHOPS
from tests.support.receivers import MailReceiver, WebhookReceiver, listening
from tests.support.system import System
from tests.support.waiting import wait_until_async

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("deployed"),
    # Apprise loads all its services at the first address.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
#: The shortest Prefect knows, instead of five minutes.
SILENCE_SECONDS = 10


def quick(alert: Alert) -> Alert:
    if alert.trigger.posture != "Proactive":
        return alert
    within = timedelta(seconds=SILENCE_SECONDS)
    return replace(alert, trigger=alert.trigger.model_copy(update={"within": within}))


def alerts_about(text: str) -> list[Alert]:
    found = [quick(alert) for alert in read_alerts() if text in alert.name]
    return found


async def apply_only(alerts: list[Alert], settings: AlertSettings) -> None:
    """These alerts, all switched on, whatever other tests have left."""
    await apply_alerts([], settings)
    await apply_alerts(alerts, settings)


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    with listening(receiver):
        yield receiver


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    receiver = MailReceiver()
    with listening(receiver):
        yield receiver


async def send_what_is_claimed(system: System) -> None:
    """What the workers of the pipeline would do."""
    for claim in system.source.claims.held(get_pipeline("sale")):
        await sale(claim_token=claim.token, return_state=True)


async def test_a_refused_account_is_told_once_and_its_recovery_once(
    system: System, webhook: WebhookReceiver, mail: MailReceiver
) -> None:
    settings = AlertSettings(
        webhook_url=SecretStr(webhook.url),
        webhook_headers={"X-Token": SecretStr("abc")},
        urls=SecretStr(f"mailto://127.0.0.1:{mail.port}?from=dqg@example.vn&to=op@example.vn"),
    )
    await apply_only(alerts_about("messages"), settings)
    system.set_password("SHOP02", "wrong")
    for number in range(3):
        system.add("sale", f"BAD-{number}", shop="SHOP02")
    await orchestrate(return_state=True)
    await send_what_is_claimed(system)
    await orchestrate(return_state=True)
    await wait_until_async(lambda: webhook.posts and mail.mails, "the refusal is told")

    system.set_password("SHOP02", SHOPS["SHOP02"].pwd)
    await orchestrate(return_state=True)
    await send_what_is_claimed(system)
    await orchestrate(return_state=True)
    await wait_until_async(lambda: len(webhook.posts) > 1, "the recovery is told")
    await wait_until_async(lambda: len(mail.mails) > 1, "the recovery is mailed")

    subjects = [
        "[dqg] CẢNH BÁO: CSDL quốc gia từ chối đăng nhập: SHOP02",
        "[dqg] ĐÃ ỔN: CSDL quốc gia nhận đăng nhập: SHOP02",
    ]
    assert [post["subject"] for post in webhook.posts] == subjects
    assert [message["Subject"] for message in mail.mails] == subjects
    body = webhook.posts[0]["body"]
    assert "Chứng từ đang chờ: 3" in body
    assert "Từ: " in body
    assert "Việc cần làm: Sửa tài khoản CSDL quốc gia của nhà thuốc" in body
    assert "/runs/flow-run/" in body
    assert {headers["x-token"] for headers in webhook.headers} == {"abc"}
    assert "Việc cần làm" in mail.mails[0].get_content()
    assert mail.mails[0]["To"].addresses[0].addr_spec == "op@example.vn"


async def test_a_silent_orchestrator_is_told_once_and_its_return_once(
    system: System, webhook: WebhookReceiver
) -> None:
    settings = AlertSettings(webhook_url=SecretStr(webhook.url))
    await apply_only(alerts_about("orchestrator"), settings)
    await orchestrate(return_state=True)
    await wait_until_async(lambda: webhook.posts, "the silence is told", timeout=60)
    await orchestrate(return_state=True)
    await wait_until_async(lambda: len(webhook.posts) > 1, "the return is told")
    assert [post["subject"] for post in webhook.posts] == [
        "[dqg] ALERT: the orchestrator is silent",
        "[dqg] RECOVERED: the orchestrator is back",
    ]


async def test_a_receiver_that_fails_for_a_moment_gets_the_message_all_the_same(
    system: System, webhook: WebhookReceiver
) -> None:
    await apply_only(alerts_about("messages"), AlertSettings(webhook_url=SecretStr(webhook.url)))
    webhook.refusals = 2
    async with open_redis(
        RedisSettings(url=SecretStr(system.environment["DQG_REDIS__URL"]))
    ) as redis:
        await Breakers(redis, "dqg", BreakerSettings()).trip("pipeline:sale", "HTTP 503")
        await orchestrate(return_state=True)
    await wait_until_async(lambda: webhook.posts, "the breaker is told")
    assert [post["subject"] for post in webhook.posts] == [
        "[dqg] CẢNH BÁO: Hóa đơn bán: tạm ngừng gửi"
    ]
    assert "Chi tiết: HTTP 503" in webhook.posts[0]["body"]
