"""The client and the adapter, over a transport that answers as the test says and over sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from lib.errors import (
    AccountRefused,
    ClaimLost,
    ConfigurationError,
    Forbidden,
    OutcomeUnknown,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.models import Acceptance, Account, Attempt, Document, DocumentRef, Payload
from lib.platforms.dqg.adapter import DqgPlatform
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.tokens import TokenCache
from lib.platforms.platform import Action, Lookup, Platform
from lib.settings import ApiSettings, RedisSettings

pytestmark = pytest.mark.anyio

BASE = "https://api.example/v1/api"
NOW = datetime(2026, 11, 2, 18, 30, tzinfo=UTC)  # already the 3rd in Vietnam
PASSWORD = "matkhau-bi-mat"
BUYER = "Nguyễn Thị Mai"
NATIONAL = "QG-000777"
ACCEPTED = {"ma_hoa_don_quoc_gia": NATIONAL, "code": 200, "mess": "Thành công"}


def make_account(username: str = "demo_hoasen", password: str = PASSWORD) -> Account:
    return Account(username, SecretStr(password), key=f"key-of-{username}")


def make_payload(local_id: str = "HD-1") -> Payload:
    body = {
        "ma_hoa_don": local_id,
        "ma_co_so": "7907",
        "ho_ten_khach_hang": BUYER,
        "hoa": "Đà Nẵng",
    }
    return Payload("hoa_don", "7907", local_id, body)


Step = httpx.Response | Exception | Callable[[httpx.Request], Awaitable[httpx.Response]]


def answer(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, bytes):
        return httpx.Response(status, content=body, headers=names)
    return httpx.Response(status, json=body, headers=names)


class Server:
    """Stands for the API: answers documents by script, logins with token-1, token-2, ...

    Attributes:
        steps: answers to the document calls, in order; the last one is repeated.
        login: answer to every login, if it is not to succeed.
    """

    def __init__(self, *steps: Step, login: Step | None = None) -> None:
        self.steps = list(steps)
        self.login = login
        self.logins: list[httpx.Request] = []
        self.calls: list[httpx.Request] = []
        #: Authorization of each call, for a request sent twice is one object.
        self.authorizations: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tai_khoan/dang_nhap"):
            self.logins.append(request)
            return await self._play(self.login or self._token(), request)
        self.calls.append(request)
        self.authorizations.append(request.headers["authorization"])
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return await self._play(step, request)

    def _token(self) -> httpx.Response:
        return answer({"code": 200, "data": {"token": f"token-{len(self.logins)}"}})

    @staticmethod
    async def _play(step: Step, request: httpx.Request) -> httpx.Response:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            return httpx.Response(step.status_code, headers=step.headers, content=step.content)
        return await step(request)


async def allowed(_: Action) -> None:
    """Nothing is in the way of a call."""


class Rig:
    """A platform over a server, with what it waited for and what it noted.

    Attributes:
        permit: asked before each call; raises to hold it back.
    """

    def __init__(self, client: NationalApiClient, api: ApiSettings) -> None:
        self.platform = DqgPlatform(client, api, clock=lambda: NOW, sleep=self._sleep)
        self.waits: list[float] = []
        self.attempts: list[Attempt] = []
        self.permit: Callable[[Action], Awaitable[None]] = allowed

    async def submit(
        self, payload: Payload | None = None, account: Account | None = None
    ) -> Acceptance:
        return await self.platform.submit(
            payload or make_payload(), account or make_account(), self
        )

    async def look_up(self, payload: Payload | None = None) -> Acceptance | Lookup:
        return await self.platform.look_up(payload or make_payload(), make_account(), self)

    def note(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def outcomes(self) -> list[tuple[str, int | None, str | None]]:
        return [(a.action, a.http_status, a.error_class) for a in self.attempts]


@asynccontextmanager
async def rig(server: Server | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """A rig over a scripted server, or over the network if there is none."""
    api = ApiSettings(**{"base_url": BASE, **settings})
    redis = RedisSettings(url=SecretStr("redis://unused"))
    async with NationalApiClient(
        api,
        TokenCache(None, redis, api),
        transport=None if server is None else httpx.MockTransport(server),
    ) as client:
        yield Rig(client, api)


def everything_said(error: BaseException) -> str:
    """All texts of an error and of the errors behind it."""
    texts = traceback.format_exception(error)
    chain: BaseException | None = error
    while chain is not None:
        texts += [str(chain), repr(chain), repr(vars(chain))]
        chain = chain.__cause__ or chain.__context__
    return "".join(texts)


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


async def test_a_401_right_after_a_fresh_login_refuses_the_account() -> None:
    server = Server(answer({"mess": "Token không hợp lệ"}, 401))
    async with rig(server) as api:
        with pytest.raises(AccountRefused, match="Token không hợp lệ"):
            await api.submit()

    assert (len(server.logins), len(server.calls)) == (1, 1)


async def test_a_second_401_refuses_the_account_and_no_third_login_is_tried() -> None:
    server = Server(answer(ACCEPTED), answer(b"", 401), answer(b"", 401), answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()
        with pytest.raises(AccountRefused):
            await api.submit()
        assert (len(server.logins), len(server.calls)) == (2, 3)

        await api.submit()

    assert server.authorizations[-1] == "bearer token-3"


async def test_a_refused_token_is_not_used_again() -> None:
    server = Server(answer(b"", 401), answer(ACCEPTED))
    async with rig(server) as api:
        with pytest.raises(AccountRefused):
            await api.submit()
        await api.submit()

    assert server.authorizations == ["bearer token-1", "bearer token-2"]


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


# ---------------------------------------------------------------- transport errors

NOT_SENT = [
    httpx.ConnectError("Name or service not known"),
    httpx.ConnectTimeout("slow"),
    httpx.PoolTimeout("full"),
    httpx.ProxyError("407"),
]
LOST = [
    httpx.ReadTimeout("slow"),
    httpx.WriteTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("gone"),
    httpx.DecodingError("gzip"),
]


@pytest.mark.parametrize("error", NOT_SENT, ids=lambda error: type(error).__name__)
async def test_a_document_that_did_not_leave_is_merely_unavailable(error: Exception) -> None:
    async with rig(Server(error)) as api:
        with pytest.raises(Unavailable) as caught:
            await api.submit()

    assert type(error).__name__ in caught.value.message
    assert api.outcomes == [("submit", None, "unavailable")]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_document_that_left_without_an_answer_has_an_unknown_outcome(
    error: Exception,
) -> None:
    server = Server(error)
    async with rig(server) as api:
        with pytest.raises(OutcomeUnknown):
            await api.submit()

    assert len(server.calls) == 1
    assert api.outcomes == [("submit", None, "outcome_unknown")]


@pytest.mark.parametrize("error", [*NOT_SENT, *LOST], ids=lambda error: type(error).__name__)
async def test_a_look_up_without_an_answer_is_unavailable(error: Exception) -> None:
    async with rig(Server(error)) as api:
        with pytest.raises(Unavailable):
            await api.look_up()

    assert api.outcomes == [("look_up", None, "unavailable")]


def test_every_transport_error_of_httpx_is_one_of_the_two_kinds() -> None:
    kinds = {
        kind
        for kind in vars(httpx).values()
        if isinstance(kind, type) and issubclass(kind, httpx.TransportError)
    }
    abstract = {
        httpx.TransportError,
        httpx.TimeoutException,
        httpx.NetworkError,
        httpx.ProtocolError,
    }
    tested = {type(error) for error in (*NOT_SENT, *LOST)}
    never_sent = {httpx.UnsupportedProtocol, httpx.LocalProtocolError}
    assert kinds - abstract - tested - never_sent == {httpx.CloseError}


async def test_a_trickling_answer_has_an_end() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with rig(Server(never), connect_timeout=0.01, read_timeout=0.01) as api:
        with pytest.raises(OutcomeUnknown, match="TimeoutError"):
            await api.submit()


async def test_a_cancelled_call_is_reported_as_one() -> None:
    arrived = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with rig(Server(hang)) as api:
        task = asyncio.create_task(api.submit())
        async with asyncio.timeout(20):
            await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert api.outcomes == [("submit", None, "cancelled")]


async def test_an_endless_answer_is_read_up_to_a_bound() -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b" " * (1 << 16)

    async def endless(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=chunks())

    async with rig(Server(endless)) as api:
        with pytest.raises(OutcomeUnknown):
            await api.submit()

    assert sent < 1 << 22


# ---------------------------------------------------------------- Retry-After


@pytest.mark.parametrize("status", [425, 429])
async def test_a_short_retry_after_is_waited_out_on_the_spot(status: int) -> None:
    server = Server(answer(b"", status, retry_after="3"), answer(ACCEPTED))
    async with rig(server) as api:
        acceptance = await api.submit()

    assert (acceptance.national_id, api.waits) == (NATIONAL, [3])
    assert api.outcomes == [("submit", status, "unavailable"), ("submit", 200, None)]


async def test_a_short_retry_after_is_waited_out_twice_at_most() -> None:
    server = Server(answer(b"", 429, retry_after="1"))
    async with rig(server) as api:
        with pytest.raises(Unavailable) as caught:
            await api.submit()

    assert (len(server.calls), api.waits, caught.value.retry_after) == (3, [1, 1], 1)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {}),
        (429, {"retry_after": "6"}),
        (500, {"retry_after": "1"}),
        # They may be sent by a server that has stored the document.
        (408, {"retry_after": "1"}),
        (503, {"retry_after": "1"}),
        (400, {"retry_after": "1"}),
    ],
)
async def test_any_other_wait_is_left_to_the_caller(status: int, headers: dict[str, str]) -> None:
    server = Server(answer(b"", status, **headers))
    async with rig(server) as api:
        with pytest.raises(SyncError):
            await api.submit()

    assert (len(server.calls), api.waits) == (1, [])


# ---------------------------------------------------------------- meaning


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer({"mess": "Sai mã cơ sở"}, 400), Rejected),
        (answer({"code": 17, "mess": "x"}), Rejected),
        (answer(b"", 403), Forbidden),
        (answer(b"", 404), WrongEndpoint),
        (answer(b"", 405), WrongEndpoint),
        (answer(b"", 302, location=f"{BASE}/elsewhere"), WrongEndpoint),
        (answer(b"", 500), Unavailable),
        (answer(b""), OutcomeUnknown),
        (answer(b"<html></html>"), OutcomeUnknown),
    ],
)
async def test_an_answer_is_reported_with_the_class_of_its_error(
    reply: httpx.Response, kind: type[SyncError]
) -> None:
    server = Server(reply)
    async with rig(server) as api:
        with pytest.raises(kind) as caught:
            await api.submit()

    assert type(caught.value) is kind
    assert len(server.calls) == 1
    assert api.outcomes == [("submit", reply.status_code, kind.error_class)]


async def test_an_attempt_has_its_time_its_duration_and_the_spec_version() -> None:
    async with rig(Server(answer(ACCEPTED))) as api:
        await api.submit()
        platform: Platform = api.platform

    (attempt,) = api.attempts
    assert attempt.at == NOW
    assert attempt.duration_ms >= 0
    assert attempt.spec_version == platform.spec_version == "dqg-2018"


async def test_a_duplicate_without_a_code_gets_it_by_a_look_up() -> None:
    server = Server(answer({"code": 400, "mess": "Mã đã tồn tại"}), answer(ACCEPTED))
    async with rig(server) as api:
        acceptance = await api.submit()

    assert (acceptance.national_id, acceptance.duplicate) == (NATIONAL, True)
    assert acceptance.message == "Mã đã tồn tại"
    assert api.outcomes == [("submit", 200, None), ("look_up", 200, None)]


async def test_a_duplicate_with_its_code_needs_no_look_up() -> None:
    server = Server(answer({**ACCEPTED, "code": 409}))
    async with rig(server) as api:
        assert (await api.submit()).national_id == NATIONAL

    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "second",
    [
        answer({"detail": "Not Found"}, 404),
        answer(b"", 503),
        answer(b"", 403),
        httpx.ReadTimeout("slow"),
        answer({"code": 200, "mess": "?"}),
    ],
)
async def test_a_duplicate_stays_accepted_when_its_code_cannot_be_fetched(second: Step) -> None:
    async with rig(Server(answer({"mess": "trùng"}, 409), second)) as api:
        acceptance = await api.submit()

    assert (acceptance.national_id, acceptance.duplicate) == (None, True)


async def test_a_duplicate_stays_accepted_where_its_look_up_gets_no_permit() -> None:
    async def once(_: Action) -> None:
        api.permit = lost

    async with rig(Server(answer({"mess": "trùng"}, 409))) as api:
        api.permit = once
        assert (await api.submit()).duplicate


async def test_a_text_that_sounds_like_a_duplicate_is_not_believed_against_a_look_up() -> None:
    server = Server(
        answer({"code": 400, "mess": "Dòng thuốc bị trùng"}),
        answer({"code": 404, "mess": "Không tìm thấy"}, 404),
    )
    async with rig(server) as api:
        with pytest.raises(Rejected, match="Dòng thuốc bị trùng"):
            await api.submit()


async def test_without_look_ups_a_duplicate_is_taken_as_it_is() -> None:
    server = Server(answer({"mess": "đã tồn tại"}, 409))
    async with rig(server, lookup=False) as api:
        acceptance = await api.submit()
        assert await api.look_up() is Lookup.UNSUPPORTED

    assert (acceptance.national_id, len(server.calls)) == (None, 1)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (answer({"code": 404, "mess": "Không tìm thấy"}, 404), Lookup.ABSENT),
        (answer({"detail": "Not Found"}, 404), Lookup.UNSUPPORTED),
        (answer(b"", 405), Lookup.UNSUPPORTED),
        (answer(b"", 302), Lookup.UNSUPPORTED),
    ],
)
async def test_a_look_up_tells_absence_from_silence(reply: httpx.Response, found: Lookup) -> None:
    async with rig(Server(reply)) as api:
        assert await api.look_up() is found

    assert api.outcomes == [("look_up", reply.status_code, None)]


async def test_a_look_up_replaces_a_stale_token_too() -> None:
    server = Server(answer(ACCEPTED), answer(b"", 401), answer(ACCEPTED))
    async with rig(server) as api:
        await api.submit()
        found = await api.look_up()

    assert isinstance(found, Acceptance)
    assert len(server.logins) == 2


async def test_the_platform_builds_with_the_pharmacys_date() -> None:
    header = {
        "local_receipt_id": "PN-1",
        "pharmacy_code": "790760001234",
        "receipt_date": datetime(2026, 11, 3),  # noqa: DTZ001 - local time, without a zone
        "receipt_type": 1,
    }
    line = {
        "drug_code": "DQG1",
        "drug_name": "Oresol",
        "lot_number": "L1",
        "expiry_date": datetime(2028, 1, 1),  # noqa: DTZ001
        "registration_number": "VD-1",
        "quantity": 1,
        "unit": "Gói",
    }
    ref = DocumentRef("import", 1, "PN-1", "790760001234", "SHOP01")
    async with rig(Server(answer(ACCEPTED))) as api:
        payload = api.platform.build(Document(ref, "t", False, 1, header, [line]))

    assert payload.warnings == ()  # the 3rd is today in Vietnam, though not yet in UTC


# ---------------------------------------------------------------- secrets and names


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
async def test_no_error_and_no_log_tells_a_secret_or_a_name(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"token-1 của {PASSWORD}? Khách {BUYER.upper()} sai"
    server = Server(answer({"code": 400, "mess": text}, status))
    async with rig(server) as api:
        with pytest.raises(SyncError) as caught:
            await api.submit()

    said = everything_said(caught.value) + caplog.text + repr(api.attempts)
    assert "token-1" not in said
    assert BUYER.casefold() not in said.casefold()
    assert "Đà Nẵng" not in said
    assert "***" in caught.value.message


@pytest.mark.parametrize("error", [*NOT_SENT, *LOST], ids=lambda error: type(error).__name__)
async def test_a_transport_error_does_not_carry_the_request(error: Exception) -> None:
    async with rig(Server(error)) as api:
        with pytest.raises(SyncError) as caught:
            await api.submit()

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "token-1" not in everything_said(caught.value)


async def test_a_login_error_tells_no_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server(answer(ACCEPTED), login=answer({"message": f"Sai: {PASSWORD}"}, 400))
    async with rig(server) as api:
        with pytest.raises(AccountRefused) as caught:
            await api.submit()

    assert PASSWORD not in everything_said(caught.value) + caplog.text
    assert "Sai: ***" in caught.value.message


async def test_an_acceptance_tells_no_name() -> None:
    server = Server(answer({**ACCEPTED, "mess": f"Đã nhận của {BUYER}"}))
    async with rig(server) as api:
        acceptance = await api.submit()

    assert acceptance.message == "Đã nhận của ***"
    assert BUYER not in (acceptance.answer or "")
    assert acceptance.national_id == NATIONAL


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "CA_FILE"),
        ({"ca_file": __file__}, "CA_FILE"),
        ({"proxy": f"gopher://user:{PASSWORD}@proxy"}, "PROXY"),
        ({"proxy": f"http://user:{PASSWORD}@proxy:port"}, "PROXY"),
        ({"base_url": "https://api.example/\x00"}, "BASE_URL"),
    ],
)
async def test_unusable_settings_are_named_when_the_client_opens(
    settings: dict[str, str], name: str
) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        async with rig(**settings):
            pass

    assert PASSWORD not in str(caught.value)


async def test_the_client_ignores_proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with listening(b"") as url, rig(base_url=url) as api:
        with pytest.raises(Unavailable, match="RemoteProtocolError"):
            await api.submit()


# ---------------------------------------------------------------- over sockets


@asynccontextmanager
async def listening(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on this machine that answers each request with the next bytes and hangs up."""
    queue = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            ),
            0,
        )
        await reader.readexactly(length)
        writer.write(queue.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


def raw(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


LOGIN = raw(json.dumps({"code": 200, "data": {"token": "token-1"}}).encode())


async def test_a_document_travels_over_a_real_connection() -> None:
    async with (
        listening(LOGIN, raw(json.dumps(ACCEPTED).encode())) as url,
        rig(base_url=url) as api,
    ):
        assert (await api.submit()).national_id == NATIONAL


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=["hung up", "cut short", "another protocol", "broken gzip"],
)
async def test_a_broken_answer_over_a_real_connection_leaves_the_outcome_unknown(
    reply: bytes,
) -> None:
    async with listening(LOGIN, reply) as url, rig(base_url=url) as api:
        with pytest.raises(OutcomeUnknown):
            await api.submit()


async def test_a_closed_port_is_merely_unavailable() -> None:
    async with listening() as url:
        pass
    async with rig(base_url=url) as api:
        with pytest.raises(Unavailable, match="ConnectError"):
            await api.submit()


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A private authority's certificate file, and a server's context that it vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    public = folder / "ca.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


async def test_a_server_that_nobody_vouches_for_is_sent_nothing(tmp_path: Path) -> None:
    _, tls = make_authority(tmp_path)

    async with listening(LOGIN, tls=tls) as url, rig(base_url=url) as api:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await api.submit()


async def test_a_private_authority_is_trusted_where_the_settings_name_it(tmp_path: Path) -> None:
    authority, tls = make_authority(tmp_path)

    async with (
        listening(LOGIN, raw(json.dumps(ACCEPTED).encode()), tls=tls) as url,
        rig(base_url=url, ca_file=str(authority)) as api,
    ):
        assert (await api.submit()).national_id == NATIONAL
