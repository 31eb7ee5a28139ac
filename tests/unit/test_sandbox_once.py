"""The sandbox's counters: how a test can prove that a document was accepted once."""

from __future__ import annotations

import anyio
import pytest

from tests.support.sandbox_examples import sale, slip
from tests.unit.sandbox_kit import HOASEN, Caller

pytestmark = pytest.mark.anyio


async def post_at_once(caller: Caller, times: int) -> list[int]:
    statuses: list[int] = []

    async def post() -> None:
        statuses.append((await caller.post("hoa_don", sale("A"))).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(post)
    return statuses


@pytest.mark.parametrize("latency_ms", [0, 1])
async def test_fifty_posts_at_once_are_accepted_once(latency_ms: int) -> None:
    async with Caller(latency_ms=latency_ms) as caller:
        statuses = await post_at_once(caller, 50)
        counters = caller.counters("hoa_don", "A")
        summary = caller.sandbox.summary()

    assert sorted(statuses) == [200] + [409] * 49
    assert (counters["accepted"], counters["posts"], counters["duplicates"]) == (1, 50, 49)
    assert (summary["accepted_total"], summary["documents"], summary["posts"]) == (1, 1, 50)
    assert summary["accepted_twice"] == []


async def test_careless_server_shows_that_a_second_acceptance_is_caught() -> None:
    async with Caller(duplicates="accept") as caller:
        await post_at_once(caller, 3)
        counters = caller.counters("hoa_don", "A")
        summary = caller.sandbox.summary()

    assert (counters["accepted"], counters["duplicates"]) == (3, 0)
    assert (summary["accepted_total"], summary["documents"]) == (3, 1)
    assert summary["accepted_twice"] == [
        {"resource": "hoa_don", "ma_co_so": HOASEN.ma_co_so, "code": "A", "accepted": 3}
    ]


async def test_one_resource_may_be_careful_where_others_are_not() -> None:
    async with Caller(duplicates="accept", reject_duplicates_for="hoa_don") as caller:
        answers = [await caller.post("hoa_don", sale("A")) for _ in range(2)]
        slips = [await caller.post("phieu_xuat", slip("A")) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 409]
    assert [answer.status_code for answer in slips] == [200, 200]


async def test_duplicate_is_409_by_default_and_names_the_code() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A"))
        response = await caller.post("hoa_don", sale("A"))

    assert response.status_code == 409
    assert response.json()["code"] == 409
    assert "A đã tồn tại" in response.json()["mess"]


async def test_duplicate_may_be_refused_under_http_200() -> None:
    async with Caller(duplicates="reject200") as caller:
        await caller.post("hoa_don", sale("A"))
        response = await caller.post("hoa_don", sale("A"))

    assert response.status_code == 200
    assert response.json()["code"] == 400
    assert "đã tồn tại" in response.json()["mess"]


async def test_duplicate_may_get_the_same_answer_and_counts_apart() -> None:
    async with Caller(duplicates="same") as caller:
        first = await caller.post("hoa_don", sale("A"))
        second = await caller.post("hoa_don", sale("A"))
        counters = caller.counters("hoa_don", "A")

    assert (second.status_code, second.json()) == (200, first.json())
    assert (counters["accepted"], counters["posts"], counters["duplicates"]) == (1, 2, 1)


async def test_refused_document_is_not_accepted_and_may_come_again() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A", ngay_ban="x"))
        assert (await caller.post("hoa_don", sale("A"))).status_code == 200
        counters = caller.counters("hoa_don", "A")

    assert (counters["accepted"], counters["refused"], counters["duplicates"]) == (1, 1, 0)


async def test_document_may_be_accepted_again_after_its_deletion() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A"))
        await caller.delete("hoa_don", "A")
        deleted = caller.sandbox.summary()["documents"]
        assert (await caller.post("hoa_don", sale("A"))).status_code == 200
        summary = caller.sandbox.summary()

    assert deleted == 0
    assert (summary["accepted_total"], summary["accepted_twice"]) == (2, [])


async def test_acceptances_are_numbered_in_their_order() -> None:
    async with Caller() as caller:
        started = caller.clock.now
        for code in ("C", "A", "B"):
            await caller.post("hoa_don", sale(code))
            caller.clock.advance(1)
        counters = [caller.counters("hoa_don", code) for code in ("C", "A", "B")]

    assert [entry["sequence"] for entry in counters] == [1, 2, 3]
    assert [entry["accepted_at"] for entry in counters] == [started, started + 1, started + 2]


async def test_documents_are_listed_by_kind_and_only_if_accepted() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A"))
        await caller.post("phieu_xuat", slip("B"))
        await caller.post("hoa_don", sale("C", ngay_ban="x"))

        async def codes(**params: str) -> list[str]:
            listed = (await caller.admin("GET", "/documents", params=params)).json()
            return [entry["code"] for entry in listed]

        assert await codes() == ["A", "B"]
        assert await codes(resource="phieu_xuat") == ["B"]
        assert await codes(ma_co_so="other") == []
        assert await codes(code="A") == ["A"]
        assert await codes(refused="true") == ["A", "B", "C"]


async def test_summary_counts_by_resource_and_operation() -> None:
    async with Caller() as caller:
        await caller.log_in()
        await caller.post("hoa_don", sale("A"))
        await caller.post("phieu_xuat", slip("B"))
        await caller.get("hoa_don", "A")
        await caller.delete("hoa_don", "A")
        summary = caller.sandbox.summary()

    assert summary["calls"] == {"login": 1, "create": 2, "lookup": 1, "delete": 1}
    assert summary["statuses"] == {"200": 5}
    assert summary["logins"][HOASEN.usr] == {"ok": 2, "refused": 0}
    assert summary["by_resource"]["hoa_don"]["documents"] == 0
    assert summary["by_resource"]["hoa_don"]["deletes"] == 1
    assert summary["by_resource"]["phieu_xuat"]["accepted"] == 1


async def test_calls_are_logged_in_order_without_secrets() -> None:
    async with Caller() as caller:
        await caller.log_in()
        mark = (await caller.admin("GET", "/calls")).json()["last"]
        caller.clock.advance(5)
        await caller.post("hoa_don", sale("A"))
        await caller.post("hoa_don", sale("A"))
        response = await caller.admin("GET", "/calls", params={"since": mark})
        everything = (await caller.admin("GET", "/calls")).text

    calls = response.json()["calls"]
    assert [(c["operation"], c["code"], c["status"]) for c in calls] == [
        ("create", "A", 200),
        ("create", "A", 409),
    ]
    assert [c["seq"] for c in calls] == [mark + 1, mark + 2]
    assert all(c["usr"] == HOASEN.usr and c["at"] == caller.clock.now for c in calls)
    assert HOASEN.pwd not in everything


async def test_reset_brings_back_the_start() -> None:
    async with Caller(duplicates="same") as caller:
        await caller.post("hoa_don", sale("A"))
        await caller.fault("status", status=503)
        await caller.admin("PUT", "/options", json={"duplicates": "reject", "lookup": "off"})
        await caller.admin("PUT", f"/accounts/{HOASEN.usr}", json={"pwd": "new"})
        await caller.admin("POST", "/reset")
        options = (await caller.admin("GET", "/options")).json()
        summary = (await caller.admin("GET", "/summary")).json()

        assert (options["duplicates"], options["lookup"]) == ("same", "on")
        assert (summary["documents"], summary["posts"], summary["logins"]) == (0, 0, {})
        assert (await caller.post("hoa_don", sale("A"))).status_code == 401
        assert (await caller.log_in()).status_code == 200


async def test_a_snapshot_is_restored_after_a_reset_as_often_as_wanted() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A"))
        await caller.admin("PUT", "/options", json={"duplicates": "accept"})
        before = (await caller.admin("GET", "/summary")).json()
        number = (await caller.admin("POST", "/snapshots")).json()["number"]
        for _ in range(2):
            await caller.admin("POST", "/reset")
            await caller.admin("POST", f"/snapshots/{number}/restore")
            assert (await caller.admin("GET", "/summary")).json() == before
            # With the token and the options of then.
            assert (await caller.post("hoa_don", sale("A"))).status_code == 200
        assert (await caller.admin("POST", "/snapshots/7/restore")).status_code == 404


@pytest.mark.parametrize("changes", [{"duplicate": "same"}, {"duplicates": "maybe"}])
async def test_wrong_option_changes_nothing(changes: dict[str, str]) -> None:
    async with Caller() as caller:
        before = caller.sandbox.options
        response = await caller.admin("PUT", "/options", json={"latency_ms": 5, **changes})

        assert response.status_code == 422
        assert caller.sandbox.options == before
