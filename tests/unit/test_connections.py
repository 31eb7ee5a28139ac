"""The connection pool: never more at once than allowed, reused, and free again after any end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from lib.platforms.dqg.client import Connections

pytestmark = pytest.mark.anyio


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"ans"
        yield b"wer"


class Line(httpx.AsyncBaseTransport):
    """One connection: answers once it may, or fails."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.network.used.append(self)
        if self.network.error is not None:
            raise self.network.error
        await self.network.may_answer.wait()
        return httpx.Response(200, stream=Body())

    async def aclose(self) -> None:
        self.closed = True


class Network:
    """What the lines have in common."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.used: list[Line] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    def open(self) -> Line:
        self.lines.append(Line(self))
        return self.lines[-1]

    def client(self, size: int, pool_timeout: float = 5) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=Connections(self.open, size),
            timeout=httpx.Timeout(5, pool=pool_timeout),
            base_url="http://api.invalid",
        )


@pytest.fixture
def network() -> Network:
    return Network()


async def test_requests_beyond_the_size_wait_for_a_place_and_are_all_answered(
    network: Network,
) -> None:
    async with network.client(size=2) as client:
        requests = [asyncio.create_task(client.get("/")) for _ in range(5)]
        await asyncio.sleep(0)
        network.may_answer.set()
        answers = await asyncio.gather(*requests)
    assert [answer.text for answer in answers] == ["answer"] * 5
    assert len(network.lines) == 2


async def test_one_request_after_another_uses_one_connection(network: Network) -> None:
    network.may_answer.set()
    async with network.client(size=8) as client:
        for _ in range(3):
            await client.get("/")
    assert len(network.lines) == 1


async def test_a_place_is_held_until_the_response_is_closed(network: Network) -> None:
    network.may_answer.set()
    async with network.client(size=1, pool_timeout=0.01) as client:
        async with client.stream("GET", "/") as response:
            with pytest.raises(httpx.PoolTimeout):
                await client.get("/")
            assert response.status_code == 200
        assert (await client.get("/")).text == "answer"
    assert len(network.used) == 2


async def test_a_failed_request_gives_its_place_back(network: Network) -> None:
    async with network.client(size=1) as client:
        network.error = httpx.ConnectError("refused")
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        network.error = None
        network.may_answer.set()
        assert (await client.get("/")).text == "answer"


async def test_a_cancelled_request_gives_its_place_back(network: Network) -> None:
    async with network.client(size=1) as client:
        request = asyncio.create_task(client.get("/"))
        while not network.used:
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        network.may_answer.set()
        assert (await client.get("/")).text == "answer"


async def test_a_request_cancelled_while_it_waits_takes_no_place(network: Network) -> None:
    async with network.client(size=1) as client:
        first = asyncio.create_task(client.get("/"))
        second = asyncio.create_task(client.get("/"))
        while not network.used:
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        network.may_answer.set()
        assert (await first).text == "answer"
        assert (await client.get("/")).text == "answer"


async def test_closing_closes_every_connection(network: Network) -> None:
    network.may_answer.set()
    async with network.client(size=2) as client:
        await asyncio.gather(client.get("/"), client.get("/"))
    assert network.lines
    assert all(line.closed for line in network.lines)


# ---------------------------------------------------------------- what is used again


async def test_a_connection_whose_request_failed_or_was_cancelled_is_closed(
    network: Network,
) -> None:
    async with network.client(size=1) as client:
        network.error = httpx.ReadError("reset")
        with pytest.raises(httpx.ReadError):
            await client.get("/")
        network.error = None
        request = asyncio.create_task(client.get("/"))
        while len(network.used) < 2:
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        network.may_answer.set()
        assert (await client.get("/")).text == "answer"
    assert len(network.lines) == 3
    assert all(line.closed for line in network.lines)


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_closed(
    network: Network,
) -> None:
    network.may_answer.set()
    async with network.client(size=1) as client:
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_raw():
                break
        await client.get("/")
        assert len(network.lines) == 2
        await client.get("/")
    assert len(network.lines) == 2
    assert network.lines[0].closed


async def test_requests_cancelled_at_random_leave_every_place_free(network: Network) -> None:
    size = 4
    async with network.client(size=size) as client:
        for number in range(40):
            requests = [asyncio.create_task(client.get("/")) for _ in range(size + 2)]
            for _ in range(number % 7):
                await asyncio.sleep(0)
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)
        network.may_answer.set()
        answers = await asyncio.gather(*(client.get("/") for _ in range(size)))
    assert [answer.text for answer in answers] == ["answer"] * size
    assert all(line.closed for line in network.lines)


# ---------------------------------------------------------------- over sockets


def raw(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@asynccontextmanager
async def serving(*replies: bytes) -> AsyncIterator[tuple[httpx.AsyncClient, list[int]]]:
    """A client over sockets, and the number of requests on each connection of its server."""
    queue, counts = list(replies), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = len(counts)
        counts.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                counts[mine] += 1
                writer.write(queue.pop(0))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    pool = Connections(lambda: httpx.AsyncHTTPTransport(limits=one, trust_env=False), 1)
    async with (
        server,
        httpx.AsyncClient(transport=pool, base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client, counts


async def test_a_connection_is_kept_after_a_clean_answer() -> None:
    async with serving(raw("one"), raw("two")) as (client, counts):
        assert [(await client.get("/")).text for _ in range(2)] == ["one", "two"]
        assert counts == [2]


@pytest.mark.parametrize("surplus", [raw("of another"), b"x", b"\r\n\r\n"])
async def test_a_surplus_answer_is_never_taken_for_the_next_one(surplus: bytes) -> None:
    async with serving(raw("one") + surplus, raw("two")) as (client, counts):
        assert [(await client.get("/")).text for _ in range(2)] == ["one", "two"]
        assert counts == [1, 1]


async def test_a_surplus_answer_to_one_without_a_body_is_noticed_too() -> None:
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with serving(empty + raw("of another"), raw("two")) as (client, _):
        assert [(await client.get("/")).text for _ in range(2)] == ["", "two"]
