"""The connection pool: never more at once than allowed, reused, and free again after any end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from lib.platforms.dqg.connections import Connections

pytestmark = pytest.mark.anyio


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"answer"


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
