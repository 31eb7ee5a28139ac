"""One bad document, shop or account never stops the others, on the real parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from redis import Redis

from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.pipelines import SALE
from tests.support.artifacts import latest_artifact, rows_of
from tests.support.documents import SHOPS
from tests.support.system import System

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("deployed"),
    pytest.mark.settings(
        sync={
            "task_retries": 0,
            "attempt_delay": 0.05,
            "max_attempts": 4,
            "orchestrate_seconds": 0,
        },
        breaker={
            "cooldown": 0.3,
            "cooldown_max": 0.6,
            "account_cooldown": 0.3,
            "account_cooldown_max": 0.3,
            "one_shop_seconds": 0,
            "ramp": 0,
        },
    ),
]
YESTERDAY = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)


async def look(system: System) -> int:
    """One look of `orchestrate`, and a worker that runs what it dispatches; returns the batches."""
    await orchestrate(return_state=True)
    claims = system.source.claims.held(SALE)
    for claim in claims:
        # A task a document, which costs the server less than a run.
        await sale(claim_token=claim.token, granularity="task", return_state=True)
    return len(claims)


async def look_until(system: System, done: Callable[[], object], looks: int = 40) -> None:
    for _ in range(looks):
        await look(system)
        if done():
            return
    raise AssertionError(f"after {looks} looks: {statuses(system)}")


def statuses(system: System) -> dict[str, Any]:
    return {
        code: (status, system.document("sale", code).message)
        for code, status in system.statuses("sale").items()
    }


def ended(system: System, prefix: str, status: str = "SYNC_SUCCESS") -> bool:
    found = [s for code, s in system.statuses("sale").items() if code.startswith(prefix)]
    return bool(found) and set(found) == {status}


def fail(system: System, code: str, effect: str = "status", **fault: Any) -> None:
    system.admin.add_fault(effect, operation="create", match={"code": code}, **fault)


async def test_one_document_that_fails_does_not_hold_up_those_that_come_after_it(
    system: System,
) -> None:
    system.add("sale", "HD-POISON", sale_date=YESTERDAY)
    fail(system, "HD-POISON", status=500)
    await look_until(system, lambda: len(calls(system, "HD-POISON")) >= 2)
    for number in range(5):
        system.add("sale", f"GOOD-{number}", shop=["SHOP02", "SHOP03"][number % 2])
    await look(system)
    assert ended(system, "GOOD"), statuses(system)
    await look_until(system, lambda: ended(system, "HD-POISON", "SYNC_FAILED"))
    assert len(calls(system, "HD-POISON")) == 4
    assert "đã thôi sau 4 lần gửi" in (system.document("sale", "HD-POISON").message or "")


def calls(system: System, code: str) -> list[dict[str, Any]]:
    return [c for c in system.admin.calls() if c["code"] == code and c["operation"] == "create"]


async def test_many_bad_documents_let_others_pass_after_a_cool_down(system: System) -> None:
    fail(system, "BAD-*", status=500)
    for number in range(8):
        shop = ["SHOP01", "SHOP02"][number % 2]
        system.add("sale", f"BAD-{number}", shop=shop, sale_date=YESTERDAY)
    await look(system)
    for number in range(3):
        system.add("sale", f"GOOD-{number}", shop=f"SHOP0{number + 1}")
    await look_until(system, lambda: ended(system, "GOOD"))
    await look_until(system, lambda: ended(system, "GOOD") and len(calls(system, "BAD-0")) >= 2)


@pytest.mark.settings(sync={"max_attempts": 9}, breaker={"cooldown": 600, "cooldown_max": 600})
async def test_an_outage_opens_the_breaker_costs_nothing_and_names_documents_and_shops(
    system: System,
) -> None:
    fail(system, "HD-*", status=503)
    for number in range(6):
        system.add("sale", f"HD-{number}", shop=f"SHOP0{number % 3 + 1}")
    await look(system)
    before = len(system.admin.calls())
    assert await look(system) == 0
    assert len(system.admin.calls()) == before, "nothing is sent while it is open"
    rows = rows_of(await latest_artifact("orchestrate-summary"))
    (row,) = [row for row in rows if row["pipeline"] == "sale"]
    assert "documents of" in row["note"]
    assert "HD-" in row["note"]
    assert "SHOP0" in row["note"]
    assert Counter(system.document("sale", f"HD-{n}").attempts for n in range(6))[0] >= 2


FIREWALL = {"effect": "html", "status": 403, "text": "Request blocked by security policy"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FIREWALL, "security policy"),
        ({"effect": "status", "status": 403, "body": {"code": 403, "mess": "no"}}, "403"),
        ({"effect": "status", "status": 401, "body": {"code": 401, "mess": "no"}}, "401"),
    ],
)
async def test_one_forbidden_document_is_refused_while_others_of_the_account_pass(
    system: System, fault: dict[str, Any], words: str
) -> None:
    system.add("sale", "HD-FORBIDDEN", shop="SHOP02", sale_date=YESTERDAY)
    fail(system, "HD-FORBIDDEN", **fault)
    for number in range(6):
        system.add("sale", f"GOOD-{number}", shop="SHOP02")
    await look(system)
    assert ended(system, "GOOD"), statuses(system)
    system.add("sale", "GOOD-LATER", shop="SHOP02")
    await look_until(system, lambda: ended(system, "HD-FORBIDDEN", "SYNC_FAILED"))
    message = system.document("sale", "HD-FORBIDDEN").message or ""
    assert words in message
    assert ended(system, "GOOD")


async def test_a_document_whose_tokens_get_lost_is_not_refused_for_it(system: System) -> None:
    system.add("sale", "HD-UNLUCKY", shop="SHOP02", sale_date=YESTERDAY)
    # A failure is two or three refused calls: perhaps a stale token, a new one, and a repetition
    # after a pause. So this is two or three failures, and the document has four attempts.
    fail(system, "HD-UNLUCKY", status=401, body={"code": 401, "mess": "no"}, times=6)
    for number in range(12):
        system.add("sale", f"GOOD-{number}", shop="SHOP02")
        await look(system)
        if ended(system, "HD-UNLUCKY"):
            break
    assert ended(system, "HD-UNLUCKY"), statuses(system)
    assert ended(system, "GOOD"), statuses(system)


async def test_an_account_that_may_send_nothing_opens_its_breaker_and_costs_nothing_then(
    system: System,
) -> None:
    fault = system.admin.add_fault(
        "status", operation="create", match={"usr": SHOPS["SHOP02"].usr}, status=403, body={}
    )
    for number in range(6):
        system.add("sale", f"HD-{number}", shop="SHOP02")
        system.add("sale", f"GOOD-{number}", shop="SHOP01")
    await look(system)
    assert ended(system, "GOOD")
    for _ in range(5):  # more than a document has attempts
        await look(system)
    assert "SYNC_FAILED" not in system.statuses("sale").values(), statuses(system)
    system.admin.clear_faults(fault)
    await look_until(system, lambda: ended(system, "HD"))


@pytest.mark.settings(api={"read_timeout": 0.3})
@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "accept_then_hang", "seconds": 5},
        {"effect": "reset"},
        {"effect": "html", "status": 200},
        {"effect": "not_json"},
        {"effect": "status", "status": 404, "body": "<html>not here</html>"},
        {"effect": "status", "status": 302, "body": {}},
        {"effect": "status", "status": 503, "retry_after": 3600, "body": {}},
    ],
)
async def test_whatever_the_api_does_to_one_document_the_others_pass(
    system: System, fault: dict[str, Any]
) -> None:
    system.add("sale", "HD-ODD", sale_date=YESTERDAY)
    fail(system, "HD-ODD", **fault)
    for _ in range(4):  # as many as it has attempts
        await look(system)
    for number in range(3):
        system.add("sale", f"GOOD-{number}", shop=f"SHOP0{number + 1}")
    await look(system)
    assert ended(system, "GOOD"), statuses(system)


async def test_one_shop_that_gets_errors_does_not_hold_up_the_others(system: System) -> None:
    system.admin.add_fault(
        "status", operation="create", match={"usr": SHOPS["SHOP02"].usr}, status=500, body={}
    )
    for number in range(9):
        system.add("sale", f"HD-{number}", shop="SHOP02", sale_date=YESTERDAY)
        system.add("sale", f"GOOD-{number}", shop=["SHOP01", "SHOP03"][number % 2])
    await look_until(system, lambda: ended(system, "GOOD"), looks=10)


# Wrong passwords

WRONG = [f"WRONG{number:02}" for number in range(10)]


@pytest.fixture
def wrong_passwords(system: System) -> None:
    """Ten shops of which the API refuses the login, each with a document."""
    rows = [
        {
            "shop_pharmacy_code": shop,
            "pharmacy_code": SHOPS["SHOP01"].ma_co_so,
            "account": f"user-{shop}",
            "password": "wrong",
            "shop_name": shop,
            "address": "-",
            "phone_number": "-",
            "status": 1,
        }
        for shop in WRONG
    ]
    with system.engine.begin() as connection:
        connection.execute(system.tables.accounts.insert(), rows)
    for shop in WRONG:
        system.add("sale", f"HD-{shop}", shop=shop, pharmacy_code=SHOPS["SHOP01"].ma_co_so)


def refused_logins(system: System) -> Counter[str]:
    return Counter(
        call["usr"]
        for call in system.admin.calls()
        if call["operation"] == "login" and call["status"] != 200
    )


@pytest.mark.usefixtures("wrong_passwords")
@pytest.mark.settings(breaker={"login_probes": 2})
async def test_refused_accounts_are_probed_in_turn_by_logins_that_hold_up_nothing(
    system: System,
) -> None:
    assert await look(system) == 1
    assert set(refused_logins(system).values()) == {1}
    deadline, numbers = time.monotonic() + 60, count()
    # A cool-down may be longer than a look.
    while min(refused_logins(system).values()) < 2:
        assert time.monotonic() < deadline, f"not each had its turn: {refused_logins(system)}"
        system.add("sale", f"GOOD-{next(numbers)}", shop="SHOP01")
        before = refused_logins(system).total()
        assert await look(system) == 1, "no process per shop"
        assert refused_logins(system).total() - before <= 2
        assert ended(system, "GOOD")
    assert len(refused_logins(system)) == len(WRONG)
    assert ended(system, "HD", "PENDING_SYNC")
    assert {system.document("sale", f"HD-{shop}").attempts for shop in WRONG} == {0}


@pytest.mark.usefixtures("wrong_passwords")
async def test_a_login_that_is_accepted_again_closes_the_breaker(system: System) -> None:
    await look(system)
    for shop in WRONG:
        system.admin.add_account(f"user-{shop}", "wrong", SHOPS["SHOP01"].ma_co_so)
    await look_until(system, lambda: ended(system, "HD"))


# Garbage


async def test_garbage_in_redis_stops_nothing(system: System) -> None:
    system.add("sale", "HD-1")
    await look(system)
    with Redis.from_url(system.environment["DQG_REDIS__URL"]) as redis:
        for key in redis.scan_iter():
            redis.delete(key)
            redis.set(key, b"line\r\nfeed \xff", ex=3600)
        redis.set("dqg:breaker:pipeline:sale", b"\xff{", ex=3600)
    system.add("sale", "HD-2")
    await look(system)
    assert ended(system, "HD"), statuses(system)
