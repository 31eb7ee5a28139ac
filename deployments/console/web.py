"""Shared by all pages of the console: the visitor, rights, forms, templates, headers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

from fastapi import HTTPException, Request
from jinja2 import Environment
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import HTMLResponse, RedirectResponse, Response

from deployments.console.access import RIGHTS, Right, Role, User
from deployments.console.sessions import (
    LoginLimiter,
    Session,
    SessionCookies,
    new_session,
    stamp_of,
)
from deployments.console.users import UsersFile
from lib.accounts import AccountDirectory
from lib.errors import SyncError
from lib.models import comparable
from lib.operations.operator import Operator
from lib.operations.send import StartRun
from lib.operations.status import ReadPools
from lib.operations.trace import ReadRuns
from lib.settings import ConsoleSettings, Language

SESSION_COOKIE = "dqg_session"
LANGUAGE_COOKIE = "dqg_language"
#: Bytes: enough for a form with every document of a large cause.
_LARGEST_FORM = 1_000_000
#: Bytes: enough for a workbook of one month of a large chain.
_LARGEST_UPLOAD = 32_000_000
#: Seconds for which names and accounts of shops are cached.
_SHOPS_SECONDS = 30.0
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Shop:
    """Code, name and phone number of a shop."""

    code: str
    name: str = ""
    phone: str = ""


class Shops(Mapping[str, Shop]):
    """Shops by code; a shop without an account has only its code."""

    def __init__(self, known: Mapping[str, Shop]) -> None:
        self._known = known
        self._by_code = {comparable(code): shop for code, shop in known.items()}

    def __getitem__(self, code: str) -> Shop:
        return self._by_code.get(comparable(code)) or Shop(code)

    def __iter__(self) -> Any:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(slots=True)
class Console:
    """The console of one process.

    Attributes:
        stores: opened when the application starts; `operator` refreshes their accounts.
    """

    settings: ConsoleSettings
    users: UsersFile
    cookies: SessionCookies
    environments: Mapping[Language, Environment]
    read_pools: ReadPools
    read_runs: ReadRuns
    start_run: StartRun
    limiter: LoginLimiter = field(default_factory=LoginLimiter)
    stores: Operator | None = None
    _shops: tuple[float, Operator, Shops] | None = None

    async def operator(self) -> tuple[Operator, Shops]:
        """The stores with the current accounts, and the shops that these belong to.

        Raises:
            StoreUnavailable: the source database is unavailable.
        """
        assert self.stores is not None, "the application has not started"  # noqa: S101
        now = time.monotonic()
        if self._shops is None or now - self._shops[0] > _SHOPS_SECONDS:
            rows = await asyncio.to_thread(self.stores.source.accounts.all)
            known = {
                row.shop_pharmacy_code.strip(): Shop(
                    row.shop_pharmacy_code.strip(), row.shop_name, row.phone_number
                )
                for row in rows
            }
            directory = AccountDirectory(rows, self.stores.settings.api)
            self._shops = (now, replace(self.stores, accounts=directory), Shops(known))
        return self._shops[1], self._shops[2]


@dataclass(frozen=True, slots=True)
class Visitor:
    """The user of a request, and the content of its form."""

    request: Request
    session: Session
    user: User
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    file: bytes = b""

    @property
    def console(self) -> Console:
        return console_of(self.request)

    def value(self, name: str) -> str:
        """A field of the form or of the address, without blanks at its ends; empty if missing."""
        found = self.form.get(name) or [self.request.query_params.get(name, "")]
        return found[0].strip()

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        return page(
            self.request, template, self.session, user=self.user, status=status, values=values
        )


def console_of(request: Request) -> Console:
    console: Console = request.app.state.console
    return console


def require(right: Right, *, upload: bool = False) -> Callable[[Request], Awaitable[Visitor]]:
    """A dependency: the visitor, logged in, with this right, and with a form of this session.

    Without a login it redirects to the login page, and without the right it answers 403.

    Args:
        upload: the form may have a file.
    """

    async def visitor(request: Request) -> Visitor:
        session = read_session(request)
        user = user_of(request, session)
        if user is None:
            raise NotLoggedIn
        form: Mapping[str, Sequence[str]] = {}
        file = b""
        if request.method == "POST":
            multipart = request.headers.get("content-type", "").startswith("multipart/form-data")
            if upload and multipart:
                form, file = await read_upload(request, session)
            else:
                form = await read_form(request, session)
        if not user.may(right):
            raise HTTPException(403)
        return Visitor(request, session, user, form, file)

    visitor.right = right  # type: ignore[attr-defined]
    return visitor


class NotLoggedIn(Exception):
    """The visitor has no session, or it has expired."""


def read_session(request: Request) -> Session:
    """The session of the cookie, or a new one without a user."""
    found = getattr(request.state, "session", None) or console_of(request).cookies.read(
        request.cookies.get(SESSION_COOKIE)
    )
    request.state.session = found or new_session()
    session: Session = request.state.session
    return session


def user_of(request: Request, session: Session) -> User | None:
    """The user who is logged in by a session or a trusted proxy, with the current role."""
    console = console_of(request)
    if (name := proxy_user(request)) is not None:
        return console.users.find(name)
    user = console.users.find(session.user) if session.user else None
    return user if user is not None and session.stamp == stamp_of(user) else None


def proxy_user(request: Request) -> str | None:
    """The user name from a trusted proxy; None if the header is missing or not trusted."""
    header = console_of(request).settings.proxy_header
    if header is None or not _is_from_proxy(request):
        return None
    return request.headers.get(header) or None


def address_of(request: Request) -> str:
    """The client's address; behind a trusted proxy, the address that the proxy reports."""
    address = request.client.host if request.client else ""
    if _is_from_proxy(request):
        seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return seen or address
    return address


def _is_from_proxy(request: Request) -> bool:
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    trusted = console_of(request).settings.trusted_proxies
    return any(address in network for network in trusted)


async def read_form(request: Request, session: Session) -> dict[str, list[str]]:
    """The fields of a form of this console.

    Raises:
        HTTPException: 400 if it does not have the session's token, 413 if it is too long.
    """
    body = b"".join([part async for part in _limited(request, _LARGEST_FORM)])
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    _check_token(form.get("csrf", [""])[0], session)
    return form


async def read_upload(request: Request, session: Session) -> tuple[dict[str, list[str]], bytes]:
    """The fields of a form of this console, and its file. Raises as `read_form`."""
    parts = MultiPartParser(
        request.headers, _limited(request, _LARGEST_UPLOAD), max_files=1, max_fields=10
    )
    try:
        form = await parts.parse()
    except MultiPartException:
        raise HTTPException(400) from None
    try:
        fields = {name: [value] for name, value in form.items() if isinstance(value, str)}
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        _check_token(fields.get("csrf", [""])[0], session)
        return fields, await files[0].read() if files else b""
    finally:
        await form.close()


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body in parts. Raises HTTPException 413 if it is longer than `most` bytes."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413)
        yield part


def _check_token(token: str, session: Session) -> None:
    if not secrets.compare_digest(token.encode(), session.csrf.encode()):
        raise HTTPException(400)


def language_of(request: Request) -> Language:
    try:
        return Language(request.cookies.get(LANGUAGE_COOKIE, ""))
    except ValueError:
        return console_of(request).settings.language


def page(
    request: Request,
    template: str,
    session: Session,
    *,
    user: User | None = None,
    status: int = 200,
    values: Mapping[str, Any] | None = None,
) -> HTMLResponse:
    """A rendered page; sets the session cookie if needed."""
    console = console_of(request)
    language = language_of(request)
    text = (
        console.environments[language]
        .get_template(template)
        .render(
            csrf=session.csrf,
            user=user,
            rights=RIGHTS[user.role] if user else frozenset(),
            own_shops_only=user is not None and user.role is Role.SHOP,
            language=language.value,
            path=request.url.path,
            by_proxy=proxy_user(request) is not None,
            **(values or {}),
        )
    )
    response = HTMLResponse(text, status, HEADERS)
    keep_session(request, response, session)
    return response


def keep_session(request: Request, response: Response, session: Session) -> None:
    """Set the session cookie if the browser does not have it yet."""
    console = console_of(request)
    if console.cookies.read(request.cookies.get(SESSION_COOKIE)) == session:
        return
    set_cookie(request, response, SESSION_COOKIE, console.cookies.write(session))


def set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int | None = None
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        # Browsers send no secure cookie over plain HTTP, and loopback addresses have no HTTPS.
        secure=request.url.hostname not in _LOOPBACK_NAMES,
    )


def redirect(path: str) -> RedirectResponse:
    """Redirects to a page of this console after a form."""
    return RedirectResponse(path, 303)


def own_path(path: str) -> str:
    """The path if it is one of this console, else its first page."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


async def error_page(request: Request, error: Exception) -> Response:
    """The error page; it does not show messages of a store."""
    if isinstance(error, NotLoggedIn):
        return redirect("/login")
    status = error.status_code if isinstance(error, HTTPException) else 500
    store = None
    if isinstance(error, SyncError):
        status, store = 503, getattr(error, "store", None)
    session = read_session(request)
    values = {"status": status, "store": store}
    return page(
        request,
        "error.html",
        session,
        user=user_of(request, session),
        status=status,
        values=values,
    )
