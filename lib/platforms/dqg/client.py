"""HTTP to the national API: one connection pool a process, one login an account, no blind resend.

Every transport error becomes one of the project's types here, by what it says about the request:
before it left, nothing was stored (`Unavailable`); after that nobody knows (`OutcomeUnknown`).
Errors never carry a password, a token or a request body, nor the httpx error that holds them.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from lib.clock import Clock, utc_now
from lib.errors import (
    AccountRefused,
    ConfigurationError,
    OutcomeUnknown,
    SyncError,
    Unavailable,
)
from lib.models import Account
from lib.platforms.dqg.connections import Connections
from lib.platforms.dqg.interpret import parse_login
from lib.platforms.dqg.redaction import hide_secrets, printable, shorten
from lib.platforms.dqg.response import Answer, Reply
from lib.platforms.dqg.tokens import Token, TokenSource
from lib.platforms.platform import Gate, open_gate
from lib.settings import ApiSettings

_MAX_USERNAME = 50
_MAX_PASSWORD = 30
#: More than any real answer; what follows is not read.
_MAX_BODY = 1 << 20
_SHORT_WAITS = 2
#: With these the request has not left.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call about a document: it ended in a reply, in an error, or was cancelled."""

    at: datetime
    duration_ms: float
    reply: Reply | None
    error: SyncError | None


CallObserver = Callable[[Call], None]


class NationalApiClient:
    """The API's calls. Used as an async context manager, within one event loop.

    Args:
        transport: takes the network's place in tests.
        sleep: waits out a short Retry-After.
        clock: dates the calls.
    """

    def __init__(
        self,
        settings: ApiSettings,
        tokens: TokenSource,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock = utc_now,
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool; nothing is sent.

        Raises:
            ConfigurationError: an address or the file of the authority is unusable.
        """
        api = self._settings
        _check_address(api.base_url)
        self._http = httpx.AsyncClient(
            transport=self._transport or _connections(api),
            timeout=httpx.Timeout(
                connect=api.connect_timeout,
                read=api.read_timeout,
                write=api.read_timeout,
                pool=api.read_timeout,
            ),
            headers={"Accept": "application/json", "User-Agent": "dqg-sync"},
            # Accounts share the pool: a session cookie of one must never travel with another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def create(
        self,
        resource: str,
        body: Mapping[str, Any],
        account: Account,
        observe: CallObserver,
        gate: Gate = open_gate,
    ) -> Reply:
        """POST a document. Not to be repeated blindly after `OutcomeUnknown`.

        A 401 is answered by one new login and one repetition, a short Retry-After by waiting.

        Raises:
            Unavailable: the request did not leave, or no login was possible.
            OutcomeUnknown: it left, and no answer came.
            AccountRefused, WrongEndpoint: by the login.
            SyncError: whatever `gate` raised before anything was sent.
        """
        request = self._client.build_request("POST", self._url(resource), json=dict(body))
        return await self._authorised(request, account, observe, gate, lost=OutcomeUnknown)

    async def read(
        self,
        resource: str,
        ma_co_so: str,
        code: str,
        account: Account,
        observe: CallObserver,
        gate: Gate = open_gate,
    ) -> Reply:
        """GET a document by its facility's and its own code. May be repeated.

        Raises:
            Unavailable: no answer came, or no login was possible.
            AccountRefused, WrongEndpoint: by the login.
            SyncError: whatever `gate` raised before anything was sent.
        """
        url = f"{self._url(resource)}/{_segment(ma_co_so)}/{_segment(code)}"
        request = self._client.build_request("GET", url)
        return await self._authorised(request, account, observe, gate, lost=Unavailable)

    async def login(self, account: Account) -> Token:
        """Log in, once: a refused login is never repeated here, for the account may get locked.

        Raises:
            AccountRefused: the credentials were refused, or can never be right.
            Unavailable: no usable answer came.
            WrongEndpoint: there is no login at this address.
        """
        password = account.password.get_secret_value()
        if not account.username.strip() or not password:
            raise AccountRefused("login: user name or password is blank")
        if len(account.username) > _MAX_USERNAME:
            raise AccountRefused(f"login: the user name is longer than {_MAX_USERNAME} characters")
        if len(password) > _MAX_PASSWORD:
            raise AccountRefused(f"login: the password is longer than {_MAX_PASSWORD} characters")
        request = self._client.build_request(
            "POST",
            f"{self._settings.base_url}/tai_khoan/dang_nhap",
            json={"usr": account.username, "pwd": password},
        )
        reply = await self._exchange(request, lost=Unavailable)
        return parse_login(reply.status, reply.body, reply.headers, secrets=(password,))

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            raise RuntimeError("NationalApiClient is used outside of its `async with`")
        return self._http

    def _url(self, resource: str) -> str:
        return f"{self._settings.base_url}/lien_thong/{resource}"

    async def _authorised(
        self,
        request: httpx.Request,
        account: Account,
        observe: CallObserver,
        gate: Gate,
        *,
        lost: type[SyncError],
    ) -> Reply:
        """Send with a token; a token that turns out to be stale is replaced once."""
        logged_in = False

        async def login(account: Account) -> Token:
            nonlocal logged_in
            logged_in = True
            return await self.login(account)

        token = await self._tokens.get(account, login)
        reply = await self._patiently(request, account, token, observe, gate, lost)
        if Answer(reply).status != 401:
            return reply
        await self._tokens.drop(account, token)
        if logged_in:  # a brand-new token was refused: another login would change nothing
            return reply
        token = await self._tokens.get(account, login)
        reply = await self._patiently(request, account, token, observe, gate, lost)
        if Answer(reply).status == 401:
            await self._tokens.drop(account, token)
        return reply

    async def _patiently(
        self,
        request: httpx.Request,
        account: Account,
        token: str,
        observe: CallObserver,
        gate: Gate,
        lost: type[SyncError],
    ) -> Reply:
        """Send, and send again after a short wait where the server asks for one."""
        # RFC 6750 spells it "Bearer"; every live caller of this API writes it in lower case.
        request.headers["Authorization"] = f"bearer {token}"
        slots = self._slots.setdefault(
            account.key, asyncio.Semaphore(self._settings.max_per_account)
        )
        waits = 0
        reply: Reply | None = None
        while True:
            async with slots:
                try:
                    await gate()
                except SyncError:
                    if reply is None:
                        raise
                    return reply  # what the server said of the first try is what is known
                reply = await self._observed(request, token, observe, lost)
            wait = _short_wait(reply, self._settings.short_retry_after)
            if wait is None or waits == _SHORT_WAITS:
                return reply
            waits += 1
            await self._sleep(wait)

    async def _observed(
        self, request: httpx.Request, token: str, observe: CallObserver, lost: type[SyncError]
    ) -> Reply:
        at, started = self._clock(), time.perf_counter()
        reply: Reply | None = None
        failure: SyncError | None = None
        try:
            reply = await self._exchange(request, lost)
            # A server that quotes the token in its answer must not get it into our records.
            body = hide_secrets(reply.body.decode("latin-1"), (token,)).encode("latin-1")
            return Reply(reply.status, reply.headers, body)
        except SyncError as error:
            failure = error
            raise
        finally:
            observe(Call(at, (time.perf_counter() - started) * 1000, reply, failure))

    async def _exchange(self, request: httpx.Request, lost: type[SyncError]) -> Reply:
        """One request and its answer; `lost` is raised where the request left without one."""
        api = self._settings
        # The read timeout counts from byte to byte: a trickling answer needs an end of its own.
        longest = api.connect_timeout + 3 * api.read_timeout
        try:
            async with asyncio.timeout(longest):
                response = await self._client.send(request, stream=True)
                try:
                    body = await _beginning(response)
                finally:
                    await response.aclose()
            return Reply(response.status_code, dict(response.headers.items()), body)
        except _NOT_SENT as error:
            failure: SyncError = Unavailable(f"cannot reach the national API: {_name(error)}")
        except (httpx.HTTPError, TimeoutError) as error:
            failure = lost(f"no answer from the national API: {_name(error)}")
        # Raised here, where the httpx error with the request in it is no longer attached.
        raise failure


async def _beginning(response: httpx.Response) -> bytes:
    """The body up to a bound."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= _MAX_BODY:
            break
    return bytes(body[:_MAX_BODY])


def _short_wait(reply: Reply, longest: float) -> float | None:
    """Seconds to wait before the same call is sent again, None if it should not be."""
    answer = Answer(reply)
    if answer.status not in (408, 425, 429, 503):
        return None
    wait = answer.retry_after
    return wait if wait is not None and wait <= longest else None


def _segment(code: str) -> str:
    """A code as one segment of a path; one of dots alone would be taken for a way upwards."""
    quoted = quote(code, safe="")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted


def _name(error: Exception) -> str:
    """Kind of a transport error; the system's words only where they cannot quote a request."""
    kind = type(error).__name__
    if isinstance(error, httpx.ConnectError) and str(error):
        return f"{kind} ({shorten(printable(str(error)), 200)})"
    return kind


def _check_address(address: str) -> None:
    try:
        httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"DQG_API__BASE_URL is no usable address: {error}") from error


def _connections(api: ApiSettings) -> Connections:
    proxy, trust = _proxy(api), _trust(api)
    one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return Connections(
        lambda: httpx.AsyncHTTPTransport(verify=trust, proxy=proxy, limits=one, trust_env=False),
        api.max_connections,
    )


def _proxy(api: ApiSettings) -> httpx.Proxy | None:
    if api.proxy is None:
        return None
    try:
        return httpx.Proxy(api.proxy.get_secret_value())
    except (ValueError, httpx.InvalidURL):
        # The error quotes the address, which may hold a password.
        raise ConfigurationError("DQG_API__PROXY is not a usable proxy address") from None


def _trust(api: ApiSettings) -> ssl.SSLContext:
    """The public authorities, and the private one of the settings beside them."""
    context = httpx.create_ssl_context(trust_env=False)
    if api.ca_file is not None:
        try:
            context.load_verify_locations(cafile=api.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"DQG_API__CA_FILE cannot be used: {type(error).__name__}"
            ) from error
    return context
