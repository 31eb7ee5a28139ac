"""What the pages of the console show and do, on the real parts, without JavaScript."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, event

from deployments.local.parts.servers import PrefectServer
from flows.pipelines import sale
from lib.pipelines import SALE
from tests.support.cli import dqg, dqg_json
from tests.support.console import Browserless, add_users, running_console
from tests.support.snapshots import Snapshots
from tests.support.system import System
from tests.support.waiting import wait_until

UNKNOWN = {"drug_code": "DQG99999999"}


def send_pending(system: System) -> None:
    """Claims everything pending, as `orchestrate` does, and runs the batch in this process."""
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )

    async def run_batch() -> None:
        await sale(claim_token=claim.token, return_state=True)

    asyncio.run(run_batch())


def send_some(system: System) -> None:
    system.add("sale", "U-1", line=UNKNOWN, customer_name="Nguyễn Thị Bí Mật")
    system.add("sale", "U-2", shop="SHOP02", line=UNKNOWN)
    system.add("sale", "BLANK", line={"lot_number": " "})
    system.add("sale", "GOOD")
    send_pending(system)
    system.add("sale", "WAITS")


@pytest.fixture
def failed(system: System, snapshots: Snapshots) -> System:
    """Two documents with a drug code nobody knows, one with a blank lot, one accepted."""
    snapshots.begin_with(system, send_some)
    return system


@pytest.fixture
def console(failed: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("DQG_CONSOLE__USERS_FILE", str(tmp_path / "users.json"))
    add_users(tmp_path / "users.json")
    with running_console() as address:
        yield address


@pytest.fixture
def operator(console: str) -> Iterator[Browserless]:
    with Browserless(console, "operator") as person:
        yield person


def tiles(page: str) -> list[str]:
    """The big numbers: accepted, waiting, needs action."""
    return [part.split("</b>")[0] for part in page.split("<b>")[1:4]]


def key_of(page: str, text: str) -> str:
    """The key of the cause whose article has this text."""
    (article,) = [part for part in page.split("<article>") if text in part]
    return article.split("/causes/")[1].split('"')[0]


def test_the_overview_counts_today_in_big_numbers(operator: Browserless) -> None:
    page = operator.get("/", 200)
    assert tiles(page) == ["1", "1", "3"]
    assert "Hóa đơn bán" in page
    assert "tài khoản: tốt" in page


def test_the_overview_of_many_shops_takes_no_more_statements(
    operator: Browserless, failed: System
) -> None:
    operator.get("/", 200)
    few = statements(lambda: operator.get("/", 200))
    for number in range(30):
        failed.add("sale", f"MANY-{number}", shop=f"MANY{number}")
    page = ""

    def look() -> None:
        nonlocal page
        page = operator.get("/", 200)

    assert statements(look) == few
    assert "MANY29" in page


def statements(work: Callable[[], object]) -> int:
    """How many statements the source databases of this process are sent meanwhile."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return count


def test_a_shop_manager_sees_the_numbers_of_the_own_shop(console: str) -> None:
    with Browserless(console, "shop") as manager:
        assert tiles(manager.get("/", 200)) == ["1", "1", "2"]


def test_a_platform_that_is_down_is_a_banner(operator: Browserless, failed: System) -> None:
    dqg_json("pause", "pipeline", "sale", "--why", "cổng bảo trì", "--by", "lan")
    page = operator.get("/", 200)
    assert "bị lan dừng bằng tay vì: cổng bảo trì" in page
    assert "Chứng từ gần nhất được nhận lúc" in page


def test_causes_are_in_plain_vietnamese_with_what_to_do(operator: Browserless) -> None:
    page = operator.get("/causes", 200)
    assert page.index("DQG99999999") < page.index("so_lo")
    blank = page.split("<article>")[2]
    assert "số lô" in blank
    assert "để trống" in blank
    assert "DQG00010421 Paracetamol Sao Khuê 500mg" in blank
    assert "Nhập số lô" in blank
    assert "2 nhà thuốc" in page.split("<article>")[1]


def test_a_cause_is_sent_again_after_a_look_and_with_a_reason(
    operator: Browserless, failed: System
) -> None:
    key = key_of(operator.get("/causes"), "DQG99999999")
    page = operator.get(f"/causes/{key}", 200)
    assert "U-1" in page
    assert "U-2" in page
    # Nothing happens without a reason.
    assert operator.post(f"/causes/{key}/requeue", scope="all").status_code == 422
    assert failed.statuses("sale")["U-1"] == "SYNC_FAILED"
    result = operator.post(f"/causes/{key}/requeue", scope="all", why="mã đã có").text
    assert "2 chứng từ được gửi lại" in result
    assert failed.statuses("sale") | {"U-1": "PENDING_SYNC", "U-2": "PENDING_SYNC"} == (
        failed.statuses("sale")
    )
    record = failed.mongo.sync_failures.find_one({"local_id": "U-1"})
    assert (record["state"], record["settled_by"]) == ("requeued", "operator")
    assert "mã đã có" in operator.get("/audit?document=U-1", 200)


def test_only_the_chosen_documents_are_sent_again(operator: Browserless, failed: System) -> None:
    key = key_of(operator.get("/causes"), "DQG99999999")
    operator.get(f"/causes/{key}")
    none = operator.post(f"/causes/{key}/requeue", scope="selected", why="x")
    assert none.status_code == 422
    ref = failed.document("sale", "U-2").ref
    chosen = f"sale/{ref.record_id}"
    operator.post(f"/causes/{key}/requeue", scope="selected", why="x", document=[chosen])
    statuses = failed.statuses("sale")
    assert (statuses["U-1"], statuses["U-2"]) == ("SYNC_FAILED", "PENDING_SYNC")


def test_a_shop_manager_finds_the_blank_lot(console: str) -> None:
    with Browserless(console, "shop") as manager:
        page = manager.get("/causes", 200)
        assert "để trống" in page
        assert "SHOP02" not in page
        assert "U-2" not in manager.get(f"/causes/{key_of(page, 'DQG99999999')}", 200)
        document = manager.get("/documents?code=BLANK", 200)
        assert "<b>dòng 1, số lô</b> (so_lo): để trống" in document
        assert "Gửi lại</button>" not in document


@pytest.mark.settings(mongo={"mask_personal_names": False})
def test_a_document_shows_both_sides_and_hides_names_until_that_is_logged(
    operator: Browserless, failed: System
) -> None:
    page = operator.get("/documents?code=U-1", 200)
    assert "DQG99999999" in page
    assert "ma_thuoc" in page  # of the answer
    assert "Diễn biến" in page
    assert "Bí Mật" not in page
    ref = failed.document("sale", "U-1").ref
    assert failed.mongo.audit.count_documents({"action": "revealed"}) == 0
    fields = {"code": "U-1", "document": f"sale/{ref.record_id}"}
    assert "Bí Mật" in operator.post("/documents/reveal", **fields).text
    (kept,) = failed.mongo.audit.find({"action": "revealed"})
    assert (kept["by"], kept["documents"]) == ("operator", ["U-1"])


def test_an_accepted_document_shows_its_national_code(
    operator: Browserless, failed: System
) -> None:
    national_id = failed.document("sale", "GOOD").national_id
    assert national_id
    assert f'value="{national_id}"' in operator.get("/documents?code=GOOD", 200)


def test_a_document_entered_at_the_portal_is_never_sent(
    operator: Browserless, failed: System
) -> None:
    operator.get("/documents?code=U-1")
    ref = failed.document("sale", "U-1").ref
    fields = {"code": "U-1", "document": f"sale/{ref.record_id}", "why": "nhập tay"}
    assert operator.post("/documents/resolve", **fields).status_code == 422
    assert operator.post("/documents/resolve", **fields, national_id="QG-77").status_code == 200
    document = failed.document("sale", "U-1")
    assert (document.status, document.national_id) == ("SYNC_SUCCESS", "QG-77")


def test_one_document_is_sent_again(operator: Browserless, failed: System) -> None:
    operator.get("/documents?code=BLANK")
    ref = failed.document("sale", "BLANK").ref
    fields = {"code": "BLANK", "document": f"sale/{ref.record_id}"}
    assert operator.post("/documents/requeue", **fields, why="đã sửa").status_code == 200
    assert failed.statuses("sale")["BLANK"] == "PENDING_SYNC"


def test_a_shop_is_paused_and_resumed_in_words(operator: Browserless, failed: System) -> None:
    operator.get("/pauses", 200)
    assert operator.post("/pauses/pause", shop="SHOP02").status_code == 422
    assert operator.post("/pauses/pause", shop="SHOP02", why="kiểm kê").status_code == 303
    assert "bị operator dừng bằng tay vì: kiểm kê" in operator.get("/pauses", 200)
    assert dqg_json("status", status=1)["shop_breakers"]["SHOP02"]["state"] == "forced_open"
    assert operator.post("/pauses/resume", shop="SHOP02").status_code == 422
    assert operator.post("/pauses/resume", shop="SHOP02", why="kiểm xong").status_code == 303
    assert dqg_json("status", status=1)["shop_breakers"]["SHOP02"]["state"] == "closed"
    kept = failed.mongo.audit.find({"shops": "SHOP02"})
    assert [(row["action"], row["why"]) for row in kept] == [
        ("paused", "kiểm kê"),
        ("resumed", "kiểm xong"),
    ]


def test_what_the_command_line_does_is_in_the_audit_log_too(
    operator: Browserless, failed: System
) -> None:
    words = ("--yes", "--why", "=1+1", "--by", "lan")
    dqg_json("requeue", "U-2", *words)
    page = operator.get("/audit?by=lan", 200)
    assert "U-2" in page
    rows = list(csv.reader(io.StringIO(operator.get("/audit.csv?by=lan", 200).lstrip("\ufeff"))))
    (row,) = rows[1:]
    assert row[1:3] == ["lan", "gửi lại"]
    # A spreadsheet would run it.
    assert row[6] == "'=1+1"


def test_without_mongodb_the_overview_says_so_and_nothing_is_decided(
    failed: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_MONGO__URL", "mongodb://127.0.0.1:9")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    monkeypatch.setenv("DQG_CONSOLE__USERS_FILE", str(tmp_path / "users.json"))
    add_users(tmp_path / "users.json")
    with running_console() as address, Browserless(address, "operator") as person:
        page = person.get("/", 200)
        assert "MongoDB" in page
        assert tiles(page) == ["1", "1", "?"]
        assert "MongoDB" in person.get("/causes", 503)


def test_a_document_is_sent_at_once_with_a_reason(
    deployed: PrefectServer, operator: Browserless, failed: System
) -> None:
    fields = {"code": "WAITS", "document": f"sale/{failed.document('sale', 'WAITS').ref.record_id}"}
    assert "Gửi ngay" in operator.get("/documents?code=WAITS", 200)
    assert operator.post("/documents/send", **fields).status_code == 422
    assert "đang được gửi ngay" in operator.post("/documents/send", **fields, why="khách chờ").text
    (entry,) = failed.mongo.audit.find({"action": "sent"})
    assert (entry["by"], entry["why"], entry["documents"]) == ("operator", "khách chờ", ["WAITS"])
    response = httpx.post(
        f"{deployed.api_url}/flow_runs/filter",
        json={"sort": "EXPECTED_START_TIME_DESC", "limit": 1},
        trust_env=False,
    )
    assert [run["parameters"]["local_invoice_id"] for run in response.json()] == ["WAITS"]
    good = {"code": "GOOD", "document": f"sale/{failed.document('sale', 'GOOD').ref.record_id}"}
    assert "Gửi ngay" not in operator.get("/documents?code=GOOD", 200)
    assert operator.post("/documents/send", **good, why="x").status_code == 422


@pytest.mark.settings(close={"signing_key": "A" * 43 + "="})
def test_days_are_compared_and_their_files_prove_themselves(
    console: str, failed: System, tmp_path: Path
) -> None:
    path = "/close/2026-11-01..2026-11-02"
    with Browserless(console, "accountant") as person:
        person.get("/close", 200)
        days = {"from": "2026-11-01", "to": "2026-11-02"}
        assert person.post("/close", **days).headers["location"] == path
        wait_until(lambda: "Tải về CSV" in person.get(path, 200), "the days are compared")
        page = person.get(path)
        assert "chưa khóa được" in page
        assert "3 chứng từ lỗi" in page
        assert "1 chứng từ chưa gửi xong" in page
        for kind in ("csv", "xlsx"):
            content = person.client.get(f"{path}/{kind}").content
            file = tmp_path / f"close.{kind}"
            file.write_bytes(content)
            shown = dqg("close", "verify", str(file))
            assert "unchanged: 5 documents" in shown
            assert shown.split("SHA-256 ")[1].split()[0] in page
            checked = person.upload("/close/verify", file=content).text
            assert "Tệp nguyên vẹn và do hệ thống này ký" in checked
            assert "lần khóa sổ của accountant" in checked
        changed = content_of(person, f"{path}/csv").replace("HD", "HX").replace("U-1", "U-9")
        assert "Tệp đã bị sửa" in person.upload("/close/verify", file=changed.encode()).text
        assert person.upload("/close/verify", file=b"something").status_code == 422
        assert person.upload("/close/verify", file=b"x" * 33_000_000).status_code == 413
        assert "01/11/2026 – 02/11/2026" in person.get("/audit?action=closed_day", 200)


def test_a_shop_is_compared_alone_and_what_makes_no_sense_is_not(console: str) -> None:
    with Browserless(console, "accountant") as person:
        person.get("/close", 200)
        day = {"from": "2026-11-02", "to": "2026-11-02"}
        path = person.post("/close", **day, shop="SHOP02").headers["location"]
        assert path == "/close/2026-11-02?shop=SHOP02"
        wait_until(lambda: "Tải về CSV" in person.get(path, 200), "the shop is compared")
        name = person.client.get(path.replace("?", "/csv?")).headers["content-disposition"]
        assert "daily-close-2026-11-02-SHOP02.csv" in name
        person.get("/close/2026-11-02", 404)
        for wrong in ({**day, "shop": "NONE"}, {"from": "x"}, {**day, "to": "2026-11-01"}):
            assert person.post("/close", **wrong).status_code == 422


def content_of(person: Browserless, path: str) -> str:
    return person.client.get(path).content.decode("utf-8-sig")
