"""`dqg trace` on the real parts: one document, in order of time, from every store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.pipelines import sale
from lib.pipelines import SALE
from lib.settings import load_settings
from lib.tracking.writer import TrackingStore
from tests.support.cli import dqg, dqg_json
from tests.support.snapshots import Snapshots
from tests.support.system import System

NOWHERE = "127.0.0.1:9"
BLANK = {"lot_number": " "}
#: Of one set of tests alone: the Prefect server keeps the runs of all of them.
REFUSED = f"HD-{uuid4().hex[:8]}"
UNKNOWN = {"drug_code": "DQG99999999"}


def send_pending(system: System) -> None:
    """Claims and logs everything pending, as `orchestrate` does, and runs the batch here."""
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )

    async def run_batch() -> None:
        settings = load_settings()
        async with TrackingStore(settings.mongo, settings.sync) as tracking:
            await tracking.dispatched(claim)
        await sale(claim_token=claim.token, return_state=True)

    asyncio.run(run_batch())


def traced(*words: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = dqg_json("trace", *words, status=status)
    return found


def kinds(document: dict[str, Any], store: str | None = None) -> list[str]:
    return [e["event"] for e in document["events"] if store in (None, e["store"])]


@pytest.fixture
def local_id() -> str:
    """Of this test alone: the Prefect server keeps the runs of all tests."""
    return f"HD-{uuid4().hex[:8]}"


def refuse(system: System, local_id: str) -> None:
    system.add("sale", local_id, line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    send_pending(system)


def refuse_one(system: System) -> None:
    refuse(system, REFUSED)


@pytest.fixture
def failed(system: System, snapshots: Snapshots) -> System:
    """`REFUSED`, which the API refused; a test leaves it unsent, for its runs are kept."""
    snapshots.begin_with(system, refuse_one)
    return system


def test_a_failure_and_what_a_person_decided_are_told_in_order(
    system: System, local_id: str
) -> None:
    refuse(system, local_id)
    dqg("requeue", local_id, "--yes", "--why", "entered", "--by", "lan")
    with system.engine.begin() as connection:
        connection.execute(system.tables.details(SALE).update().values(drug_code="DQG00010421"))
    send_pending(system)
    (document,) = traced(local_id)["documents"]
    assert document["now"]["status"] == "SYNC_SUCCESS"
    assert kinds(document, "task_logs") == [
        *("dispatched", "started", "attempt", "closed"),
        *("dispatched", "started", "attempt", "accepted", "closed"),
    ]
    assert kinds(document, "sync_failures") == ["failed", "requeued"]
    assert (
        kinds(document, "Prefect") == ["run_started", "run_started", "run_ended", "run_ended"] * 2
    )
    moments = [event["at"] for event in document["events"]]
    assert moments == sorted(moments)
    (decision,) = [e for e in document["events"] if e["event"] == "requeued"]
    assert decision["details"] == "lan, entered"
    names = [made["name"] for made in document["runs"]]
    assert names.count(f"sale-invoice {local_id}") == 2
    assert sum(name.startswith("sale batch") for name in names) == 2
    assert all("/runs/flow-run/" in made["url"] for made in document["runs"])


def test_every_decision_is_kept_also_after_a_second_failure(system: System, local_id: str) -> None:
    refuse(system, local_id)
    for why in ("first", "second"):
        dqg("requeue", local_id, "--yes", "--why", why, "--by", "lan")
        send_pending(system)
    (document,) = traced(local_id)["documents"]
    decisions = [e["details"] for e in document["events"] if e["event"] == "requeued"]
    assert decisions == ["lan, first", "lan, second"]


def test_a_decision_is_kept_where_the_failure_was_never_recorded(
    system: System, local_id: str
) -> None:
    system.add("sale", local_id, status="SYNC_FAILED")
    dqg("requeue", local_id, "--yes", "--why", "entered", "--by", "lan")
    (document,) = traced(local_id)["documents"]
    assert kinds(document) == ["requeued"]
    assert dqg_json("failures", "list")["total"] == 0


def test_a_person_sees_it_as_tables_without_names_of_persons(failed: System) -> None:
    text = dqg("trace", REFUSED)
    for part in ("SYNC_FAILED", "call to the API", "HTTP 400", "/runs/flow-run/"):
        assert part in text
    assert "Bí Mật" not in text + str(traced(REFUSED))


def test_a_code_of_two_pharmacies_is_two_documents(failed: System) -> None:
    failed.add("sale", REFUSED, shop="SHOP02")
    failed.add("import", REFUSED)
    one, two, other = traced(REFUSED)["documents"]
    assert [d["pipeline"] for d in (one, two, other)] == ["import", "sale", "sale"]
    assert {len(d["events"]) > 0 for d in (two, other)} == {True, False}
    assert len(traced(REFUSED, "--pipeline", "sale")["documents"]) == 2
    code = one["pharmacy_code"]
    assert {d["pipeline"] for d in traced(REFUSED, "--pharmacy-code", code)["documents"]} == {
        "import",
        "sale",
    }


def test_nothing_known_is_said(system: System) -> None:
    assert traced("HD-0", status=1)["documents"] == []
    assert "nothing is known" in dqg("trace", "HD-0", status=1)


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("DQG_MONGO__URL", f"mongodb://{NOWHERE}", "MongoDB"),
        ("DQG_SOURCE__URL", f"postgresql+psycopg://nobody@{NOWHERE}/nothing", "SQL"),
    ],
)
def test_a_store_that_is_away_is_named_and_the_rest_is_told(
    failed: System,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    part: str,
) -> None:
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    monkeypatch.setenv(variable, value)
    found = traced(REFUSED, status=1)
    assert list(found["away"]) == [part]
    (document,) = found["documents"]
    assert (document["now"] is None) == (part == "SQL")
    assert "run_ended" in kinds(document, "Prefect")
    assert bool(kinds(document, "task_logs")) == (part != "MongoDB")


def test_prefect_away_is_named_and_the_rest_is_told(failed: System) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://{NOWHERE}/api"}):
        found = traced(REFUSED, status=1)
    assert list(found["away"]) == ["Prefect"]
    assert "failed" in kinds(found["documents"][0])


def test_it_is_told_in_vietnamese(failed: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "vi")
    assert "Diễn biến" in dqg("trace", REFUSED)
    # What a program reads stays the same.
    assert "failed" in kinds(traced(REFUSED)["documents"][0])
