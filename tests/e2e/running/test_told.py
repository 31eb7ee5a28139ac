"""Being told: on the running system a worker stops and an account is refused, and both end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from deployments.local.parts.servers import prefect_client_environment
from deployments.local.supervisor.stack import ROOT
from deployments.local.system import System
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.tables import build_tables
from tests.support.documents import insert_document
from tests.support.receivers import WebhookReceiver, listening
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)
TABLES = build_tables(SourceSettings())
SHOP = "SHOP02"
NAMED = "Quầy thuốc Minh Tâm 0000000002 (SHOP02)"


def apply_alerts(system: System, url: str | None) -> None:
    """The command an administrator runs."""
    environment = {
        **os.environ,
        **prefect_client_environment(system.stack, system.prefect),
        **system.environment,
    }
    if url is not None:
        environment["DQG_ALERTS__WEBHOOK_URL"] = url
    subprocess.run(
        [sys.executable, "-m", "deployments.server.alerts"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def webhook(running: System) -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    with listening(receiver):
        apply_alerts(running, receiver.url)
        yield receiver
        apply_alerts(running, None)


def change_password(system: System, password: str) -> str:
    """Of the shop; returns the one it had."""
    engine = create_source_engine(system.source_url, SourceSettings())
    accounts = TABLES.accounts
    of_shop = accounts.c.shop_pharmacy_code == SHOP
    with engine.begin() as connection:
        old: str = connection.execute(select(accounts.c.password).where(of_shop)).scalar_one()
        connection.execute(update(accounts).where(of_shop).values(password=password))
    engine.dispose()
    return old


def add_documents(system: System) -> None:
    engine = create_source_engine(system.source_url, SourceSettings())
    for number in range(3):
        insert_document(engine, TABLES, "sale", f"HD-TOLD-{number}", shop=SHOP)
    engine.dispose()


def wait_for(webhook: WebhookReceiver, subject: str) -> None:
    """Waits for a message; the orchestrator compares states once a minute."""
    wait_until(
        lambda: any(subject in post["subject"] for post in webhook.posts),
        f"a message: {subject}",
        timeout=240,
        poll=1,
    )


def test_a_stopped_worker_and_a_refused_account_are_told_once_each_and_so_are_their_ends(
    running: System, webhook: WebhookReceiver
) -> None:
    running.stack.stop("worker-cancellation")
    good = change_password(running, "no longer right")
    add_documents(running)
    wait_for(webhook, f"từ chối đăng nhập: {NAMED}")
    wait_for(webhook, "ALERT: pool cancellation")
    change_password(running, good)
    running.stack.start("worker-cancellation")
    wait_for(webhook, f"nhận đăng nhập: {NAMED}")
    wait_for(webhook, "RECOVERED: pool cancellation")

    assert webhook.subjects(SHOP) == [
        f"[dqg] CẢNH BÁO: CSDL quốc gia từ chối đăng nhập: {NAMED}",
        f"[dqg] ĐÃ ỔN: CSDL quốc gia nhận đăng nhập: {NAMED}",
    ]
    assert webhook.subjects("pool cancellation") == [
        "[dqg] ALERT: pool cancellation has no worker",
        "[dqg] RECOVERED: pool cancellation has a worker again",
    ]
