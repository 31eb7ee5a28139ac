"""What a transport does to a call, which settings are unusable, and real connections."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from lib.errors import (
    ConfigurationError,
    OutcomeUnknown,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from tests.unit.api_kit import (
    ACCEPTED,
    LOGIN,
    LOST,
    NATIONAL,
    NOT_SENT,
    PASSWORD,
    Server,
    answer,
    listening,
    make_authority,
    raw,
    rig,
)

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- transport errors


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


UNUSABLE = [
    httpx.InvalidURL("a redirect to nowhere"),
    httpx.StreamClosed(),
    httpx.CookieConflict("twice"),
    ssl.SSLError("broken record"),
    OSError("no route"),
    ValueError("header"),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, "header"),
    RuntimeError("stream is closed"),
]


@pytest.mark.parametrize("error", UNUSABLE, ids=lambda error: type(error).__name__)
async def test_whatever_else_a_transport_raises_is_an_error_of_ours(error: Exception) -> None:
    async with rig(Server(error)) as api:
        with pytest.raises(OutcomeUnknown):
            await api.submit()
        with pytest.raises(Unavailable):
            await api.look_up()
    async with rig(Server(answer(ACCEPTED), login=error)) as api:
        with pytest.raises(Unavailable):
            await api.submit()


@pytest.mark.parametrize(
    "location",
    [
        "data:text/html,x",
        "http://[",
        "https://api.example:70000/",
        "javascript:alert(1)",
        "//",
        "\xff",
        "https://xn--/",
        "x" * 100_000,
        "http://api.example/\x00",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_to_anywhere_is_an_error_of_ours(status: int, location: str) -> None:
    redirect = httpx.Response(status, headers=[(b"location", location.encode("latin-1"))])
    async with rig(Server(redirect)) as api:
        with pytest.raises(SyncError) as caught:
            await api.submit()
        with pytest.raises(Unavailable):
            await api.look_up()
    assert caught.value.maybe_stored
    async with rig(Server(answer(ACCEPTED), login=redirect)) as api:
        with pytest.raises((Unavailable, WrongEndpoint)):
            await api.submit()


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


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "CA_FILE"),
        ({"ca_file": __file__}, "CA_FILE"),
        ({"proxy": f"gopher://user:{PASSWORD}@proxy"}, "PROXY"),
        ({"proxy": f"socks5://user:{PASSWORD}@127.0.0.1:1080"}, "PROXY"),
        ({"proxy": "socks5h://127.0.0.1:1080"}, "PROXY"),
        ({"proxy": "http://proxy:70000"}, "PROXY"),
        ({"proxy": "proxy:3128"}, "PROXY"),
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
