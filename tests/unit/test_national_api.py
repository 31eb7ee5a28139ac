"""The calls of the client and the adapter: requests, permits, tokens and logins."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from lib.errors import (
    AccountRefused,
    ClaimLost,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.platforms.platform import Action
from tests.unit.api_kit import (
    ACCEPTED,
    BASE,
    LOGIN,
    NATIONAL,
    PASSWORD,
    Server,
    Step,
    answer,
    everything_said,
    listening,
    make_account,
    make_payload,
    raw,
    rig,
)

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- requests


async def test_a_document_is_posted_to_its_resource_with_a_lower_case_bearer() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        acceptance = await api.submit()

    (call,) = server.calls
    assert (call.method, str(call.url)) == ("POST", f"{BASE}/lien_thong/hoa_don")
    assert call.headers["authorization"] == "bearer token-1"
    assert call.headers["content-type"] == "application/json"
    assert json.loads(call.content) == make_payload().body
    assert "Đà Nẵng".encode() in call.content
    assert acceptance.national_id == NATIONAL


async def test_a_login_sends_the_credentials_under_the_apis_names() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()

    (login,) = server.logins
    assert (login.method, str(login.url)) == ("POST", f"{BASE}/tai_khoan/dang_nhap")
    assert json.loads(login.content) == {"usr": "demo_hoasen", "pwd": PASSWORD}
    assert "authorization" not in login.headers


async def test_many_documents_of_an_account_share_one_login() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        await asyncio.gather(*(api.submit(make_payload(f"HD-{n}")) for n in range(20)))

    assert len(server.logins) == 1
    assert len(server.calls) == 20


async def test_each_account_sends_with_a_token_of_its_own() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit(account=make_account("a"))
        await api.submit(account=make_account("b"))
        await api.submit(account=make_account("a"))

    assert server.authorizations == ["bearer token-1", "bearer token-2", "bearer token-1"]


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("HD-1", "HD-1"),
        ("HD/S01 7", "HD%2FS01%207"),
        ("a?b#c%d", "a%3Fb%23c%25d"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("Đơn", "%C4%90%C6%A1n"),
    ],
)
async def test_a_code_is_one_segment_of_a_look_ups_path(code: str, path: str) -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        await api.look_up(make_payload(code))

    (call,) = server.calls
    assert call.method == "GET"
    assert call.url.raw_path.decode() == f"/v1/api/lien_thong/hoa_don/7907/{path}"


async def test_cookies_of_one_account_never_travel_with_another() -> None:
    server = Server(answer(ACCEPTED, Set_Cookie="session=of-a; Path=/"))
    async with rig(server) as api:
        await api.submit(account=make_account("a"))
        await api.submit(account=make_account("b"))

    assert all("cookie" not in call.headers for call in (*server.calls, *server.logins))


async def test_no_account_has_more_calls_under_way_than_allowed() -> None:
    under_way: dict[str, int] = {}
    most: dict[str, int] = {}
    full = asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        account = request.headers["authorization"]
        under_way[account] = under_way.get(account, 0) + 1
        most[account] = max(most.get(account, 0), under_way[account])
        if sum(under_way.values()) == 4:
            full.set()
        await full.wait()
        under_way[account] -= 1
        return answer(ACCEPTED)

    async with rig(Server(hold), max_per_account=2) as api:
        accounts = [make_account("a"), make_account("b")] * 5
        async with asyncio.timeout(20):
            await asyncio.gather(*(api.submit(account=account) for account in accounts))

    assert set(most.values()) == {2}


# ---------------------------------------------------------------- the permit


async def lost(_: Action) -> None:
    raise ClaimLost("the lease ran out")


async def test_a_call_that_waited_for_its_turn_is_kept_back_by_what_happened_meanwhile() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await go_on.wait()
        return answer(ACCEPTED)

    server = Server(hold)
    async with rig(server, max_per_account=1) as api, asyncio.timeout(20):
        first = asyncio.create_task(api.submit())
        await arrived.wait()
        second = asyncio.create_task(api.submit())
        await asyncio.sleep(0)
        api.permit = lost
        go_on.set()
        await first
        with pytest.raises(ClaimLost):
            await second

    assert len(server.calls) == 1


async def test_a_look_up_needs_a_permit_as_well() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        api.permit = lost
        with pytest.raises(ClaimLost):
            await api.look_up()
    assert server.calls == []


async def test_a_process_that_stood_still_while_it_connected_sends_nothing() -> None:
    def over() -> None:
        raise ClaimLost("the lease ran out")

    replies = LOGIN, raw(json.dumps(ACCEPTED).encode())
    async with listening(*replies) as url, rig(base_url=url) as api:
        api.ensure_held = over
        with pytest.raises(ClaimLost):
            await api.submit()
        api.ensure_held = lambda: None
        # The server still has its answer to the first request that it sees.
        assert (await api.submit()).national_id == NATIONAL
    assert api.outcomes[0] == ("submit", None, "claim_lost")


async def test_each_request_asks_for_its_own_permit_and_says_what_it_does() -> None:
    asked = []

    async def permit(action: Action) -> None:
        asked.append(action)

    server = Server(
        answer(b"", 429, retry_after="1"), answer({"mess": "trùng"}, 409), answer(ACCEPTED)
    )
    async with rig(server) as api:
        api.permit = permit
        await api.submit()

    assert asked == [Action.SUBMIT, Action.SUBMIT, Action.LOOK_UP]


async def test_without_a_permit_for_a_repetition_the_first_answer_counts() -> None:
    async def once(_: Action) -> None:
        api.permit = lost

    server = Server(answer(b"", 429, retry_after="1"), answer(ACCEPTED))
    async with rig(server) as api:
        api.permit = once
        with pytest.raises(Unavailable) as caught:
            await api.submit()

    assert (len(server.calls), caught.value.http_status) == (1, 429)


# ---------------------------------------------------------------- 401


async def test_a_stale_token_is_replaced_once_and_the_call_repeated() -> None:
    server = Server(answer(ACCEPTED), answer({"code": 401}, 401), answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()
        acceptance = await api.submit()

    assert acceptance.national_id == NATIONAL
    assert server.authorizations == ["bearer token-1", "bearer token-1", "bearer token-2"]
    assert api.outcomes == [
        ("submit", 200, None),
        ("submit", 401, "forbidden"),
        ("submit", 200, None),
    ]


async def test_a_401_in_the_body_is_a_401() -> None:
    server = Server(answer(ACCEPTED), answer({"code": "401", "mess": "x"}), answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()
        assert (await api.submit()).national_id == NATIONAL

    assert len(server.logins) == 2


async def test_a_401_after_a_fresh_login_is_tried_once_more_after_a_pause() -> None:
    """Where an account has one session, another process's login has ended this one."""
    server = Server(answer(b"", 401), answer(ACCEPTED))
    async with rig(server) as api:
        assert (await api.submit()).national_id == NATIONAL
        (pause,) = api.waits
        assert 0.5 <= pause <= 1.5

    assert server.authorizations == ["bearer token-1", "bearer token-2"]


async def test_a_401_after_the_pause_as_well_refuses_the_account() -> None:
    server = Server(answer({"mess": "Token không hợp lệ"}, 401))
    async with rig(server) as api:
        with pytest.raises(AccountRefused, match="Token không hợp lệ"):
            await api.submit()

    assert (len(server.logins), len(server.calls)) == (2, 2)


async def test_a_stale_token_leaves_both_tries_to_fresh_ones() -> None:
    refused = [answer(b"", 401)] * 3
    server = Server(answer(ACCEPTED), *refused, answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()
        with pytest.raises(AccountRefused):
            await api.submit()
        assert (len(server.logins), len(server.calls), len(api.waits)) == (3, 4, 1)

        await api.submit()

    assert server.authorizations[-1] == "bearer token-4"


# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("username", "password"),
    [("x" * 51, PASSWORD), ("demo", "x" * 31), (" ", PASSWORD), ("demo", "")],
)
async def test_credentials_that_can_never_be_right_cost_no_call(
    username: str, password: str
) -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        with pytest.raises(AccountRefused) as caught:
            await api.submit(account=make_account(username, password))

    assert (server.logins, server.calls, api.attempts) == ([], [], [])
    assert "xxxx" not in everything_said(caught.value)


async def test_the_longest_credentials_are_tried() -> None:
    server = Server(answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit(account=make_account("ạ" * 50, "ệ" * 30))

    assert len(server.logins) == 1


@pytest.mark.parametrize(
    ("login", "kind"),
    [
        (answer({"message": "Sai mật khẩu"}, 400), AccountRefused),
        (answer({"code": 400, "message": "Sai mật khẩu"}), AccountRefused),
        (answer(b"", 503, retry_after="1"), Unavailable),
        (answer(b"", 404), WrongEndpoint),
        (httpx.ConnectError("refused"), Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable),
        (httpx.RemoteProtocolError("gone"), Unavailable),
    ],
)
async def test_a_failed_login_is_not_repeated_and_sends_no_document(
    login: Step, kind: type[SyncError]
) -> None:
    server = Server(answer(ACCEPTED), login=login)
    async with rig(server) as api:
        with pytest.raises(kind) as caught:
            await api.submit()

    assert type(caught.value) is kind
    assert (len(server.logins), server.calls, api.attempts) == (1, [], [])
