"""Passwords, tokens and names of persons are planted; afterwards every place of record is searched.

Each planted value holds a marker of its own in plain ASCII, so that it is found whatever an
encoding or an abbreviation makes of the rest.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from logging.config import DictConfigurator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from prefect.logging.configuration import load_logging_config
from prefect.settings import PREFECT_HOME
from psycopg import sql
from sqlalchemy import select

from deployments.local.parts.postgres import PostgresServer
from deployments.local.parts.servers import PREFECT_DATABASE
from deployments.local.supervisor.stack import ROOT, Stack
from flows.orchestrate import orchestrate
from flows.pipelines import sale
from flows.reconcile import reconcile
from lib.pipelines import SALE
from lib.platforms.dqg import adapter
from tests.support.documents import SHOPS
from tests.support.system import System
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]

BUYER, SELLER = "qxbuyer", "qxseller"
NAMES = {"customer_name": f"Nguyễn Thị {BUYER}", "seller_name": f"DS. Trần {SELLER}"}
PASSWORD = "qxpassword"
WRONG_PASSWORD = "qxwrongpassword"
ECHO = {
    "code": 400,
    "mess": f"Khách {NAMES['customer_name']} không hợp lệ",
    "data": {"ho_ten_khach_hang": NAMES["customer_name"], "ho_ten_nguoi_ban": NAMES["seller_name"]},
}


def plant(system: System) -> None:
    """One document for every way to fail, each with the names of a buyer and a seller."""
    for shop, account in SHOPS.items():
        password = f"{PASSWORD}-{shop}"
        system.set_password(shop, password)
        system.admin.set_password(account.usr, password)
    system.set_password("SHOP02", WRONG_PASSWORD)
    for name in (
        *("GOOD", "REFUSED", "REFUSED-200", "REFUSED-PAGE", "OUTAGE", "SILENT", "PAGE"),
        *("BUG-BUILD", "BUG-PARSE"),
    ):
        system.add("sale", name, **NAMES)
    system.add("sale", "NO-ACCOUNT", shop="SHOP02", **NAMES)
    system.add("sale", "INVALID", line={"lot_number": " "}, **NAMES)
    system.add("sale", "INVALID-NAME", **(NAMES | {"customer_name": f"{BUYER}\x07"}))


def make_trouble(system: System) -> None:
    """The API repeats what it was sent, in every kind of answer."""

    def fault(effect: str, code: str, **fields: Any) -> None:
        system.admin.add_fault(effect, operation="create", match={"code": code}, **fields)

    page = f"<html><body><p>{ECHO['mess']}</p></body></html>"
    fault("status", "REFUSED", status=400, body=ECHO)
    fault("status", "REFUSED-200", status=200, body=ECHO | {"code": "417"})
    fault("status", "REFUSED-PAGE", status=400, body=page)
    fault("status", "OUTAGE", status=503, body=ECHO | {"code": 503})
    fault("accept_then_hang", "SILENT", seconds=30)
    fault("status", "PAGE", status=200, body=page)
    system.admin.add_fault(
        "status",
        operation="login",
        usr=SHOPS["SHOP02"].usr,
        status=400,
        body={"code": 400, "mess": f"{SHOPS['SHOP02'].usr}: {WRONG_PASSWORD} is wrong"},
    )


def break_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defects whose errors quote what they were working on, as foreign errors do."""
    module: Any = adapter
    build, parse = module.build_payload, module.parse_submit

    def broken_build(document: Any, *arguments: Any, **names: Any) -> Any:
        if document.ref.local_id == "BUG-BUILD":
            raise ValueError(f"cannot work on {dict(document.header)}")
        return build(document, *arguments, **names)

    def broken_parse(*arguments: Any, **names: Any) -> Any:
        if "BUG-PARSE" in arguments:
            raise KeyError(f"{names} {ECHO}")
        return parse(*arguments, **names)

    monkeypatch.setattr(adapter, "build_payload", broken_build)
    monkeypatch.setattr(adapter, "parse_submit", broken_parse)


async def run_everything(granularity: str, system: System) -> str:
    """Every flow once; returns the id of the last run."""
    claim = system.source.claims.claim(
        SALE, token=str(uuid4()), limit=100, lease=timedelta(seconds=60)
    )
    assert len(claim.documents) == 12
    await sale(claim_token=claim.token, granularity=granularity, return_state=True)
    await sale(local_invoice_id="INVALID", granularity=granularity, return_state=True)
    await reconcile(return_state=True)
    last = await orchestrate(return_state=True)
    return str(last.state_details.flow_run_id)


# ---------------------------------------------------------------- places


def prefect_database(postgres: PostgresServer) -> dict[str, str]:
    """Everything in Prefect's database, by table."""
    url = postgres.url(PREFECT_DATABASE).replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return {
            f"Prefect's table {name}": "\n".join(
                str(row[0])
                for row in connection.execute(
                    sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name))
                )
            )
            for (name,) in names
        }


def files_below(*folders: Path) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes().decode("utf-8", "replace")


def redis_content(url: str) -> dict[str, str]:
    """Keys with their values."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        }
        return {key: str(read[client.type(key)](key)) for key in client.scan_iter()}


def mongo_content(system: System) -> dict[str, str]:
    """Every collection, with the payloads of failures apart from the rest of them."""
    content = {
        name: list(system.mongo[name].find()) for name in system.mongo.list_collection_names()
    }
    content["payloads"] = [failure.pop("payload") for failure in content["sync_failures"]]
    return {name: str(rows) for name, rows in content.items()}


def messages_in_source(system: System) -> str:
    query = select(system.tables.header(SALE).c.sync_response_message)
    with system.engine.connect() as connection:
        return "\n".join(str(row[0]) for row in connection.execute(query))


def found(places: Mapping[str, str], *planted: str) -> list[str]:
    """Which planted value stands where."""
    return [
        f"{value} in {place}"
        for place, content in places.items()
        for value in planted
        if value.casefold() in content.casefold() or value.encode().hex() in content
    ]


@pytest.fixture
def json_log() -> Iterator[io.StringIO]:
    """What a worker would ship of everything that is logged."""
    stream = io.StringIO()
    formatter = load_logging_config(ROOT / "deployments/containers/logging/json.yml")["formatters"]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(DictConfigurator({}).configure_formatter(formatter["json"]))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def wait_for_records(postgres: PostgresServer, last_run: str) -> None:
    """Prefect sends logs and task states in the background, in order: the last run's come last."""
    logs = "SELECT 1 FROM log WHERE flow_run_id = %s AND message LIKE 'Finished in state%%'"
    tasks = "SELECT 1 FROM task_run WHERE flow_run_id = %s AND end_time NOTNULL"
    url = postgres.url(PREFECT_DATABASE).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        for what, query in {"logs": logs, "task runs": tasks}.items():
            wait_until(
                lambda query=query: connection.execute(query, [last_run]).fetchall(),
                f"Prefect has the {what} of the last run",
            )


@pytest.mark.settings(api={"read_timeout": 0.5}, sync={"task_retries": 1})
@pytest.mark.parametrize(
    ("granularity", "masked"),
    [
        pytest.param(
            *("flow", False),
            marks=pytest.mark.settings(mongo={"mask_personal_names": False}),
            id="flow",
        ),
        pytest.param("task", True, id="task"),
    ],
)
async def test_nothing_planted_is_found_where_it_does_not_belong(
    system: System,
    granularity: str,
    masked: bool,
    postgres: PostgresServer,
    stack: Stack,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    json_log: io.StringIO,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("DQG_METRICS__DIR", str(tmp_path))
    plant(system)
    make_trouble(system)
    break_code(monkeypatch)
    wait_for_records(postgres, await run_everything(granularity, system))

    prefect = prefect_database(postgres)
    output = capfd.readouterr()
    logs = files_below(stack.log_dir, stack.state_dir / "prefect-server", PREFECT_HOME.value())
    shared = redis_content(redis_url)
    tokens = [shared.pop(key) for key in list(shared) if key.startswith("dqg:token:")]
    mongo = mongo_content(system)
    payloads = {"payloads": mongo.pop("payloads")}
    places = prefect | dict(logs) | shared | mongo
    places |= {"logging": caplog.text, "output": output.out, "errors": output.err}
    places |= dict(files_below(tmp_path)) | {"JSON log": json_log.getvalue()}
    places |= {"Redis keys": " ".join(shared), "messages": messages_in_source(system)}

    # What is searched is what was meant: every kind of failure has left its traces there.
    statuses = system.statuses("sale")
    assert statuses.pop("GOOD") == "SYNC_SUCCESS"
    assert len(statuses) == 11
    assert "SYNC_SUCCESS" not in statuses.values(), statuses
    for place in ("Prefect's table log", "Prefect's table events", "task_logs", "logging"):
        assert found({place: places[place]}, "BUG-BUILD" if place != "logging" else "ValueError")
    assert any("dqg_documents_total" in places[p] for p in places if p.startswith(str(tmp_path)))
    assert '"local_id": "BUG-BUILD"' in places["JSON log"]
    assert tokens
    assert masked != bool(found(payloads, BUYER, SELLER))

    secrets = [PASSWORD, WRONG_PASSWORD, *tokens]
    secrets += [postgres.password, urlsplit(redis_url).password or ""]
    assert found(places | payloads, *secrets) == []
    assert found(places, BUYER, SELLER) == []
