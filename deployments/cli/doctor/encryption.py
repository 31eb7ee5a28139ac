"""Check of connections without encryption, and of a Prefect server without protection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from prefect.settings import PREFECT_API_URL
from pymongo.uri_parser import parse_uri
from sqlalchemy import URL

from deployments.cli.doctor.findings import DoctorContext, Finding, note, ok
from deployments.cli.language import _
from deployments.cli.prefect_api import open_prefect
from lib.errors import SyncError
from lib.settings import MongoSettings, RedisSettings

_ENCRYPTED_POSTGRESQL = {"require", "verify-ca", "verify-full"}
#: Origin of a page of another site.
_FOREIGN = "https://elsewhere.invalid"
_PLAIN_SQL_SERVER = {"no", "optional", "false"}


async def check_encryption(context: DoctorContext) -> Sequence[Finding]:
    """Stores and server on other hosts use TLS, and the Prefect server asks for a password."""
    settings = context.settings
    plain = [
        *_plain_source(context.engine.url),
        *_plain_mongo(settings.mongo),
        *_plain_redis(settings.redis),
    ]
    todo = _("enable TLS on that server and in the address")
    found = [
        note(
            _("{variable}: the connection to {host} is not encrypted", variable=v, host=host), todo
        )
        for v, host in plain
    ]
    return [*found, *await prefect_exposure()] or [
        ok(_("all connections to other hosts are encrypted"))
    ]


def is_local_host(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host in ("", "localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


def _plain_source(url: URL) -> Iterator[tuple[str, str]]:
    host = url.host or ""
    if url.get_backend_name() == "postgresql":
        plain = url.query.get("sslmode") not in _ENCRYPTED_POSTGRESQL
    else:
        given = {key.lower(): str(value).lower() for key, value in url.query.items()}
        plain = given.get("encrypt", "yes") in _PLAIN_SQL_SERVER
    if plain and not is_local_host(host):
        yield "DQG_SOURCE__URL", host


def _plain_mongo(settings: MongoSettings) -> Iterator[tuple[str, str]]:
    address = settings.url.get_secret_value()
    if address.startswith("mongodb+srv://"):
        return  # encrypted unless it is disabled there; parsing it would query the DNS
    parsed = parse_uri(address)
    if parsed["options"].get("tls"):
        return
    for host, _port in parsed["nodelist"]:
        if not is_local_host(host):
            yield "DQG_MONGO__URL", host


def _plain_redis(settings: RedisSettings) -> Iterator[tuple[str, str]]:
    address = urlsplit(settings.url.get_secret_value())
    host = address.hostname or ""
    if address.scheme == "redis" and not is_local_host(host):
        yield "DQG_REDIS__URL", host


async def prefect_exposure() -> Sequence[Finding]:
    """Protections that the Prefect server lacks against changes by others."""
    url = PREFECT_API_URL.value()
    if url is None:
        return []
    found: list[Finding] = []
    address = urlsplit(url)
    host = address.hostname or ""
    if address.scheme == "http" and not is_local_host(host):
        text = _(
            "{variable}: the connection to {host} is not encrypted",
            variable="PREFECT_API_URL",
            host=host,
        )
        found.append(note(text, _("publish the server through a proxy with TLS")))
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{url}/admin/version", headers={"Origin": _FOREIGN})
        async with open_prefect() as prefect:
            is_protected = await prefect.is_protected()
    except (httpx.HTTPError, SyncError):
        return found  # the check prefect-server reports it
    if answer.headers.get("access-control-allow-origin") in ("*", _FOREIGN):
        text = _("pages of any site may call the Prefect server from a browser")
        todo = _("on the server, set PREFECT_SERVER_CORS_ALLOWED_ORIGINS to the address of its UI")
        found.append(note(text, todo))
    if not is_protected:
        text = _("the Prefect server accepts changes without a CSRF token")
        todo = _("on the server, set PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true")
        found.append(note(text, todo))
    if answer.is_success:
        text = _("the Prefect server asks for no password: all who reach it can run code")
        todo = _(
            "set PREFECT_SERVER_API_AUTH_STRING on the server, PREFECT_API_AUTH_STRING on clients"
        )
        found.append(note(text, todo))
    return found
