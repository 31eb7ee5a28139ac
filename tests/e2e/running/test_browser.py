"""What an operator does in the Prefect UI, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml

from deployments.local.supervisor.stack import ROOT
from deployments.local.system import System
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.tables import build_tables
from tests.support.browser import open_page
from tests.support.documents import insert_document
from tests.support.pictures import FOLDER, take_pictures
from tests.support.ui import Ui
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
DEPLOYMENTS = [
    deployment["name"]
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
]


def test_a_single_invoice_is_sent_from_the_run_form(
    chromium: str, drained: System, tmp_path: Path
) -> None:
    engine = create_source_engine(drained.source_url, SourceSettings())
    insert_document(
        engine, build_tables(SourceSettings()), "sale", "HD-BROWSER", status="SYNC_FAILED"
    )
    engine.dispose()

    with open_page(chromium, tmp_path) as page:
        ui = Ui(page, drained.prefect.ui_url)
        ui.open()
        assert ui.deployments() == sorted(DEPLOYMENTS)
        ui.open_deployment("sale")
        ui.open_run_form()
        ui.fill("local_invoice_id", "HD-BROWSER")
        ui.submit()
        assert ui.wait_for_end() == "Completed"
        ui.open_artifact_of_run("sale-result", "sale HD-BROWSER")
        ui.shows("1 accepted of 1 documents")

    (document,) = drained.source.documents.find(SALE, "HD-BROWSER")
    assert (document.status, bool(document.national_id)) == ("SYNC_SUCCESS", True)
    (counters,) = drained.sandbox.documents(code="HD-BROWSER")
    assert (counters["accepted"], counters["posts"]) == (1, 1)


def test_the_form_explains_its_fields(chromium: str, drained: System, tmp_path: Path) -> None:
    with open_page(chromium, tmp_path) as page:
        ui = Ui(page, drained.prefect.ui_url)
        ui.open("/deployments")
        ui.open_deployment("sale")
        ui.open_run_form()
        for name in ("local_invoice_id", "pharmacy_code", "force", "granularity", "claim_token"):
            assert len(ui.parameter(name).get_by_role("paragraph").first.inner_text()) > 20, name


#: What is left of Markdown where it is shown as raw text.
RAW = re.compile(r"\]\(|\\\\[\[\]`*|]|\| ---|`")


def test_artifacts_are_rendered_and_fit_and_their_links_open_in_the_same_ui(
    chromium: str, drained: System, tmp_path: Path
) -> None:
    keys = ("orchestrate-summary", "sale-result", "api-availability", "failure-groups")
    with httpx.Client(base_url=drained.prefect.api_url, timeout=30, trust_env=False) as prefect:
        deployment = prefect.get("/deployments/name/reconcile/reconcile").raise_for_status().json()
        prefect.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).raise_for_status()

        def are_there() -> bool:
            found = prefect.post("/artifacts/latest/filter", json={}).raise_for_status().json()
            return set(keys) <= {artifact["key"] for artifact in found}

        # `orchestrate` shows what it did when its minute is over.
        wait_until(are_there, "the runs show their artifacts", timeout=180, poll=1)
    with open_page(chromium, tmp_path) as page:
        ui = Ui(page, drained.prefect.ui_url)
        for key in keys:
            ui.open_latest_artifact(key)
            shown = ui.artifact()
            # The page may draw it once more after it was there.
            wait_until(
                lambda shown=shown: (
                    shown.locator("table").count() == 1 or "All accepted." in shown.inner_text()
                ),
                f"the artifact {key}",
            )
            assert not RAW.search(shown.inner_text()), (key, shown.inner_text())
            assert not ui.is_cut_off(shown), key
        group = ui.artifact().locator("tbody code").first.inner_text()
        assert re.fullmatch(r"[0-9a-f]{8}", group), group
        ui.artifact().get_by_role("link").first.click()
        page.get_by_role("tab", name="Logs", exact=True).wait_for()
        assert "/v2/runs/" in page.url


def test_every_picture_of_the_documentation_can_be_taken_anew(
    chromium: str, drained: System, tmp_path: Path
) -> None:
    taken = tmp_path / "pictures"
    taken.mkdir()
    with open_page(chromium, tmp_path) as page:
        take_pictures(Ui(page, drained.prefect.ui_url), drained, taken)
    # The console's own pictures are taken in its pages, not in Prefect's.
    ours = {path.name for path in FOLDER.glob("*.png") if not path.name.startswith("console-")}
    assert {path.name for path in taken.iterdir()} == ours
