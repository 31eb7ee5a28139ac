"""A connection pool whose cost a request does not grow with its size.

httpcore's own pool looks at every connection, with two system calls each, when a request begins
and when it ends: at 64 connections that is most of the CPU time of sending a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx

MakeTransport = Callable[[], httpx.AsyncBaseTransport]


class Connections(httpx.AsyncBaseTransport):
    """Gives each request a transport of its own, the one used last first.

    Used within one event loop. Raises what the transports raise, and `httpx.PoolTimeout` for a
    request that has waited for one longer than its timeout allows: then nothing has been sent.

    Args:
        make: a transport for one connection.
        size: requests under way at once, hence connections.
    """

    def __init__(self, make: MakeTransport, size: int) -> None:
        self._make = make
        self._places = asyncio.Semaphore(size)
        self._all: list[httpx.AsyncBaseTransport] = []
        self._idle: list[httpx.AsyncBaseTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`; the place is free again once the response is closed."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free in time", request=request) from None
        transport = self._take()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            self._give_back(transport)
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("a transport answered with a synchronous stream")
        response.stream = _Stream(response.stream, lambda: self._give_back(transport))
        return response

    async def aclose(self) -> None:
        """Close every connection. May be repeated."""
        self._idle.clear()
        while self._all:
            await self._all.pop().aclose()

    def _take(self) -> httpx.AsyncBaseTransport:
        if self._idle:
            return self._idle.pop()
        self._all.append(self._make())
        return self._all[-1]

    def _give_back(self, transport: httpx.AsyncBaseTransport) -> None:
        self._idle.append(transport)
        self._places.release()


class _Stream(httpx.AsyncByteStream):
    """A response's body that tells once when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._stream = stream
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed()
