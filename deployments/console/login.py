"""Logging in and out, and the choice of the language."""

from __future__ import annotations

import asyncio
from math import ceil

from fastapi import APIRouter, Request
from starlette.responses import Response

from deployments.console.sessions import new_session
from deployments.console.users import verify_password
from deployments.console.web import (
    LANGUAGE_COOKIE,
    SESSION_COOKIE,
    address_of,
    console_of,
    keep_session,
    own_path,
    page,
    read_form,
    read_session,
    redirect,
    set_cookie,
    user_of,
)
from lib.settings import Language
from lib.tracking.audit import Action, AuditEntry

router = APIRouter()

_YEAR = 365 * 24 * 3600
#: Limits password checks at the same time; each takes 32 MB.
_CHECKS_AT_ONCE = asyncio.Semaphore(4)
_LONGEST = 200


@router.get("/login")
async def show_login(request: Request) -> Response:
    session = read_session(request)
    if user_of(request, session) is not None:
        return redirect("/")
    return page(request, "login.html", session, values={"problem": None, "minutes": 0})


@router.post("/login")
async def log_in(request: Request) -> Response:
    session = read_session(request)
    form = await read_form(request, session)
    console = console_of(request)
    name = form.get("name", [""])[0].strip()[:_LONGEST]
    password = form.get("password", [""])[0][:_LONGEST]
    address = address_of(request)

    if wait := console.limiter.wait_seconds(address, name):
        values = {"problem": "wait", "minutes": ceil(wait / 60)}
        return page(request, "login.html", session, status=429, values=values)
    user = console.users.find(name)
    async with _CHECKS_AT_ONCE:
        stored = None if user is None else user.password
        good = await asyncio.to_thread(verify_password, password, stored)
    if user is None or not good:
        console.limiter.failed(address, name)
        # A password typed into the name field must not appear in the log.
        known = name if user is not None else ""
        await _note(request, AuditEntry(Action.LOGIN_REFUSED, known, detail=address))
        values = {"problem": "wrong", "minutes": 0}
        return page(request, "login.html", session, status=401, values=values)
    console.limiter.succeeded(address, name)
    await _note(request, AuditEntry(Action.LOGGED_IN, name, detail=address))
    response = redirect("/")
    keep_session(request, response, new_session(user))
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    await read_form(request, read_session(request))
    response = redirect("/login")
    response.delete_cookie(SESSION_COOKIE)
    return response


@router.post("/language")
async def choose_language(request: Request) -> Response:
    form = await read_form(request, read_session(request))
    response = redirect(own_path(form.get("next", ["/"])[0]))
    language = form.get("language", [""])[0]
    if language in list(Language):
        set_cookie(request, response, LANGUAGE_COOKIE, language, _YEAR)
    return response


async def _note(request: Request, entry: AuditEntry) -> None:
    """Records a login if possible: users can log in while MongoDB is unavailable."""
    stores = console_of(request).stores
    if stores is not None:
        await stores.audit.try_note(entry)
