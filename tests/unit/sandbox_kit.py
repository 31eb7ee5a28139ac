"""A client of the sandbox for its own tests, and a clock that only they move."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import anyio
import httpx
from fastapi import FastAPI

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, SandboxAccount
from deployments.local.sandbox.app import create_app
from deployments.local.sandbox.options import Options
from deployments.local.sandbox.resources import RESOURCES
from deployments.local.sandbox.state import Sandbox

HOASEN, MINHTAM, BINHAN = DEMO_ACCOUNTS


def with_line(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy whose last line has other values; the value `...` takes a field away."""
    name = next(r.lines_field for r in RESOURCES.values() if r.lines_field in document)
    *others, last = document[name]
    changed = {key: value for key, value in {**last, **fields}.items() if value is not ...}
    return {**document, name: [*others, changed]}


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


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Caller:
    """Calls the sandbox in process, logged in as the first demo account."""

    def __init__(self, **options: Any) -> None:
        self.clock = HandClock()
        self.account = HOASEN
        app = create_app(Options(**options), clock=self.clock)
        self.sandbox: Sandbox = app.state.sandbox
        self.http = httpx.AsyncClient(
            transport=InProcessTransport(app), base_url="http://sandbox/api"
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        self.use_token(self.new_token())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    def new_token(self, account: SandboxAccount | None = None) -> str:
        account = account or self.account
        token = self.sandbox.sessions.log_in(account.usr, account.pwd, self.sandbox.options)
        assert token is not None
        return token

    def use_token(self, token: str | None) -> None:
        if token is None:
            self.http.headers.pop("Authorization", None)
        else:
            self.http.headers["Authorization"] = f"bearer {token}"

    async def log_in(self, usr: str = HOASEN.usr, pwd: str = HOASEN.pwd) -> httpx.Response:
        return await self.http.post("/tai_khoan/dang_nhap", json={"usr": usr, "pwd": pwd})

    async def post(self, resource: str, body: Any, **extra: Any) -> httpx.Response:
        return await self.http.post(f"/lien_thong/{resource}", json=body, **extra)

    async def put(self, resource: str, body: Any) -> httpx.Response:
        return await self.http.put(f"/lien_thong/{resource}", json=body)

    async def get(
        self, resource: str, code: str, ma_co_so: str = HOASEN.ma_co_so
    ) -> httpx.Response:
        return await self.http.get(document_path(resource, code, ma_co_so))

    async def delete(
        self, resource: str, code: str, ma_co_so: str = HOASEN.ma_co_so
    ) -> httpx.Response:
        return await self.http.delete(document_path(resource, code, ma_co_so))

    async def admin(self, method: str, path: str, **extra: Any) -> httpx.Response:
        return await self.http.request(method, f"http://sandbox/_sandbox{path}", **extra)

    async def fault(self, effect: str, **fields: Any) -> str:
        response = await self.admin("POST", "/faults", json={"effect": effect, **fields})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def counters(self, resource: str, code: str) -> dict[str, Any]:
        """Counters of one document of the account's facility."""
        found = [
            record.counters()
            for record in self.sandbox.documents
            if record.key == (resource, self.account.ma_co_so, code)
        ]
        assert len(found) == 1, f"{len(found)} records of {resource} {code}"
        return dict(found[0])


def document_path(resource: str, code: str, ma_co_so: str = HOASEN.ma_co_so) -> str:
    return f"/lien_thong/{resource}/{ma_co_so}/{quote(code, safe='')}"


def national_field(resource: str) -> str:
    return RESOURCES[resource].national_field
