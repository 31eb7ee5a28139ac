"""The console as a web application. No store is opened before it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from deployments.console import audit, causes, close, documents, login, overview, pauses, words
from deployments.console.language import FOLDER, environments
from deployments.console.sessions import SessionCookies
from deployments.console.users import UsersFile
from deployments.console.web import HEADERS, Console, NotLoggedIn, error_page
from lib.errors import SyncError
from lib.operations.operator import Operator
from lib.operations.send import StartRun
from lib.operations.status import ReadPools
from lib.operations.trace import ReadRuns
from lib.settings import ConsoleSettings


def create_app(
    settings: ConsoleSettings,
    open_stores: Callable[[], AbstractAsyncContextManager[Operator]],
    *,
    read_pools: ReadPools,
    read_runs: ReadRuns,
    start_run: StartRun,
    open_services: close.OpenServices,
) -> FastAPI:
    """The application; it opens its stores when it starts and closes them when it ends.

    Raises:
        ConfigurationError: the session key is not a Fernet key.
    """
    console = Console(
        settings=settings,
        users=UsersFile(settings.users_file),
        cookies=SessionCookies(settings),
        environments=environments(words.FILTERS, words.GLOBALS),
        read_pools=read_pools,
        read_runs=read_runs,
        start_run=start_run,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_stores() as stores:
            console.stores = stores
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.console = console
    app.state.comparisons = close.Comparisons(open_services)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    for module in (login, overview, causes, documents, close, pauses, audit):
        app.include_router(module.router)

    @app.get("/healthz")
    async def health() -> Response:
        """Shows that the process answers; does not query the stores."""
        return PlainTextResponse("ok")

    @app.middleware("http")
    async def add_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.url.path.startswith("/static/"):
            response.headers["Cache-Control"] = "max-age=3600"
        return response

    for error in (StarletteHTTPException, HTTPException, SyncError, NotLoggedIn, Exception):
        app.add_exception_handler(error, error_page)
    return app
