"""The screenshots of docs/images, taken from a running system after its demo documents are done."""

from __future__ import annotations

from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from deployments.local.parts.console import DEMO_USERS, DemoConsole
from deployments.local.system import System
from tests.support.ui import Ui
from tests.support.waiting import wait_until

#: A document of the demo that the national API refuses.
REFUSED = "HD-S02-000905"
#: One that was accepted; it is shown in the form, which is not submitted.
ACCEPTED = "HD-S01-000101"
#: One whose lot number is blank.
BLANK = "HD-S01-000901"
#: The day of the demo's faulty documents.
CLOSED = "2026-11-09"
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"


def take_pictures(ui: Ui, system: System, folder: Path) -> None:
    """Write every screenshot of the documentation.

    Raises:
        AssertionError, playwright's Error: a page does not show the content of its screenshot.
    """
    ui.open()
    ui.deployments()
    ui.picture(folder / "deployments.png", height=560)

    ui.open_deployment("sale")
    ui.open_run_form()
    ui.fill("local_invoice_id", ACCEPTED)
    ui.picture(folder / "run-form.png", height=760)

    run_id, name = first_run(system, "sale batch")
    ui.open_run(run_id)
    ui.wait_for_end()
    ui.picture(folder / "batch-run.png", height=760)
    ui.open_artifact_of_run("sale-result", name)
    ui.shows(REFUSED)
    ui.picture(folder / "result.png", height=560)

    run_id, _ = first_run(system, f"sale-invoice {REFUSED}")
    ui.open_run(run_id)
    ui.shows("không có trong danh mục")
    ui.picture(folder / "failed-record.png", height=850)

    wait_until(
        lambda: (
            httpx.get(
                f"{system.prefect.api_url}/artifacts/orchestrate-summary/latest", trust_env=False
            ).is_success
        ),
        "`orchestrate` shows what it did when its minute is over",
        timeout=180,
        poll=1,
    )
    ui.open_latest_artifact("orchestrate-summary")
    ui.shows("cancellation")
    ui.picture(folder / "orchestrate-summary.png", width=1800, height=440)


def take_console_pictures(page: Page, console: DemoConsole, folder: Path) -> None:
    """Write the screenshots of the console: on an administrator's computer and on a shop's phone.

    Raises:
        AssertionError, playwright's Error: a page does not show the content of its screenshot.
    """
    administrator, shop = DEMO_USERS
    page.set_viewport_size({"width": 1200, "height": 800})
    _log_in(page, console, administrator.name)
    page.screenshot(path=folder / "console-overview.png")
    page.goto(f"{console.url}/causes")
    expect(page.get_by_role("article").first).to_contain_text("Cần làm")
    page.screenshot(path=folder / "console-causes.png")
    page.goto(f"{console.url}/close")
    page.get_by_label("Từ ngày").fill(CLOSED)
    page.get_by_label("Đến ngày").fill(CLOSED)
    page.get_by_role("button", name="Đối chiếu").click()
    expect(page.get_by_role("link", name="Tải về Excel")).to_be_visible()
    page.screenshot(path=folder / "console-close.png", full_page=True)

    page.get_by_role("button", name="Đăng xuất").click()
    page.set_viewport_size({"width": 390, "height": 844})
    _log_in(page, console, shop.name)
    page.goto(f"{console.url}/documents?code={BLANK}")
    expect(page.get_by_text("dòng 1, số lô")).to_be_visible()
    page.screenshot(path=folder / "console-phone.png")


def _log_in(page: Page, console: DemoConsole, name: str) -> None:
    page.goto(f"{console.url}/login")
    page.get_by_label("Tên đăng nhập").fill(name)
    page.get_by_label("Mật khẩu").fill(console.password)
    page.get_by_role("button", name="Đăng nhập").click()
    expect(page.get_by_role("heading", name="Tổng quan hôm nay")).to_be_visible()


def first_run(system: System, name: str) -> tuple[str, str]:
    """Id and name of the earliest run whose name contains this text."""
    response = httpx.post(
        f"{system.prefect.api_url}/flow_runs/filter",
        json={"flow_runs": {"name": {"like_": name}}, "sort": "START_TIME_ASC", "limit": 1},
        trust_env=False,
    )
    (run,) = response.raise_for_status().json()
    return str(run["id"]), str(run["name"])
