"""The effect of a fault on an answer, including a closed connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from deployments.local.sandbox.answers import html_page, json_answer
from deployments.local.sandbox.faults import Fault

#: Key of the function that closes the connection, in the extensions of a request's scope;
#: its argument is whether to close it cleanly.
CLOSE_CONNECTION = "sandbox.hang_up"

_JSON = "application/json"


class NoAnswer(Response):
    """Closes the connection without an answer.

    If the application is called in process, without a server, it raises
    `ConnectionResetError`.
    """

    def __init__(self, *, clean: bool) -> None:
        super().__init__()
        self._clean = clean

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hang_up: Callable[[bool], None] | None = scope.get("extensions", {}).get(CLOSE_CONNECTION)
        if hang_up is None:
            raise ConnectionResetError("the sandbox closed the connection without an answer")
        hang_up(self._clean)
        # Return after the server has noticed; otherwise it would report a missing answer.
        await _client_gone(receive)


async def apply(fault: Fault, request: Request) -> Response:
    """The answer of a fault, which replaces the real one; a hanging call returns late."""
    match fault.effect:
        case "status":
            answer = _status(fault)
        case "body200":
            answer = json_answer({"code": fault.code, "mess": fault.text})
        case "html":
            answer = Response(html_page(fault.text), fault.status or 200, media_type="text/html")
        case "empty":
            answer = Response(b"", fault.status or 200)
        case "not_json":
            answer = Response('{"code": 200, "mess', fault.status or 200, media_type=_JSON)
        case "unauthorized":
            answer = json_answer({"code": 401, "mess": "Token không hợp lệ hoặc đã hết hạn"}, 401)
        case "accept_then_hang":
            await _wait_for_client_to_go(request, fault.seconds)
            answer = NoAnswer(clean=False)
        case "reset":
            answer = NoAnswer(clean=fault.clean)
        case _:
            raise AssertionError(f"{fault.effect} gives no answer")
    return answer


def _status(fault: Fault) -> Response:
    status = fault.status or 500
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if isinstance(fault.body, str):
        return Response(fault.body, status, headers, media_type="text/plain")
    body = {"code": status, "mess": fault.text} if fault.body is None else fault.body
    return json_answer(body, status, headers)


async def _wait_for_client_to_go(request: Request, seconds: float) -> None:
    try:
        await asyncio.wait_for(_client_gone(request.receive), seconds)
    except TimeoutError:
        return


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
