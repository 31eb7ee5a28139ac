"""Reaching the sandbox in process, with the errors a network would give."""

from __future__ import annotations

import anyio
import httpx
from fastapi import FastAPI


class InProcessTransport(httpx.AsyncBaseTransport):
    """`httpx.ASGITransport` on which hung-up and late answers look as they do over TCP.

    A dropped connection raises `httpx.ReadError`; the request's read timeout bounds the whole
    answer and raises `httpx.ReadTimeout`.
    """

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = request.extensions.get("timeout", {}).get("read")
        try:
            with anyio.fail_after(seconds):
                return await self._transport.handle_async_request(request)
        except ConnectionResetError as error:
            raise httpx.ReadError(str(error)) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time") from error
