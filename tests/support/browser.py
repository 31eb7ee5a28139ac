"""A real browser: the system's Chromium, headless, with access only to this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Long, because the UI waits for its server on a machine that is busy with runs.
PATIENCE_SECONDS = 60
#: Time zone of the pharmacies; the UI shows times in the browser's time zone.
TIME_ZONE = "Asia/Ho_Chi_Minh"
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    # The UI contacts a statistics service; a test must not depend on outside services.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_browser() -> str | None:
    """The system's Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's browser. Without one the tests are skipped, but with CI=true they fail."""
    program = find_browser()
    if program is None:
        reason = f"none of {', '.join(PROGRAMS)} is on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


@contextmanager
def open_page(program: str, failures: Path) -> Iterator[Page]:
    """An empty page in a separate browser.

    Args:
        failures: folder for the screenshot of a page on which a test failed.

    Raises:
        AssertionError: the block failed; the text contains what the page showed.
    """
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=arguments) as browser,
        browser.new_page(
            viewport={"width": 1400, "height": 800}, locale="en-GB", timezone_id=TIME_ZONE
        ) as page,
    ):
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        try:
            yield page
        except (Error, AssertionError) as error:
            raise AssertionError(f"{error}\n{_what_it_showed(page, failures)}") from error


def _what_it_showed(page: Page, folder: Path) -> str:
    picture = folder / "failure.png"
    try:
        page.screenshot(path=picture, timeout=10_000)
        text = page.locator("body").inner_text(timeout=10_000)
    except Error as error:
        return f"the page {page.url} is lost as well: {error}"
    return f"picture: {picture}\npage {page.url} showed:\n{text}"
