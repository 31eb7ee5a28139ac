"""The pages of the Prefect UI that an operator uses; elements are found by their visible text."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.support.waiting import wait_until

#: Includes the time in which a worker on a busy machine starts a process for the run.
END_SECONDS = 180
_FINAL = re.compile("^(Completed|Failed|Crashed|Cancelled|TimedOut)$")


class Ui:
    """The UI of a Prefect server, opened at its base address in a page of a browser.

    Every method waits for what it needs. Raises playwright's `Error` if it does not appear.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    def open(self, path: str = "") -> None:
        """Open a page by its path; without one, the start page."""
        self.page.goto(f"{self._url}/v2{path}" if path else self._url)

    def deployments(self) -> list[str]:
        """Names in the list of deployments, in the order of the list; opens it from the menu."""
        self.page.get_by_role("link", name="Deployments", exact=True).first.click()
        rows = self.page.get_by_role("row").filter(has=self.page.get_by_role("link"))
        rows.first.wait_for()
        return [row.get_by_role("link").first.inner_text() for row in rows.all()]

    def open_deployment(self, name: str) -> None:
        """From the list of deployments."""
        row = self.page.get_by_role("row").filter(has=self._link(name))
        row.get_by_role("link", name=name, exact=True).first.click()
        self._tab("Configuration").wait_for()

    def open_run_form(self) -> None:
        """From the page of a deployment."""
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("heading", name="Parameters").wait_for()

    def parameter(self, name: str) -> Locator:
        """A parameter's part of the run form: the innermost element with its name and its menu."""
        part = self.page.locator("div").filter(
            has=self.page.locator("label").get_by_text(re.compile(rf"^{name}\b"))
        )
        return part.filter(has=self.page.locator("fieldset")).last

    def fill(self, name: str, value: str) -> None:
        """Enter a text for a parameter."""
        self.parameter(name).get_by_role("textbox").fill(value)

    def submit(self) -> None:
        """Submit the form to start a run, and open the run's page."""
        self.page.get_by_role("button", name="Submit").click()
        view = re.compile("^View run", re.IGNORECASE)
        region = self.page.get_by_role("region", name=re.compile("^Notifications"))
        region.get_by_text(view).first.click()
        self._tab("Logs").wait_for()

    def open_run(self, run_id: str) -> None:
        self.open(f"/runs/flow-run/{run_id}")
        self._tab("Logs").wait_for()

    def wait_for_end(self) -> str:
        """Wait for the final state of the run whose page is open; returns it."""
        state = self.page.get_by_role("main").get_by_text(_FINAL)
        state.first.wait_for(timeout=END_SECONDS * 1000)
        return state.first.inner_text()

    def open_artifact_of_run(self, key: str, run_name: str) -> None:
        """From the page of a run: open the artifact's history, then the artifact of this run."""
        self._tab("Artifacts").click()
        self.page.get_by_role("tabpanel").get_by_role("link").filter(has_text=key).click()
        self._link(run_name).first.wait_for()
        of_run = f"//a[normalize-space()='{run_name}']/preceding::a[contains(@href, '/artifact/')]"
        self.page.locator(f"xpath=({of_run})[last()]").click()
        self._tab("Raw").wait_for()

    def open_latest_artifact(self, key: str) -> None:
        self.open(f"/artifacts/key/{key}")
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()
        self._tab("Raw").wait_for()

    def artifact(self) -> Locator:
        """The content of the artifact whose page is open, once it is shown."""
        shown = self.page.get_by_role("tabpanel")
        shown.locator("table, p").first.wait_for()
        return shown

    def is_cut_off(self, part: Locator) -> bool:
        """Whether an element in it is wider than its space on the page."""
        wider = "e => e.clientWidth && e.scrollWidth > e.clientWidth + 1"
        return bool(part.evaluate(f"part => [part, ...part.querySelectorAll('*')].some({wider})"))

    def shows(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.page.get_by_text(text, exact=False).first.wait_for()

    def picture(self, file: Path, *, width: int = 1400, height: int) -> None:
        """Save a screenshot of the page once nothing on it moves.

        Raises:
            AssertionError: the page does not stop moving.
        """
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.mouse.move(0, 0)  # an element under it would be highlighted
        before = b""

        def is_still() -> bool:
            nonlocal before
            now = self.page.screenshot(animations="disabled")
            still, before = now == before, now
            return still

        wait_until(is_still, f"nothing moves on the page for {file.name}", timeout=60, poll=0.5)
        file.write_bytes(before)

    def _tab(self, name: str) -> Locator:
        return self.page.get_by_role("tab", name=name, exact=True)

    def _link(self, name: str) -> Locator:
        return self.page.get_by_role("link", name=name, exact=True)
