"""A client of the sandbox for its own tests, and a clock that only they move."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, SandboxAccount
from deployments.local.sandbox.app import create_app
from deployments.local.sandbox.options import Options
from deployments.local.sandbox.resources import RESOURCES
from deployments.local.sandbox.state import Sandbox
from deployments.local.sandbox.transport import InProcessTransport

HOASEN, MINHTAM, BINHAN = DEMO_ACCOUNTS


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
