"""The day of each role in the console, in a real browser, on a desk and on a telephone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from flows.pipelines import sale
from lib.pipelines import SALE
from tests.support.browser import open_page
from tests.support.console import PASSWORD, add_users, running_console
from tests.support.snapshots import Snapshots
from tests.support.system import System

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.settings(
        close={"signing_key": "A" * 43 + "="}, mongo={"mask_personal_names": False}
    ),
]
UNKNOWN = {"drug_code": "DQG99999999"}


def send_some(system: System) -> None:
    system.add("sale", "HD-U1", line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    system.add("sale", "HD-U2", shop="SHOP02", line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    system.add("sale", "HD-BLANK", line={"lot_number": " "})
    system.add("sale", "HD-GOOD")
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )

    async def run_batch() -> None:
        await sale(claim_token=claim.token, return_state=True)

    asyncio.run(run_batch())


@pytest.fixture
def console(
    system: System, snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The console with three failures of two causes, and an accepted document."""
    snapshots.begin_with(system, send_some)
    monkeypatch.setenv("DQG_CONSOLE__USERS_FILE", str(tmp_path / "users.json"))
    add_users(tmp_path / "users.json")
    with running_console() as address:
        yield address


@contextmanager
def logged_in(program: str, folder: Path, address: str, name: str) -> Iterator[Page]:
    """A page on which a person has logged in; nothing on it breaks the policy."""
    with open_page(program, folder) as page:
        problems: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if "Policy" in m.text else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address}/login")
        page.get_by_label("Tên đăng nhập").fill(name)
        page.get_by_label("Mật khẩu").fill(PASSWORD)
        page.get_by_role("button", name="Đăng nhập").click()
        expect(page.get_by_role("heading", name="Tổng quan hôm nay")).to_be_visible()
        yield page
        assert problems == []


def screens(page: Page, address: str) -> Iterator[int]:
    """The first page on a desk, then on a telephone; the person goes through the day on each."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(address)
        fits(page)
        yield width
        fits(page)


def fits(page: Page) -> None:
    """Fails where the page has to be moved sideways to be read."""
    page.wait_for_load_state()
    wide = "document.documentElement.scrollWidth > window.innerWidth"
    assert not page.evaluate(wide), f"{page.url} is wider than the screen"


def open_from_menu(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    fits(page)


def find(page: Page, code: str) -> int:
    """Looks a document up by the field that every page has; the status of the answer."""
    page.get_by_role("searchbox").fill(code)
    with page.expect_response(f"**/documents?code={code}") as found:
        page.get_by_role("search").get_by_role("button").click()
    fits(page)
    return found.value.status


def test_a_shop_manager_finds_the_blank_lot(chromium: str, console: str, tmp_path: Path) -> None:
    with logged_in(chromium, tmp_path, console, "shop") as page:
        for _ in screens(page, console):
            expect(page.get_by_text("SHOP02")).to_have_count(0)
            page.get_by_role("link", name="2 cần xử lý").click()
            cause = page.get_by_role("article").filter(has_text="so_lo")
            expect(cause).to_contain_text("Số lô (so_lo): để trống")
            expect(cause).to_contain_text("Nhập số lô trong phần mềm bán hàng")
            cause.get_by_role("link", name="HD-BLANK").click()
            expect(page.get_by_text("dòng 1, số lô")).to_be_visible()
            fits(page)
            expect(page.get_by_role("button", name="Gửi")).to_have_count(0)
            assert find(page, "HD-U2") == 404
            assert page.goto(f"{console}/close").status == 403


def test_an_operator_sends_a_cause_again_and_pauses(
    chromium: str, console: str, system: System, tmp_path: Path
) -> None:
    causes = {
        1280: ("DQG99999999", "2 chứng từ", "HD-U1"),
        390: ("so_lo", "1 chứng từ", "HD-BLANK"),
    }
    with logged_in(chromium, tmp_path, console, "operator") as page:
        for width in screens(page, console):
            what, number, code = causes[width]
            open_from_menu(page, "Cần xử lý")
            cause = page.get_by_role("article").filter(has_text=what)
            cause.get_by_role("link", name="Xem và gửi lại").click()
            fits(page)
            page.get_by_label("Vì sao bây giờ gửi được?").fill("đã sửa trong phần mềm")
            page.get_by_role("button", name=f"Gửi lại {number}").click()
            expect(page.get_by_role("heading", name=f"{number} được gửi lại")).to_be_visible()
            assert system.document("sale", code).status == "PENDING_SYNC"
            page.get_by_role("link", name=code).click()
            expect(page.get_by_text("đang chờ gửi", exact=False)).to_be_visible()
            expect(page.get_by_role("button", name="Gửi ngay")).to_be_visible()

            open_from_menu(page, "Tạm dừng")
            kind = page.get_by_role("article").filter(has_text="Hóa đơn bán")
            kind.get_by_label("Lý do").fill("cổng bảo trì")
            kind.get_by_role("button", name="Tạm dừng").click()
            expect(kind).to_contain_text("operator dừng bằng tay vì: cổng bảo trì")
            open_from_menu(page, "Tổng quan")
            expect(page.get_by_role("alert")).to_contain_text("Hóa đơn bán")
            open_from_menu(page, "Tạm dừng")
            kind.get_by_label("Lý do").fill("cổng đã trở lại")
            kind.get_by_role("button", name="Cho chạy lại").click()
            expect(kind).to_contain_text("tốt")


def test_an_accountant_closes_a_day_verifies_the_file_and_enters_a_code(
    chromium: str, console: str, system: System, tmp_path: Path
) -> None:
    by_hand = {1280: "HD-U1", 390: "HD-U2"}
    with logged_in(chromium, tmp_path, console, "accountant") as page:
        for width in screens(page, console):
            open_from_menu(page, "Khóa sổ")
            page.get_by_label("Từ ngày").fill("2026-11-02")
            page.get_by_label("Đến ngày").fill("2026-11-02")
            page.get_by_role("button", name="Đối chiếu").click()
            with page.expect_download() as download:
                page.get_by_role("link", name="Tải về Excel").click()
            fits(page)
            expect(page.get_by_text("chưa khóa được")).to_be_visible()
            open_from_menu(page, "Khóa sổ")
            page.get_by_label("Tệp CSV hoặc Excel").set_input_files(download.value.path())
            page.get_by_role("button", name="còn nguyên vẹn không").click()
            verified = page.get_by_role("status")
            expect(verified).to_contain_text("Tệp nguyên vẹn và do hệ thống này ký")
            expect(verified).to_contain_text("lần khóa sổ của accountant")

            assert find(page, "HD-GOOD") == 200
            national_id = system.document("sale", "HD-GOOD").national_id
            expect(page.get_by_label("Mã quốc gia", exact=True)).to_have_value(national_id or "")
            assert find(page, by_hand[width]) == 200
            expect(page.get_by_text("Bí Mật")).to_have_count(0)
            page.get_by_role("button", name="Hiện họ tên").click()
            expect(page.get_by_text("Nguyễn Thị Bí Mật")).to_be_visible()
            page.get_by_label("Mã quốc gia, đúng như trên cổng").fill(f"QG-{width}")
            page.get_by_label("Lý do").fill("đã nhập tay")
            page.get_by_role("button", name="Đã nhập; không gửi nữa").click()
            expect(page.get_by_role("status")).to_contain_text("đã xong")
            assert system.document("sale", by_hand[width]).national_id == f"QG-{width}"


def test_an_inspector_reads_who_did_what_and_downloads_it(
    chromium: str, console: str, tmp_path: Path
) -> None:
    with logged_in(chromium, tmp_path, console, "viewer") as page:
        for width in screens(page, console):
            open_from_menu(page, "Nhật ký" if width == 1280 else "Audit log")
            page.get_by_label("Việc" if width == 1280 else "What").select_option("logged_in")
            page.get_by_role("button", name="Xem" if width == 1280 else "Show").click()
            expect(page.get_by_role("row").filter(has_text="viewer").first).to_be_visible()
            fits(page)
            with page.expect_download() as download:
                page.get_by_role("button", name="CSV").click()
            assert "viewer" in Path(download.value.path()).read_text("utf-8-sig")
            if width == 1280:
                page.get_by_role("button", name="English").click()
                expect(
                    page.get_by_role("heading", name="Who did what, when and why")
                ).to_be_visible()
