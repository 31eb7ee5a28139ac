"""HTTP to the national API: one connection pool per process, one login per account.

Every transport error is turned into one of the project's types here. Before the request was sent,
nothing was stored (`Unavailable`); after that it is not known (`OutcomeUnknown`). Errors never
contain a password, a token, a request body, or the httpx error that contains them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self
from urllib.parse import quote

import httpx

from lib.errors import AccountRefused, ConfigurationError, SyncError, Unavailable
from lib.models import Account
from lib.platforms.dqg.interpret import Token, parse_login
from lib.platforms.dqg.response import Reply
from lib.platforms.dqg.tokens import TokenCache
from lib.sanitize import MASK, hide_secrets, printable, shorten
from lib.settings import ApiSettings
from lib.settings.sending import is_http_address
from lib.words.language import N_, Phrase

_MAX_USERNAME = 50
_MAX_PASSWORD = 30
#: Larger than any real answer; bytes after it are not read.
_MAX_BODY = 1 << 20
#: Errors before the request was sent.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class NationalApiClient:
    """Requests, tokens and replies. Used as an async context manager, within one event loop.

    Args:
        transport: replaces the network in tests.
    """

    def __init__(
        self,
        settings: ApiSettings,
        tokens: TokenCache,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._transport = transport
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
            # Accounts share the pool: a session cookie of one must never be sent for another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def create(self, resource: str, body: Mapping[str, Any]) -> httpx.Request:
        """The request that creates a document; nothing is sent."""
        return self._client.build_request("POST", self._url(resource), json=dict(body))

    def replace(self, resource: str, body: Mapping[str, Any]) -> httpx.Request:
        """The request that replaces a document of the same code; nothing is sent."""
        return self._client.build_request("PUT", self._url(resource), json=dict(body))

    def read(self, resource: str, ma_co_so: str, code: str) -> httpx.Request:
        """The request that reads a document by its facility code and own code; nothing is sent."""
        url = f"{self._url(resource)}/{_segment(ma_co_so)}/{_segment(code)}"
        return self._client.build_request("GET", url)

    def slot(self, account: Account) -> asyncio.Semaphore:
        """Limits the concurrent calls of one account; to be held from permit to reply."""
        return self._slots.setdefault(
            account.key, asyncio.Semaphore(self._settings.max_per_account)
        )

    async def token(self, account: Account) -> tuple[str, bool]:
        """A token for the account's next call, and whether this caller has just logged in for it.

        Raises:
            AccountRefused, Unavailable, WrongEndpoint: see `login`.
        """
        logged_in = False

        async def login(account: Account) -> Token:
            nonlocal logged_in
            logged_in = True
            return await self.login(account)

        return await self._tokens.get(account, login), logged_in

    async def drop_token(self, account: Account, token: str) -> None:
        """Delete a token that the API refused. Idempotent."""
        await self._tokens.drop(account, token)

    async def send(self, request: httpx.Request, token: str, *, lost: type[SyncError]) -> Reply:
        """Sends one request with a token and returns its reply, whatever its status.

        Args:
            lost: raised if the request was sent and no reply arrived.

        Raises:
            Unavailable: the request was not sent.
        """
        # RFC 6750 writes "Bearer"; every production caller of this API writes it in lower case.
        request.headers["Authorization"] = f"bearer {token}"
        reply = await self._exchange(request, lost)
        # If a server repeats the token in its answer, it must not be stored in our records.
        body = hide_secrets(reply.body.decode("latin-1"), (token,)).encode("latin-1")
        for wide in ("utf-16-le", "utf-16-be"):
            body = body.replace(token.encode(wide), MASK.encode(wide))
        return Reply(reply.status, reply.headers, body)

    async def ensure_logged_in(self, account: Account) -> None:
        """Log in if no token is known. Idempotent.

        Raises:
            AccountRefused, Unavailable, WrongEndpoint: as `login`.
        """
        await self._tokens.get(account, self.login)

    async def login(self, account: Account) -> Token:
        """Log in, once: a refused login is never retried here, as the account may get locked.

        Raises:
            AccountRefused: the credentials were refused, or cannot be valid.
            Unavailable: no usable answer arrived.
            WrongEndpoint: there is no login at this address.
        """
        password = account.password.get_secret_value()
        if not account.username.strip() or not password:
            raise AccountRefused(Phrase("login: user name or password is blank"))
        if len(account.username) > _MAX_USERNAME:
            text = N_("login: the user name is longer than {most} characters")
            raise AccountRefused(Phrase(text, most=_MAX_USERNAME))
        if len(password) > _MAX_PASSWORD:
            text = N_("login: the password is longer than {most} characters")
            raise AccountRefused(Phrase(text, most=_MAX_PASSWORD))
        request = self._client.build_request(
            "POST",
            f"{self._settings.base_url}/tai_khoan/dang_nhap",
            json={"usr": account.username, "pwd": password},
        )
        reply = await self._exchange(request, lost=Unavailable)
        return parse_login(reply, secrets=(password,))

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            raise RuntimeError("NationalApiClient is used outside of its `async with`")
        return self._http

    def _url(self, resource: str) -> str:
        return f"{self._settings.base_url}/lien_thong/{resource}"

    async def _exchange(self, request: httpx.Request, lost: type[SyncError]) -> Reply:
        """Sends one request and returns its reply; raises `lost` if it was sent without a reply."""
        api = self._settings
        # The read timeout applies to each read: a slow stream of bytes needs a total timeout.
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
            why = Phrase("cannot reach the national API: {error}", error=_name(error))
            failure: SyncError = Unavailable(why)
        except SyncError:
            raise
        except Exception as error:
            failure = lost(Phrase("no answer from the national API: {error}", error=_name(error)))
        # Raised here, so that the httpx error, which contains the request, is not attached.
        raise failure


async def _beginning(response: httpx.Response) -> bytes:
    """The body, up to `_MAX_BODY` bytes."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= _MAX_BODY:
            break
    return bytes(body[:_MAX_BODY])


def _segment(code: str) -> str:
    """A code as one path segment; dots alone are escaped, as they could mean a parent folder."""
    quoted = quote(code, safe="")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted


def _name(error: Exception) -> str:
    """Type of a transport error; with the system's message only if it cannot quote a request."""
    kind = type(error).__name__
    if isinstance(error, httpx.ConnectError) and str(error):
        return f"{kind} ({shorten(printable(str(error)), 200)})"
    return kind


def _check_address(address: str) -> None:
    try:
        httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"DQG_API__BASE_URL is not a usable address: {error}") from error


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
    # Neither error shows the address, which may contain a password.
    wrong = ConfigurationError("DQG_API__PROXY is not a usable address of an http(s) proxy")
    address = api.proxy.get_secret_value()
    if not is_http_address(address):
        raise wrong
    try:
        return httpx.Proxy(address)
    except (ValueError, httpx.InvalidURL):
        raise wrong from None


def _trust(api: ApiSettings) -> ssl.SSLContext:
    """The public certificate authorities, and the private one of the settings."""
    context = httpx.create_ssl_context(trust_env=False)
    if api.ca_file is not None:
        try:
            context.load_verify_locations(cafile=api.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"DQG_API__CA_FILE cannot be used: {type(error).__name__}"
            ) from error
    return context


class Connections(httpx.AsyncBaseTransport):
    """A pool that gives each request a separate transport, the most recently used one first.

    httpcore's own pool checks every connection, with two system calls each, when a request begins
    and when it ends: at 64 connections that is most of the CPU time of sending a document.

    A transport is used again only after an exchange that ended cleanly: its response was read to
    the end, and no bytes followed that the next request would take for its answer.

    Raises the errors of the transports, and `httpx.PoolTimeout` for a request that waited for a
    transport longer than its timeout: then nothing was sent. Used within one event loop.

    Args:
        make: creates a transport for one connection.
        size: most concurrent requests, and therefore connections.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], size: int) -> None:
        self._make = make
        self._places = asyncio.Semaphore(size)
        self._all: set[httpx.AsyncBaseTransport] = set()
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`; closing the response frees the place in the pool."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("all connections are in use", request=request) from None
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
    # The transport is discarded, so an error does not matter.
    with contextlib.suppress(Exception):
        await transport.aclose()


def has_unread_bytes(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether a connection has read bytes after the answer: the next request would get them.

    httpcore itself closes an idle connection on which unread bytes have arrived.
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
    """A response's body that reports once when it is closed, and whether it was read completely."""

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
