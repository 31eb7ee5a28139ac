"""`dqg status`, `pause` and `resume` on the real parts, also while some of them are away."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import text

from lib.pipelines import SALE
from tests.support.cli import dqg, dqg_json
from tests.support.documents import SHOPS
from tests.support.system import System

NOWHERE = "127.0.0.1:9"


def test_documents_are_counted_by_pipeline_and_shop(system: System) -> None:
    for number in range(3):
        system.add("sale", f"P-{number}")
    system.add("sale", "GOOD", status="SYNC_SUCCESS")
    system.add("sale", "BAD", status="SYNC_FAILED")
    system.add("sale", "OTHER", shop="SHOP02")
    system.add("import", "PN", shop="SHOP02")
    system.change("sale", "P-2", unconfirmed=True)
    system.source.claims.claim(
        SALE, token=str(uuid4()), limit=1, lease=timedelta(seconds=60), only_shops=["SHOP01"]
    )
    shops = {(s["pipeline"], s["shop"]): s for s in dqg_json("status", status=1)["shops"]}
    assert set(shops) == {("sale", "SHOP01"), ("sale", "SHOP02"), ("import", "SHOP02")}
    found = shops["sale", "SHOP01"]
    names = ("pending", "in_flight", "unconfirmed", "succeeded", "failed")
    assert [found[name] for name in names] == [2, 1, 1, 1, 1]
    assert found["oldest_pending_seconds"] >= 0


def test_shops_without_news_are_not_shown(system: System) -> None:
    system.add("sale", "OLD", status="SYNC_SUCCESS")
    system.change("sale", "OLD", updated_at=system.document("sale", "OLD").created_at.replace(2020))
    assert dqg_json("status", status=1)["shops"] == []


@pytest.mark.usefixtures("deployed")
def test_workers_are_counted_and_a_pool_without_one_is_named(system: System) -> None:
    found = dqg_json("status", status=1)
    assert found["pools"]["sale"]["workers"] == 1
    assert found["findings"] == ["pool scheduler: no worker is online"]
    assert found["away"] == {}


@pytest.mark.usefixtures("deployed")
def test_statuses_of_other_software_are_counted_with_the_update_that_sends_them(
    system: System,
) -> None:
    system.add("sale", "HD-1", status="RETRYING")
    system.add("sale", "HD-2", status="RETRYING")
    (found,) = dqg_json("status", status=1)["foreign_statuses"]
    assert (found["pipeline"], found["status"], found["count"]) == ("sale", "RETRYING", 2)
    assert found["statement"] in " ".join(dqg("status", status=1).split())
    with system.engine.begin() as connection:
        connection.execute(text(found["statement"]))
    assert dqg_json("status", status=1)["foreign_statuses"] == []
    assert set(system.statuses("sale").values()) == {"PENDING_SYNC"}


@pytest.mark.usefixtures("deployed")
def test_a_person_sees_the_same_as_tables(system: System) -> None:
    system.add("sale", "HD-1")
    shown = dqg("status", status=1)
    assert "SHOP01" in shown
    assert "no worker is online" in shown


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("DQG_MONGO__URL", f"mongodb://{NOWHERE}", "MongoDB"),
        ("DQG_REDIS__URL", f"redis://{NOWHERE}", "Redis"),
    ],
)
def test_a_store_that_is_away_is_named_and_the_rest_is_shown(
    system: System, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, part: str
) -> None:
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_MONGO__TIMEOUT", "0.5")
    monkeypatch.setenv(variable, value)
    found = dqg_json("status", status=1)
    assert list(found["away"]) == [part]
    assert found["shops"][0]["pending"] == 1
    assert part in dqg("status", status=1)


@pytest.mark.parametrize("url", [f"http://{NOWHERE}/api", None])
def test_prefect_away_is_named_and_the_rest_is_shown(system: System, url: str | None) -> None:
    system.add("sale", "HD-1")
    with temporary_settings({PREFECT_API_URL: url}):
        found = dqg_json("status", status=1)
    assert list(found["away"]) == ["Prefect"]
    assert (found["pools"], found["shops"][0]["pending"]) == (None, 1)


def test_without_the_source_database_there_is_nothing_to_show(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_SOURCE__URL", f"postgresql+psycopg://nobody@{NOWHERE}/nothing")
    assert "source database" in dqg("status", status=1)
    assert "source database" in dqg_json("status", status=1)["error"]


def test_wrong_settings_are_named(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_SYNC__BATCH_SIZE", "none")
    assert "DQG_SYNC__BATCH_SIZE" in dqg("status", status=1)


def test_wrong_usage_is_told_from_trouble() -> None:
    dqg("status", "--watch", "--json", status=2)
    dqg("pause", "pipeline", "nothing", "--why", "x", status=2)
    dqg("pause", "pipeline", "sale", status=2)
    dqg("pause", "pipeline", "sale", "--why", " ", status=2)


def test_a_pipeline_is_paused_with_its_reason_and_resumed(system: System) -> None:
    shown = dqg("pause", "pipeline", "sale", "--why", "portal maintenance", "--by", "lan")
    assert shown == "sale: stopped by hand by lan because: portal maintenance\n"
    held = dqg_json("status", status=1)["pipeline_breakers"]
    assert (held["sale"]["state"], held["import"]["state"]) == ("forced_open", "closed")
    assert held["sale"]["reason"] == "lan: portal maintenance"
    words = ("resume", "pipeline", "sale", "--why", "it is over", "--by", "hoa")
    assert dqg_json(*words) == {"pipeline:sale": "closed"}
    entries = system.mongo.audit.find({}, sort=[("created_at", 1)])
    assert [(row["action"], row["by"], row["why"]) for row in entries] == [
        ("paused", "lan", "portal maintenance"),
        ("resumed", "hoa", "it is over"),
    ]


def test_a_shop_is_paused_without_the_others_and_resumed(system: System) -> None:
    dqg("pause", "shop", "SHOP01", "--why", "stocktaking")
    held = dqg_json("status", status=1)["shop_breakers"]
    assert (held["SHOP01"]["state"], held["SHOP02"]["state"]) == ("forced_open", "closed")
    assert dqg("resume", "shop", "SHOP01") == "SHOP01: good\n"
    assert dqg_json("status", status=1)["shop_breakers"]["SHOP01"]["state"] == "closed"


@pytest.mark.parametrize("spelled", ["shop01", "SHOP01 "])
def test_a_shop_is_paused_and_counted_in_every_spelling(system: System, spelled: str) -> None:
    pharmacy = SHOPS["SHOP01"].ma_co_so
    for number, shop in enumerate(["shop01", "SHOP01", "SHOP01 "]):
        system.add("sale", f"HD-{number}", shop=shop, pharmacy_code=pharmacy)
    system.add("import", "PN-1", shop="Shop01", pharmacy_code=pharmacy)

    dqg("pause", "shop", spelled, "--why", "stocktaking")

    found = dqg_json("status", status=1)
    assert {name for name in found["shop_breakers"] if name.upper().startswith("SHOP01")} == {
        "SHOP01"
    }
    assert found["shop_breakers"]["SHOP01"]["state"] == "forced_open"
    shops = {(s["pipeline"], s["shop"]): s["pending"] for s in found["shops"]}
    assert shops == {("sale", "SHOP01"): 3, ("import", "SHOP01"): 1}
    dqg("resume", "shop", "Shop01")
    assert dqg_json("status", status=1)["shop_breakers"]["SHOP01"]["state"] == "closed"


def test_a_shop_that_is_not_there_cannot_be_paused(system: System) -> None:
    assert "SHOP99" in dqg("pause", "shop", "SHOP99", "--why", "x", status=1)


def test_nothing_is_paused_while_redis_is_away(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_REDIS__URL", f"redis://{NOWHERE}")
    assert "Redis" in dqg("pause", "pipeline", "sale", "--why", "x", status=1)
