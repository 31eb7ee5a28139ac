"""A platform over a scripted or a listening server, and what it did."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from lib.models import Acceptance, Account, Attempt, Payload
from lib.platforms.dqg.adapter import DqgPlatform
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.tokens import TokenCache
from lib.platforms.platform import Action, Lookup
from lib.settings import ApiSettings, RedisSettings

BASE = "https://api.example/v1/api"
NOW = datetime(2026, 11, 2, 18, 30, tzinfo=UTC)  # already the 3rd in Vietnam
PASSWORD = "matkhau-bi-mat"
BUYER = "Nguyễn Thị Mai"
NATIONAL = "QG-000777"
ACCEPTED = {"ma_hoa_don_quoc_gia": NATIONAL, "code": 200, "mess": "Thành công"}


def make_account(username: str = "demo_hoasen", password: str = PASSWORD) -> Account:
    return Account(username, SecretStr(password), key=f"key-of-{username}")


def make_payload(local_id: str = "HD-1") -> Payload:
    body = {
        "ma_hoa_don": local_id,
        "ma_co_so": "7907",
        "ho_ten_khach_hang": BUYER,
        "hoa": "Đà Nẵng",
    }
    return Payload("hoa_don", "7907", local_id, body)


Step = httpx.Response | Exception | Callable[[httpx.Request], Awaitable[httpx.Response]]


def answer(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, bytes):
        return httpx.Response(status, content=body, headers=names)
    return httpx.Response(status, json=body, headers=names)


class Server:
    """Stands for the API: answers documents by script, logins with token-1, token-2, ...

    Attributes:
        steps: answers to the document calls, in order; the last one is repeated.
        login: answer to every login, if it is not to succeed.
    """

    def __init__(self, *steps: Step, login: Step | None = None) -> None:
        self.steps = list(steps)
        self.login = login
        self.logins: list[httpx.Request] = []
        self.calls: list[httpx.Request] = []
        #: Authorization of each call, for a request sent twice is one object.
        self.authorizations: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tai_khoan/dang_nhap"):
            self.logins.append(request)
            return await self._play(self.login or self._token(), request)
        self.calls.append(request)
        self.authorizations.append(request.headers["authorization"])
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return await self._play(step, request)

    def _token(self) -> httpx.Response:
        return answer({"code": 200, "data": {"token": f"token-{len(self.logins)}"}})

    @staticmethod
    async def _play(step: Step, request: httpx.Request) -> httpx.Response:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            return httpx.Response(step.status_code, headers=step.headers, content=step.content)
        return await step(request)


async def allowed(_: Action) -> None:
    """Nothing is in the way of a call."""


class Rig:
    """A platform over a server, with what it waited for and what it noted.

    Attributes:
        permit: asked before each call; raises to hold it back.
        ensure_held: asked once more before the first byte of a call.
    """

    def __init__(self, client: NationalApiClient, api: ApiSettings) -> None:
        self.platform = DqgPlatform(client, api, clock=lambda: NOW, sleep=self._sleep)
        self.waits: list[float] = []
        self.attempts: list[Attempt] = []
        self.permit: Callable[[Action], Awaitable[None]] = allowed
        self.ensure_held: Callable[[], None] = lambda: None

    async def submit(
        self,
        payload: Payload | None = None,
        account: Account | None = None,
        *,
        unconfirmed: bool = False,
    ) -> Acceptance:
        return await self.platform.submit(
            payload or make_payload(), account or make_account(), self, unconfirmed=unconfirmed
        )

    async def look_up(self, payload: Payload | None = None) -> Acceptance | Lookup:
        return await self.platform.look_up(payload or make_payload(), make_account(), self)

    def note(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def outcomes(self) -> list[tuple[str, int | None, str | None]]:
        return [(a.action, a.http_status, a.error_class) for a in self.attempts]


@asynccontextmanager
async def rig(server: Server | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """A rig over a scripted server, or over the network if there is none."""
    api = ApiSettings(**{"base_url": BASE, **settings})
    redis = RedisSettings(url=SecretStr("redis://unused"))
    async with NationalApiClient(
        api,
        TokenCache(None, redis, api),
        transport=None if server is None else httpx.MockTransport(server),
    ) as client:
        yield Rig(client, api)


def everything_said(error: BaseException) -> str:
    """All texts of an error and of the errors behind it."""
    texts = traceback.format_exception(error)
    chain: BaseException | None = error
    while chain is not None:
        texts += [str(chain), repr(chain), repr(vars(chain))]
        chain = chain.__cause__ or chain.__context__
    return "".join(texts)


NOT_SENT = [
    httpx.ConnectError("Name or service not known"),
    httpx.ConnectTimeout("slow"),
    httpx.PoolTimeout("full"),
    httpx.ProxyError("407"),
]
LOST = [
    httpx.ReadTimeout("slow"),
    httpx.WriteTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("gone"),
    httpx.DecodingError("gzip"),
]


@asynccontextmanager
async def listening(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on this machine that answers each request with the next bytes and hangs up."""
    queue = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()  # nothing came over this connection
            return
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            ),
            0,
        )
        await reader.readexactly(length)
        writer.write(queue.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


def raw(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


LOGIN = raw(json.dumps({"code": 200, "data": {"token": "token-1"}}).encode())


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A private authority's certificate file, and a server's context that it vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    public = folder / "ca.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
