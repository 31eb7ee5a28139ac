"""Serving the sandbox over TCP, on this machine only."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from deployments.local.sandbox.effects import CLOSE_CONNECTION

HOST = "127.0.0.1"

#: Seconds that a stop gives calls in progress before it closes their connections (some calls hang
#: on purpose).
_STOP_SECONDS = 1
#: Seconds after which calls that are still in progress are cancelled.
_CANCEL_SECONDS = 3
_START_SECONDS = 20


def bind(port: int) -> socket.socket:
    """A listening socket on this machine; port 0 chooses a free one.

    Raises:
        OSError: the port is in use.
    """
    # asyncio disables Nagle's algorithm only on sockets that were created with a protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


class Connections:
    """The open connections by the client's address, so that a single one can be closed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """The HTTP protocol that uvicorn would use; its connections are recorded here."""
        held = self._open

        class Recorded(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
            def connection_made(self, transport: asyncio.Transport) -> None:
                self._address = tuple(transport.get_extra_info("peername")[:2])
                held[self._address] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                held.pop(self._address, None)
                super().connection_lost(exc)

        return Recorded

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The application, with a function to close the connection in the scope of each request."""

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                hang_up = partial(self._hang_up, tuple(scope["client"]))
                scope.setdefault("extensions", {})[CLOSE_CONNECTION] = hang_up
            await app(scope, receive, send)

        return wrapped

    def close_all(self) -> None:
        for address in list(self._open):
            self._hang_up(address, clean=True)

    def _hang_up(self, address: tuple[str, int], clean: bool) -> None:
        transport = self._open.get(address)
        if transport is None:
            return
        if clean:
            transport.close()
            return
        # With a linger time of 0 the kernel sends RST instead of FIN.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class _Server(uvicorn.Server):
    """Closes the connections of hanging calls when it stops, so that these calls end."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_STOP_SECONDS, self._connections.close_all)
        await super().shutdown(sockets)


def make_server(app: ASGIApp, *, log_level: str = "warning") -> uvicorn.Server:
    """A server for `Server.run(sockets=[...])`."""
    connections = Connections()
    config: dict[str, Any] = {"http": connections.protocol()}
    return _Server(
        uvicorn.Config(
            connections.wrap(app),
            access_log=False,
            log_level=log_level,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_CANCEL_SECONDS,
            **config,
        ),
        connections,
    )


@contextmanager
def serving(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """Serve in a thread; yields the base URL, without a path.

    Raises:
        RuntimeError: the server did not start, or did not stop, in time.
    """
    with bind(port) as listener:
        server = make_server(app)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True
        )
        thread.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the sandbox did not start")
                thread.join(0.01)
            yield f"http://{HOST}:{port_of(listener)}"
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)
            if thread.is_alive():
                raise RuntimeError("the sandbox did not stop")
