"""From a failure to its cause, to its group, and back into the queue: on the real parts."""

from __future__ import annotations

import asyncio
import getpass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.pipelines import sale
from lib.pipelines import SALE
from tests.support.cli import dqg, dqg_json
from tests.support.snapshots import Snapshots
from tests.support.system import System

UNKNOWN = {"drug_code": "DQG99999999"}


def send_pending(system: System) -> None:
    """Claims everything pending, as `orchestrate` does, and runs the batch in this process."""
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )
    asyncio.run(run_batch(claim.token))


async def run_batch(token: str) -> None:
    await sale(claim_token=token, return_state=True)


def fail_three(system: System) -> None:
    system.add("sale", "U-1", line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    system.add("sale", "U-2", shop="SHOP02", line=UNKNOWN)
    system.add("sale", "BLANK", line={"lot_number": " "})
    send_pending(system)


@pytest.fixture
def failed(system: System, snapshots: Snapshots) -> System:
    """Two documents with a drug code nobody knows, one with blank lot numbers."""
    snapshots.begin_with(system, fail_three)
    return system


def group_of(field: str) -> dict[str, Any]:
    (found,) = [group for group in dqg_json("failures", "group") if group["field"] == field]
    return found


def ids(*filters: str) -> set[str]:
    found = dqg_json("failures", "list", *filters)
    assert found["total"] == len(found["failures"])
    return {row["local_id"] for row in found["failures"]}


def test_failures_are_listed_and_filtered(failed: System) -> None:
    assert ids() == {"U-1", "U-2", "BLANK"}
    assert ids("--shop", "SHOP02") == ids("--shop", " shop02 ") == {"U-2"}
    assert ids("--class", "invalid") == {"BLANK"}
    assert ids("--reason", "SO_LO") == {"BLANK"}
    assert ids("--pipeline", "import") == set()
    assert ids("--within", "1h") == {"U-1", "U-2", "BLANK"}
    assert ids("--older-than", "1h") == set()
    assert ids("--state", "resolved") == set()
    assert "BLANK" in dqg("failures", "list")
    assert len(dqg_json("failures", "list", "--limit", "1")["failures"]) == 1


@pytest.mark.parametrize("words", [("failures", "list"), ("failures", "group"), ("requeue",)])
@pytest.mark.parametrize(
    ("option", "written", "meant"),
    [("--shop", "SHOP2", "SHOP02"), ("--class", "invalied", "invalid"), ("--shop", "X9", None)],
)
def test_an_unknown_shop_or_class_is_named_with_the_nearest(
    failed: System, words: tuple[str, ...], option: str, written: str, meant: str | None
) -> None:
    text = dqg(*words, option, written, status=1)
    assert written in text
    assert meant is None or f"did you mean {meant}?" in text


@pytest.mark.parametrize(
    "words",
    [
        ("close", "--shop"),
        ("pause", "shop", "--why", "stocktaking"),
        ("resume", "shop"),
        ("console", "user", "add", "hoa", "--role", "shop", "--no-password", "--shop"),
    ],
)
def test_an_unknown_shop_is_named_with_the_nearest_wherever_one_is_given(
    system: System, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DQG_CONSOLE__USERS_FILE", "users.json")
    assert "there is no shop SHOP2; did you mean SHOP02?" in dqg(*words, "SHOP2", status=1)
    assert list(tmp_path.iterdir()) == []


def test_a_shop_and_a_class_that_exist_may_have_no_failure(system: System) -> None:
    assert "0 failures" in dqg("failures", "list", "--shop", "shop01", "--class", "conflict")


def test_failures_alike_are_one_group(failed: System) -> None:
    largest, blank = dqg_json("failures", "group")
    assert (largest["documents"], largest["drug_code"]) == (2, "DQG99999999")
    assert largest["shops"] == ["SHOP01", "SHOP02"]
    # Refused before it was sent, so there is no payload that tells the drug.
    assert (blank["field"], blank["drug_code"]) == ("so_lo", "DQG00010421")
    assert blank["example"] == "BLANK"
    assert "so_lo" in dqg("failures", "group")


def test_a_group_keeps_its_name_when_the_source_is_corrected(failed: System) -> None:
    before = dqg_json("failures", "group")
    with failed.engine.begin() as connection:
        connection.execute(failed.tables.details(SALE).update().values(drug_code="DQG00010877"))
    assert dqg_json("failures", "group") == before


def test_one_failure_is_shown_whole(failed: System) -> None:
    (found,) = dqg_json("failures", "show", "U-1")
    assert found["payload"]["ho_ten_khach_hang"] == "***"
    assert "ma_thuoc" in found["answer"]
    assert [attempt["http_status"] for attempt in found["attempts"]] == [400]
    assert found["record_run_url"].endswith(f"/runs/flow-run/{found['record_run_id']}")
    assert found["batch_run_url"].endswith(f"/runs/flow-run/{found['batch_run_id']}")
    assert found["batch_run_id"] != found["record_run_id"]
    assert dqg_json("failures", "show", found["_id"]) == [found]
    assert "Bí Mật" not in dqg("failures", "show", "U-1")


def test_names_of_persons_are_nowhere_else(failed: System) -> None:
    for words in (("list",), ("group",)):
        assert "Bí Mật" not in dqg("failures", *words)
        assert "Bí Mật" not in str(dqg_json("failures", *words))


def test_a_failure_that_is_not_there_is_said_to_be_so(failed: System) -> None:
    assert "there is no failure" in dqg("failures", "show", "HD-0", status=1)
    assert dqg_json("failures", "show", "HD-0", status=1) == []


def test_failures_need_mongodb(failed: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_MONGO__URL", "mongodb://127.0.0.1:9")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    assert "MongoDB" in dqg("failures", "list", status=1)
    # Who and why could not be kept, so nothing is changed.
    assert "MongoDB" in dqg("requeue", "U-1", "--yes", "--why", "x", status=1)
    assert failed.document("sale", "U-1").status == "SYNC_FAILED"


def test_nothing_is_requeued_before_it_was_previewed(failed: System) -> None:
    found = dqg_json("requeue", "--class", "rejected")
    assert found["dry_run"]
    assert {d["local_id"] for d in found["documents"]} == {"U-1", "U-2"}
    assert "2 would be made pending again" in dqg("requeue", "--class", "rejected")
    assert set(failed.statuses("sale").values()) == {"SYNC_FAILED"}


def test_a_group_is_corrected_requeued_and_accepted(failed: System) -> None:
    group = group_of("so_lo")["group"]
    with failed.engine.begin() as connection:
        details = failed.tables.details(SALE)
        connection.execute(
            details.update().where(details.c.lot_number == " ").values(lot_number="SK1")
        )
    why = "lot number entered"
    found = dqg_json("requeue", "--group", group, "--yes", "--why", why, "--by", "lan")
    assert [(d["local_id"], d["done"]) for d in found["documents"]] == [("BLANK", True)]
    record = failed.mongo.sync_failures.find_one({"local_id": "BLANK"})
    kept = (record["state"], record["settled_by"], record["settled_why"])
    assert kept == ("requeued", "lan", why)
    send_pending(failed)
    assert failed.statuses("sale") == {
        "BLANK": "SYNC_SUCCESS",
        "U-1": "SYNC_FAILED",
        "U-2": "SYNC_FAILED",
    }


def test_one_document_is_requeued_in_the_name_of_the_login(failed: System) -> None:
    assert "pending again" in dqg("requeue", "U-1", "--yes", "--why", "code exists now")
    assert failed.statuses("sale")["U-1"] == "PENDING_SYNC"
    record = failed.mongo.sync_failures.find_one({"local_id": "U-1"})
    assert record["settled_by"] == getpass.getuser()
    # A second time there is nothing to do.
    (again,) = dqg_json("requeue", "U-1", "--yes", "--why", "x", status=1)["documents"]
    assert "PENDING_SYNC" in again["result"]


def test_what_cannot_be_requeued_is_said(failed: System) -> None:
    assert "no document" in dqg("requeue", "HD-0", status=1)
    assert "open failures" in dqg("requeue", "--group", "00000000", status=1)
    dqg("requeue", status=2)
    dqg("requeue", "U-1", "--shop", "SHOP01", status=2)
    dqg("requeue", "U-1", "--yes", status=2)
    dqg("requeue", "--within", "soon", status=2)


def test_a_code_of_two_pharmacies_needs_the_pharmacy(failed: System) -> None:
    failed.add("sale", "U-1", shop="SHOP02", status="SYNC_FAILED")
    assert "--pharmacy-code" in dqg("requeue", "U-1", status=1)
    code = failed.mongo.sync_failures.find_one({"local_id": "U-1"})["pharmacy_code"]
    assert len(dqg_json("requeue", "U-1", "--pharmacy-code", code)["documents"]) == 1


def test_a_document_entered_at_the_portal_is_resolved_and_never_sent(failed: System) -> None:
    words = ("resolve", "U-1", "--national-id", "QG-77", "--why", "typed in", "--by", "lan")
    assert "Nothing was changed" in dqg(*words)
    assert failed.document("sale", "U-1").status == "SYNC_FAILED"
    for _ in range(2):  # a repetition changes nothing more
        dqg(*words, "--yes")
        document = failed.document("sale", "U-1")
        assert (document.status, document.national_id) == ("SYNC_SUCCESS", "QG-77")
        assert document.message == "nhập tay: typed in"
    record = failed.mongo.sync_failures.find_one({"local_id": "U-1"})
    assert (record["state"], record["settled_by"]) == ("resolved", "lan")


def test_only_a_failed_document_is_resolved(failed: System) -> None:
    failed.add("sale", "WAITS")
    failed.add("sale", "SENT", status="SYNC_SUCCESS", national_invoice_id="QG-1")
    for name in ("WAITS", "SENT"):
        words = ("resolve", name, "--national-id", "QG-2", "--why", "x", "--yes")
        assert "skipped" in dqg(*words, status=1)
    assert failed.document("sale", "WAITS").national_id is None
    assert failed.document("sale", "SENT").national_id == "QG-1"


def test_a_document_that_somebody_took_meanwhile_is_not_resolved(failed: System) -> None:
    document = failed.document("sale", "U-1")
    failed.source.claims.claim_one(
        SALE, local_id="U-1", token=str(uuid4()), lease=timedelta(seconds=60)
    )
    assert not failed.source.corrections.resolve_by_hand(document.ref, "QG-1", "by hand")
    assert failed.document("sale", "U-1").status == "PENDING_SYNC"


def test_open_failures_are_counted_by_shop_also_of_earlier_days(failed: System) -> None:
    for name in ("U-1", "U-2", "BLANK"):
        failed.change("sale", name, updated_at=datetime.fromisoformat("2020-01-01"))
    found = dqg_json("status", status=1)
    assert {s["shop"]: (s["open_failures"], s["failed"]) for s in found["shops"]} == {
        "SHOP01": (2, 0),
        "SHOP02": (1, 0),
    }
    assert found["open_failures"] == {"import": 0, "sale": 3, "cancellation": 0}
    dqg("requeue", "U-2", "--yes", "--why", "x")
    assert dqg_json("status", status=1)["open_failures"]["sale"] == 2


@pytest.mark.settings(mongo={"mask_personal_names": False})
def test_erasing_a_person_is_on_record_without_the_name(system: System) -> None:
    name = "Nguyễn Thị Bí Mật"
    system.add("sale", "U-1", line=UNKNOWN, customer_name=name)
    send_pending(system)
    assert [row["local_id"] for row in dqg_json("person", "find", name)["documents"]] == ["U-1"]
    assert dqg_json("person", "erase", name, "--yes") == {"erased": 1}
    assert dqg_json("person", "find", name) == {"documents": []}
    (entry,) = system.mongo.audit.find({"action": "erased"})
    assert (entry["by"], entry["detail"]) == (getpass.getuser(), "1")
    assert name not in repr(entry)
