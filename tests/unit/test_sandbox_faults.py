"""The sandbox's faults, in process."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from tests.support.sandbox_examples import receipt, sale
from tests.unit.sandbox_kit import HOASEN, MINHTAM, Caller

pytestmark = pytest.mark.anyio


async def statuses_of(caller: Caller, count: int) -> list[int]:
    return [(await caller.post("hoa_don", sale(f"S-{n}"))).status_code for n in range(count)]


async def test_status_fault_answers_instead_and_stores_nothing() -> None:
    async with Caller() as caller:
        fault = await caller.fault("status", status=503, retry_after=7)
        response = await caller.post("hoa_don", sale("A"))
        counters = caller.counters("hoa_don", "A")

        assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
        assert response.json()["code"] == 503
        assert (counters["posts"], counters["accepted"]) == (1, 0)
        assert caller.sandbox.summary()["faults_fired"] == {fault: 1}


async def test_status_fault_after_storing_hides_an_acceptance() -> None:
    async with Caller() as caller:
        await caller.fault("status", status=502, after_store=True)
        response = await caller.post("hoa_don", sale("A"))

        assert response.status_code == 502
        assert caller.counters("hoa_don", "A")["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "text"), [("bảo trì", "bảo trì"), ({"detail": "x"}, '{"detail":"x"}')]
)
async def test_status_fault_may_bring_its_own_body(body: Any, text: str) -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, body=body)

        assert (await caller.post("hoa_don", sale())).text == text


async def test_body200_fault_is_an_error_under_http_200() -> None:
    async with Caller() as caller:
        await caller.fault("body200", code="500", text="Lỗi")
        response = await caller.post("hoa_don", sale("A"))

        assert response.status_code == 200
        assert response.json() == {"code": "500", "mess": "Lỗi"}
        assert caller.counters("hoa_don", "A")["accepted"] == 0


@pytest.mark.parametrize("after_store", [False, True])
@pytest.mark.parametrize("effect", ["html", "empty", "not_json"])
async def test_unreadable_answers(effect: str, after_store: bool) -> None:
    async with Caller() as caller:
        await caller.fault(effect, after_store=after_store)
        response = await caller.post("hoa_don", sale("A"))

        assert response.status_code == 200
        with pytest.raises(ValueError, match=r"\w"):
            response.json()
        assert response.text.startswith({"html": "<!DOCTYPE", "empty": "", "not_json": "{"}[effect])
        assert caller.counters("hoa_don", "A")["accepted"] == int(after_store)


async def test_unreadable_answer_may_have_another_status() -> None:
    async with Caller() as caller:
        await caller.fault("html", status=502)

        assert (await caller.post("hoa_don", sale())).status_code == 502


async def test_unauthorized_fault_is_401_and_leaves_the_token_valid() -> None:
    async with Caller() as caller:
        await caller.fault("unauthorized", times=1)

        assert await statuses_of(caller, 2) == [401, 200]


@pytest.mark.parametrize("after_store", [False, True])
async def test_reset_looks_like_a_lost_connection(after_store: bool) -> None:
    async with Caller() as caller:
        await caller.fault("reset", after_store=after_store)
        with pytest.raises(httpx.ReadError):
            await caller.post("hoa_don", sale("A"))

        assert caller.counters("hoa_don", "A")["accepted"] == int(after_store)
        assert caller.sandbox.summary()["statuses"] == {"none": 1}


async def test_accept_then_hang_stores_and_never_answers() -> None:
    async with Caller() as caller:
        await caller.fault("accept_then_hang")
        with pytest.raises(httpx.ReadTimeout):
            await caller.post("hoa_don", sale("A"), timeout=0.05)

        assert caller.counters("hoa_don", "A")["accepted"] == 1
        assert caller.sandbox.calls.in_flight == 0


async def test_accept_then_hang_hangs_up_in_the_end() -> None:
    async with Caller() as caller:
        await caller.fault("accept_then_hang", seconds=0.01)

        with pytest.raises(httpx.ReadError):
            await caller.post("hoa_don", sale("A"))


async def test_call_under_way_is_already_in_the_log() -> None:
    async with Caller() as caller, anyio.create_task_group() as group:
        await caller.fault("accept_then_hang")
        group.start_soon(caller.post, "hoa_don", sale("A"))
        with anyio.fail_after(10):
            while not (caller.sandbox.calls.in_flight and caller.sandbox.summary()["documents"]):
                await anyio.lowlevel.checkpoint()
        (call,) = caller.sandbox.calls.since(0)

        assert (call.code, call.done, call.status) == ("A", False, None)
        group.cancel_scope.cancel()


async def test_latency_delays_and_lets_the_call_through() -> None:
    async with Caller() as caller:
        await caller.fault("latency", ms=60_000)
        with pytest.raises(httpx.ReadTimeout):
            await caller.post("hoa_don", sale("A"), timeout=0.02)
        await caller.admin("DELETE", "/faults")
        await caller.fault("latency", ms=1)

        assert await statuses_of(caller, 1) == [200]


async def test_latency_adds_to_another_fault() -> None:
    async with Caller() as caller:
        slow = await caller.fault("latency", ms=1)
        broken = await caller.fault("status", status=500)
        await statuses_of(caller, 1)
        (call,) = caller.sandbox.calls.since(0)

        assert (call.status, call.faults) == (500, (slow, broken))


async def test_first_matching_fault_wins_and_the_next_is_not_used_up() -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, times=1)
        await caller.fault("status", status=503, times=1)

        assert await statuses_of(caller, 3) == [500, 503, 200]


async def test_faults_are_spread_over_calls_by_what_they_let_pass() -> None:
    async with Caller() as caller:
        for skip in range(3):
            await caller.fault("unauthorized", times=1, skip=skip)

        assert await statuses_of(caller, 6) == [401, 200, 401, 200, 401, 200]


@pytest.mark.parametrize(
    "match",
    [
        {"operation": "create"},
        {"resource": "hoa_don"},
        {"ma_co_so": HOASEN.ma_co_so},
        {"usr": HOASEN.usr},
        {"code": "HIT-*"},
        {"operation": "create", "resource": "hoa_don", "code": "HIT-[0-9]"},
    ],
)
async def test_fault_meets_calls_that_agree_with_every_condition(match: dict[str, str]) -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, match=match)

        assert (await caller.post("hoa_don", sale("HIT-1"))).status_code == 500


@pytest.mark.parametrize(
    "match",
    [
        {"operation": "delete"},
        {"resource": "phieu_nhap"},
        {"ma_co_so": MINHTAM.ma_co_so},
        {"usr": MINHTAM.usr},
        {"code": "MISS-*"},
        {"operation": "create", "resource": "hoa_don", "code": "hit-1"},
    ],
)
async def test_fault_spares_calls_that_differ_in_one_condition(match: dict[str, str]) -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, match=match)

        assert (await caller.post("hoa_don", sale("HIT-1"))).status_code == 200


@pytest.mark.parametrize("operation", ["login", "create", "update", "lookup", "delete"])
async def test_each_operation_can_be_met_alone(operation: str) -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, match={"operation": operation})
        answers = {
            "login": await caller.log_in(),
            "create": await caller.post("phieu_nhap", receipt("A")),
            "update": await caller.put("phieu_nhap", receipt("A")),
            "lookup": await caller.get("phieu_nhap", "A"),
            "delete": await caller.delete("phieu_nhap", "A"),
        }

    assert {name for name, answer in answers.items() if answer.status_code == 500} == {operation}


async def test_login_can_be_met_by_its_facility() -> None:
    async with Caller() as caller:
        match = {"operation": "login", "ma_co_so": MINHTAM.ma_co_so}
        await caller.fault("status", status=500, match=match)

        assert (await caller.log_in()).status_code == 200
        assert (await caller.log_in(MINHTAM.usr, MINHTAM.pwd)).status_code == 500


async def test_probability_is_repeatable_and_between_the_extremes() -> None:
    async def run(seed: int) -> list[int]:
        async with Caller(seed=seed) as caller:
            await caller.fault("status", status=500, probability=0.5)
            return await statuses_of(caller, 40)

    first = await run(1)
    assert first == await run(1)
    assert first != await run(2)
    assert set(first) == {200, 500}


async def test_probability_zero_never_fires() -> None:
    async with Caller() as caller:
        await caller.fault("status", status=500, probability=0)

        assert set(await statuses_of(caller, 20)) == {200}


async def test_named_fault_can_be_replaced_and_removed_alone() -> None:
    async with Caller() as caller:
        await caller.fault("status", id="mine", status=500)
        await caller.fault("status", id="mine", status=503)
        other = await caller.fault("status", status=504)
        assert await statuses_of(caller, 1) == [503]

        await caller.admin("DELETE", "/faults/mine")
        assert await statuses_of(caller, 1) == [504]
        listed = (await caller.admin("GET", "/faults")).json()
        assert [(rule["id"], rule["fired"]) for rule in listed] == [(other, 1)]
        assert (await caller.admin("DELETE", "/faults/mine")).status_code == 404


async def test_counts_of_faults_outlive_them() -> None:
    async with Caller() as caller:
        await caller.fault("status", id="mine", status=500)
        await statuses_of(caller, 2)
        await caller.admin("DELETE", "/faults")

        assert await statuses_of(caller, 1) == [200]
        assert caller.sandbox.summary()["faults_fired"] == {"mine": 2}


@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "explode"},
        {"effect": "status"},
        {"effect": "latency"},
        {"effect": "status", "status": 500, "match": {"operation": "guess"}},
        {"effect": "status", "status": 500, "match": {"codes": "x"}},
        {"effect": "status", "status": 500, "probability": 2},
        {"effect": "status", "status": 500, "times": 0},
        {"effect": "unauthorized", "after_store": True},
    ],
)
async def test_incomplete_fault_is_refused(fault: dict[str, Any]) -> None:
    async with Caller() as caller:
        response = await caller.admin("POST", "/faults", json=fault)

        assert response.status_code == 422
        assert list(caller.sandbox.faults) == []
