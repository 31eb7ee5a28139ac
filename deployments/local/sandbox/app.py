"""The sandbox as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, SandboxAccount
from deployments.local.sandbox.admin import admin_router
from deployments.local.sandbox.api import NationalApi
from deployments.local.sandbox.options import Options
from deployments.local.sandbox.state import Sandbox


def create_app(
    options: Options | None = None,
    accounts: Iterable[SandboxAccount] = DEMO_ACCOUNTS,
    *,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """A new sandbox; `app.state.sandbox` is its `Sandbox`.

    Args:
        clock: unix time in seconds.
    """
    sandbox = Sandbox(options, accounts, clock=clock)
    app = FastAPI(
        title="Sandbox of the national API",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        routes=list(NationalApi(sandbox).routes()),
        exception_handlers={ClientDisconnect: _client_disconnected},
    )
    app.include_router(admin_router(sandbox))
    app.state.sandbox = sandbox
    return app


async def _client_disconnected(_request: Request, _error: Exception) -> Response:
    """A client that disconnects while sending is a normal event, not a server error."""
    return Response(status_code=400)
