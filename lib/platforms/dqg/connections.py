"""A connection pool whose cost a request does not grow with its size.

httpcore's own pool looks at every connection, with two system calls each, when a request begins
and when it ends: at 64 connections that is most of the CPU time of sending a document.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx

MakeTransport = Callable[[], httpx.AsyncBaseTransport]


class Connections(httpx.AsyncBaseTransport):
    """Gives each request a separate transport, the one used last first.

    A transport is used again only after an exchange that ended cleanly: its response was read to
    the end, and the server sent nothing beyond it. Any other one is closed: it may be stuck, or
    hold what the next request would take for its answer.

    Used within one event loop. Raises what the transports raise, and `httpx.PoolTimeout` for a
    request that has waited for one longer than its timeout allows: then nothing has been sent.

    Args:
        make: a transport for one connection.
        size: requests under way at once, hence connections.
    """

    def __init__(self, make: MakeTransport, size: int) -> None:
        self._make = make
        self._places = asyncio.Semaphore(size)
        self._all: set[httpx.AsyncBaseTransport] = set()
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`; the place is free again once the response is closed."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free in time", request=request) from None
        try:
            transport = self._take()
        except BaseException:
            self._places.release()
            raise
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            self._give_back(transport, clean=False)
            raise
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - of an async transport
        response.stream = _Stream(stream, lambda clean: self._give_back(transport, clean=clean))
        return response

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        self._idle.clear()
        while self._all:
            await self._all.pop().aclose()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _take(self) -> httpx.AsyncBaseTransport:
        if self._idle:
            return self._idle.pop()
        transport = self._make()
        self._all.add(transport)
        return transport

    def _give_back(self, transport: httpx.AsyncBaseTransport, *, clean: bool) -> None:
        if clean and not has_unread_bytes(transport):
            self._idle.append(transport)
        elif transport in self._all:
            self._all.remove(transport)
            # Not awaited here: the request may have been cancelled, and must end at once.
            task = asyncio.get_running_loop().create_task(_close(transport))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._places.release()


async def _close(transport: httpx.AsyncBaseTransport) -> None:
    # It is given up, whatever state it is in.
    with contextlib.suppress(Exception):
        await transport.aclose()


def has_unread_bytes(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether a connection has read more than the answer: that would become the next one.

    What has arrived but was not read yet is no concern: httpcore closes an idle connection on
    which something has arrived.
    """
    pool = getattr(transport, "_pool", None)
    connection: object = next(iter(getattr(pool, "connections", ())), None)
    # A connection through a proxy wraps another one; only the innermost has a parser.
    for _ in range(4):
        parser = getattr(connection, "_h11_state", None)
        if parser is not None:
            data, _is_closed = parser.trailing_data
            return bool(data)
        connection = getattr(connection, "_connection", None)
    return False


class _Stream(httpx.AsyncByteStream):
    """A response's body that reports once that it is closed, and whether it was read to its end."""

    def __init__(self, stream: httpx.AsyncByteStream, closed: Callable[[bool], None]) -> None:
        self._stream = stream
        self._closed: Callable[[bool], None] | None = closed
        self._at_end = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part
        self._at_end = True

    async def aclose(self) -> None:
        clean = False
        try:
            await self._stream.aclose()
            clean = self._at_end
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed(clean)
