"""A day is closed, file and artifact and all: on the real parts."""

from __future__ import annotations

import asyncio
import csv
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import event

from flows.daily_close import daily_close
from flows.pipelines import import_receipts, sale
from lib.daily_close.result import yesterday
from lib.pipelines import IMPORT, SALE, Pipeline
from tests.support.artifacts import latest_artifact
from tests.support.cli import dqg, dqg_json
from tests.support.snapshots import Snapshots
from tests.support.system import System

DAY = date(2026, 11, 2)
NOON = datetime.combine(DAY, datetime.min.time()) + timedelta(hours=12)
NOWHERE = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the caller stands: files are written here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def send_pending(system: System, pipeline: Pipeline = SALE) -> None:
    """Claims everything pending, as `orchestrate` does, and runs the batch in this process."""
    claim = system.source.claims.claim(
        pipeline, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )
    flow: Any = sale if pipeline is SALE else import_receipts

    async def run() -> None:
        await flow(claim_token=claim.token, return_state=True)

    asyncio.run(run())


def send_the_day(system: System) -> None:
    system.add("sale", "HD-1", sale_date=NOON, customer_name="Nguyễn Thị Bí Mật", lines=2)
    system.add("sale", "HD-2", sale_date=NOON.replace(hour=0))
    system.add("sale", "HD-3", shop="SHOP02", sale_date=NOON.replace(hour=23, minute=59))
    system.add("import", "PN-1", receipt_date=NOON)
    send_pending(system)
    send_pending(system, IMPORT)
    system.add("sale", "TOMORROW", sale_date=NOON + timedelta(hours=12))


@pytest.fixture
def sent(system: System, snapshots: Snapshots) -> System:
    """Two shops' documents of the day, all accepted; and one of another day, not sent."""
    snapshots.begin_with(system, send_the_day)
    return system


def close(*words: str, status: int = 0) -> Any:
    return dqg_json("close", "--date", str(DAY), "--overwrite", *words, status=status)


def kinds(result: Any) -> dict[str, str]:
    return {item["local_id"]: item["kind"] for item in result["differences"]}


def read(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def shown() -> Any:
    """The artifact."""
    return asyncio.run(latest_artifact("daily-close"))


def test_a_day_is_closed_with_a_file_that_proves_it(sent: System, folder: Path) -> None:
    found = close()
    assert (found["closed"], found["documents"], found["states"]["accepted"]) == (True, 4, 4)
    assert (found["differences"], found["notes"]) == ([], [])
    shops = {(s["pipeline"], s["shop"]): s for s in found["shops"]}
    first = shops["sale", "SHOP01"]
    names = ("documents", "sent", "accepted", "logged", "checked", "present")
    assert [first[name] for name in names] == [2] * 6
    # A line of a sale comes to 10,000.
    assert first["accepted_amount"] == "30000.00"
    assert shops["import", "SHOP01"]["amount"] == "10000.00"
    path = folder / f"daily-close-{DAY}.csv"
    assert found["file"] == str(path)
    (row,) = [row for row in read(path) if row["document"] == "HD-1"]
    assert row["national_id"] == sent.document("sale", "HD-1").national_id
    assert (row["state"], row["logs"], row["api"]) == ("accepted", "accepted", "present")
    assert "TOMORROW" not in path.read_text("utf-8")
    assert "Bí Mật" not in path.read_text("utf-8")
    (kept,) = sent.mongo.audit.find({})
    assert kept["action"] == "closed_day"
    assert kept["detail"].startswith(f"{DAY}, closed, csv {found['sha256']}, xlsx ")


def test_the_same_day_closed_again_has_the_same_checksum(sent: System) -> None:
    assert close()["sha256"] == close()["sha256"]


@pytest.mark.settings(close={"signing_key": "A" * 43 + "="})
def test_a_file_is_verified_without_anything_of_the_installation(
    sent: System, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = close()
    sha256, files = found["sha256"], found["files"]
    key = dqg("close", "public-key").strip()
    for name in [name for name in os.environ if name.startswith("DQG_")]:
        monkeypatch.delenv(name)
    with temporary_settings({PREFECT_API_URL: f"http://{NOWHERE}/api"}):
        for file in files:
            shown = dqg("close", "verify", file["file"], "--public-key", key)
            assert "unchanged: 4 documents" in shown
            assert "signed with this key" in shown
            other = dqg("close", "verify", file["file"], "--public-key", "B" * 43 + "=", status=1)
            assert "not signed with this key" in other
    path = folder / f"daily-close-{DAY}.csv"
    assert dqg_json("close", "verify", path.name, "--sha256", sha256.upper())["unchanged"]
    assert "changed" in dqg("close", "verify", path.name, "--sha256", "0" * 64, status=1)
    path.write_text(path.read_text("utf-8").replace("HD-1", "HD-9"), "utf-8")
    assert "changed" in dqg("close", "verify", path.name, status=1)
    assert "cannot be read" in dqg("close", "verify", "nothing.csv", status=1)


def test_several_days_of_one_shop_are_closed_together(sent: System, folder: Path) -> None:
    words = ("close", "--from", str(DAY), "--to", str(DAY + timedelta(days=1)))
    one = dqg_json(*words, "--shop", "shop02")
    assert (one["documents"], one["closed"], one["shop"]) == (1, True, "shop02")
    assert Path(one["file"]).name == "daily-close-2026-11-02--2026-11-03-shop02.csv"
    every = dqg_json(*words, status=1)
    assert (every["documents"], every["states"]["pending"]) == (5, 1)
    rows = read(every["file"])
    assert {row["date"] for row in rows if row["document"] == "TOMORROW"} == {"2026-11-03"}
    assert "--from and --to" in dqg("close", "--date", str(DAY), "--to", str(DAY), status=2)
    assert "is before" in dqg("close", "--from", str(DAY), "--to", "2026-11-01", status=2)


def test_a_file_that_is_there_is_not_replaced_unasked(sent: System, folder: Path) -> None:
    words = ("close", "--date", str(DAY), "--out", "proof.csv")
    dqg(*words)
    before = (folder / "proof.csv").read_bytes()
    assert "--overwrite" in dqg(*words, status=2)
    assert (folder / "proof.csv").read_bytes() == before


def test_what_is_not_accepted_keeps_the_day_open(sent: System) -> None:
    sent.add("sale", "WAITS", sale_date=NOON)
    sent.add("sale", "BLANK", sale_date=NOON, line={"lot_number": " "})
    sent.change("sale", "WAITS", next_attempt_at=datetime(2099, 1, 1))  # noqa: DTZ001
    send_pending(sent)
    found = close(status=1)
    assert (found["states"]["failed"], found["states"]["pending"]) == (1, 1)
    assert (found["differences"], found["closed"]) == ([], False)
    (blank,) = [row for row in read(found["file"]) if row["document"] == "BLANK"]
    # It never reached the API, and the API says so.
    assert (blank["sent"], blank["logs"], blank["api"]) == ("0", "not_accepted", "absent")
    assert "so_lo" in blank["remark"]
    shown = dqg("close", "--date", str(DAY), "--shop", "SHOP01", "--sample", "0", status=1)
    assert "1 failed: dqg failures group --shop SHOP01" in shown
    assert "1 open: dqg status" in shown


def test_stores_that_disagree_are_named_document_by_document(sent: System) -> None:
    sent.mongo.task_logs.delete_many({"local_id": "HD-1"})
    sent.change("sale", "HD-2", status="PENDING_SYNC", national_invoice_id=None)
    sent.change("sale", "HD-3", national_invoice_id="QG-9")
    found = close("--sample", "0", status=1)
    assert kinds(found) == {
        "HD-1": "not_logged",
        "HD-2": "logged_accepted",
        "HD-3": "logged_id_differs",
    }
    shown = dqg("close", "--date", str(DAY), "--overwrite", "--sample", "0", status=1)
    assert "accepted in the logs, but not in the source database" in shown
    assert "not closed" in shown


def test_a_document_changed_after_its_acceptance_keeps_the_day_open(sent: System) -> None:
    header = sent.tables.header(SALE)
    later = header.c.updated_at + timedelta(hours=1)
    sent.change("sale", "HD-1", updated_at=later)
    sent.change("sale", "HD-2", updated_at=later, customer_name="Khách quen")
    found = close(status=1)
    assert kinds(found) == {"HD-2": "changed_after_acceptance"}


def test_the_api_is_asked_by_sample(sent: System) -> None:
    # By the source alone it is accepted: the API never saw it.
    sent.add("sale", "FORGED", sale_date=NOON, status="SYNC_SUCCESS", national_invoice_id="QG-9")
    sent.change("sale", "FORGED", sync_response_message="by hand: entered at the portal")
    sent.change("sale", "HD-2", status="SYNC_FAILED")
    sent.mongo.task_logs.delete_many({"local_id": "HD-2"})
    found = close(status=1)
    assert kinds(found) == {"FORGED": "api_absent", "HD-2": "api_has_it"}
    without = close("--sample", "0", status=1)
    assert (kinds(without), sum(s["checked"] for s in without["shops"])) == ({}, 0)


@pytest.mark.settings(api={"lookup": False})
def test_an_api_that_must_not_be_asked_is_not_asked(sent: System) -> None:
    before = len(sent.admin.calls(since=0))
    found = close()
    assert found["closed"]
    assert len(sent.admin.calls(since=0)) == before


def test_a_document_entered_by_hand_is_no_difference(sent: System) -> None:
    sent.add("sale", "BLANK", sale_date=NOON, line={"lot_number": " "})
    send_pending(sent)
    words = ("BLANK", "--national-id", "QG-77", "--why", "at the portal", "--yes")
    dqg("resolve", *words)
    assert close("--sample", "0")["closed"]


def test_an_account_that_is_refused_leaves_its_sample_unknown(sent: System) -> None:
    sent.set_password("SHOP02", "wrong")
    found = close(status=1)
    assert found["notes"] == ["1 documents could not be looked up: The shop's login was refused"]
    assert found["differences"] == []


def test_without_mongodb_the_rest_is_compared_and_the_day_stays_open(
    sent: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_MONGO__URL", f"mongodb://{NOWHERE}")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    found = close(status=1)
    assert found["notes"] == ["the logs were not compared: MongoDB does not answer"]
    assert found["states"]["accepted"] == 4
    assert found["shops"][0]["logged"] is None


@pytest.mark.settings(mongo={"task_log_days": 1})
def test_logs_that_have_expired_are_not_missed(sent: System) -> None:
    found = close(status=1)
    assert found["notes"] == ["the logs were not compared: they are kept for 1 days"]
    assert found["differences"] == []


def test_without_prefect_the_file_is_written_and_the_artifact_missed(sent: System) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://{NOWHERE}/api"}):
        found = close(status=1)
    assert found["closed"]
    assert "Prefect" in found["artifact_error"]
    assert Path(found["file"]).exists()


def test_a_day_without_documents_is_closed(system: System, folder: Path) -> None:
    found = dqg_json("close")
    assert (found["date"], found["documents"], found["closed"]) == (str(yesterday()), 0, True)
    assert Path(found["file"]).name == f"daily-close-{yesterday()}.csv"


def test_what_is_no_date_is_wrong_usage() -> None:
    assert "2026-11-02" in dqg("close", "--date", "yesterday", status=2)


def test_the_number_of_statements_does_not_grow(system: System) -> None:
    statements: list[str] = []
    event.listen(system.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))

    def count() -> int:
        statements.clear()
        system.source.daily.documents_of_days(SALE, DAY, DAY)
        return len(statements)

    system.add("sale", "HD-0", sale_date=NOON)
    few = count()
    for number in range(1, 30):
        system.add("sale", f"HD-{number}", sale_date=NOON, lines=2)
    assert count() == few
    assert len(system.source.daily.documents_of_days(SALE, DAY, DAY)) == 30


@pytest.fixture
def artifact(sent: System) -> Any:
    state = asyncio.run(run_flow())
    assert state.is_completed(), state.message
    return shown()


async def run_flow() -> Any:
    return await daily_close(DAY, sample=3, return_state=True)


def test_the_flow_leaves_the_same_close_as_an_artifact(artifact: Any) -> None:
    sha256 = close()["sha256"]
    assert f"SHA-256 over the rows of the CSV file: `{sha256}`" in artifact.description
    assert "SHOP02" in artifact.data
    assert "Bí Mật" not in artifact.data + artifact.description


def test_the_flow_fails_for_a_day_that_is_not_closed(sent: System) -> None:
    sent.add("sale", "WAITS", sale_date=NOON)
    state = asyncio.run(run_flow())
    assert state.is_failed()
    assert "1 open" in state.message
    assert "not closed" in shown().description
