"""The README's story, word for word: a failure is found, understood, corrected, sent again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymongo
import pytest

from deployments.local.supervisor.stack import ROOT
from deployments.local.system import MONGO_DATABASE, System
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine
from lib.source.tables import build_tables
from tests.support.documents import insert_document
from tests.support.running import drain

pytestmark = pytest.mark.timeout(600)
HEADING = "A failure, from found to accepted"
UNKNOWN = {"drug_code": "DQG99999999", "drug_name": "Amoxicillin TH 500mg"}
#: The demo has one document of the group; in a chain one missing drug code stops many.
ALIKE = ["HD-STORY-1", "HD-STORY-2"]


def blocks_under(heading: str) -> list[str]:
    """Shell blocks of a section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def run_block(system: System, block: str) -> str:
    """What a shell of a second terminal prints for it; it knows only where the stack's state is."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("DQG_", "PREFECT_"))}
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-eu", "-c", block],
        cwd=ROOT,
        env={
            **kept,
            "STATE": str(system.stack.state_dir),
            # As in a shell in which the virtual environment is active.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def refused(drained: System) -> System:
    """The demo, with more invoices of the same unknown drug."""
    engine = create_source_engine(drained.source_url, SourceSettings())
    for local_id in ALIKE:
        insert_document(engine, build_tables(SourceSettings()), "sale", local_id, line=UNKNOWN)
    engine.dispose()
    drain(drained)
    return drained


def statuses(system: System) -> set[str]:
    found = [system.source.documents.find(SALE, local_id) for local_id in ("HD-S02-000905", *ALIKE)]
    return {document.status for (document,) in found}


def test_from_the_readme_alone_a_failure_becomes_accepted(refused: System) -> None:
    look, correct, see = blocks_under(HEADING)
    assert statuses(refused) == {"SYNC_FAILED"}

    shown = run_block(refused, look)
    (group,) = [line for line in shown.splitlines() if "229672fa" in line]
    assert [cell.strip() for cell in group.split("│")][2:6] == [
        *("3", "rejected", "ma_thuoc", "DQG99999999")
    ]
    assert '"ten_thuoc": "Amoxicillin TH 500mg"' in shown
    assert "ma_thuoc không có trong danh mục thuốc quốc gia" in shown
    assert f"{refused.prefect.ui_url}/v2/runs/flow-run/" in shown

    corrected = run_block(refused, correct)
    assert "UPDATE 3" in corrected
    assert "Nothing was changed. With --yes and --why, 3 would be made pending again." in corrected
    assert corrected.count("pending again") > 3
    with pymongo.MongoClient[dict[str, Any]](refused.mongo_url) as client:
        query = {"local_id": {"$in": ["HD-S02-000905", *ALIKE]}}
        records = list(client[MONGO_DATABASE].sync_failures.find(query))
    assert {record["settled_why"] for record in records} == {"drug code corrected"}

    drain(refused)
    assert statuses(refused) == {"SYNC_SUCCESS"}
    assert re.search(r"SYNC_SUCCESS \| \S+", run_block(refused, see))
    for local_id in ("HD-S02-000905", *ALIKE):
        (counters,) = refused.sandbox.documents(code=local_id)
        assert counters["accepted"] == 1
