"""The part of the Prefect server's REST API that the commands use.

Prefect's own client takes a second of CPU to import, which is most of the time of a command.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from deployments.cli.language import _
from lib.errors import ConfigurationError, StoreUnavailable
from lib.pipelines import PoolState

#: Seconds that a command waits for Prefect.
SECONDS = 15.0
#: Path of the UI that the server opens by default; the previous UI has another path.
UI_PATH = "/v2"
_TRUE = ("1", "true", "yes", "on")
_FORBIDDEN, _NOT_FOUND = 403, 404


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """An open connection. Its methods raise httpx's errors, which `prefect_errors` translates."""

    _client: httpx.AsyncClient

    async def get(self, path: str, **parameters: str) -> Any:
        """The JSON at this path; None if the server answers 404."""
        return self._values(await self._client.get(path, params=parameters))

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a query or a change; None if the server answers 404."""
        response = await self._client.post(path, json=body)
        if _wants_token(response):
            client_id = str(uuid4())
            token = (await self.get("/csrf-token", client=client_id))["token"]
            headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client_id}
            response = await self._client.post(path, json=body, headers=headers)
        return self._values(response)

    async def is_protected(self) -> bool:
        """Whether a change needs a CSRF token; sends a query without one."""
        return _wants_token(await self._client.post("/block_types/filter", json={"limit": 1}))

    @staticmethod
    def _values(response: httpx.Response) -> Any:
        return None if response.status_code == _NOT_FOUND else response.raise_for_status().json()


def _wants_token(response: httpx.Response) -> bool:
    return response.status_code == _FORBIDDEN and "csrf" in response.text.lower()


@asynccontextmanager
async def open_prefect(seconds: float = SECONDS) -> AsyncIterator[PrefectApi]:
    """Connects to the server of PREFECT_API_URL for the duration of the block.

    Raises:
        ConfigurationError, StoreUnavailable: as `prefect_errors`.
    """
    async with prefect_errors(seconds):
        settings = read_prefect_settings()
        async with _make_client(settings) as client:
            yield PrefectApi(client)


def _make_client(settings: Mapping[str, str]) -> httpx.AsyncClient:
    headers = dict(json.loads(settings.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}"))
    login: tuple[str, str] | None = None
    if key := settings.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif text := settings.get("PREFECT_API_AUTH_STRING"):
        user, _separator, password = text.partition(":")
        login = (user, password)
    verify: ssl.SSLContext | bool = True
    if settings.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in _TRUE:
        verify = False
    elif file := settings.get("PREFECT_API_SSL_CERT_FILE"):
        verify = ssl.create_default_context(cafile=file)
    return httpx.AsyncClient(
        base_url=settings["PREFECT_API_URL"],
        auth=login,
        headers=headers,
        verify=verify,
        timeout=SECONDS,
    )


@asynccontextmanager
async def prefect_errors(seconds: float = SECONDS) -> AsyncIterator[None]:
    """Translates errors of Prefect's API, and limits the body to this number of seconds.

    Raises:
        ConfigurationError: no server is set. Prefect would start an empty one.
        StoreUnavailable: it cannot be reached or does not answer.
    """
    if not read_prefect_settings().get("PREFECT_API_URL"):
        raise ConfigurationError(
            _("PREFECT_API_URL is not set: it must be the address of the Prefect server")
        )
    try:
        async with asyncio.timeout(seconds):
            yield
    except httpx.HTTPStatusError as error:
        raise StoreUnavailable("Prefect", f"HTTP {error.response.status_code}") from None
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Prefect", type(error).__name__) from None


def read_prefect_settings() -> Mapping[str, str]:
    """Prefect's settings by variable; the environment overrides Prefect's active profile.

    If these name no server, or Prefect is already imported, its current settings are used.
    """
    found = {**_profile(os.environ), **os.environ}
    if "prefect" in sys.modules or not found.get("PREFECT_API_URL"):
        from prefect.settings import get_current_settings

        found = get_current_settings().to_environment_variables(
            exclude_unset=True, include_secrets=True
        )
    return found


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    home = environment.get("PREFECT_HOME") or "~/.prefect"
    file = Path(environment.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml").expanduser()
    if not file.is_file():
        return {}
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    active = environment.get("PREFECT_PROFILE") or found.get("active")
    profile = found.get("profiles", {}).get(active, {})
    return {name: str(value) for name, value in profile.items()}


def run_url(run_id: str | None, *, is_task: bool = False) -> str | None:
    """Address of a run in the server's default UI; None if it is not known."""
    settings = read_prefect_settings()
    ui = settings.get("PREFECT_UI_URL") or ""
    if not ui:
        ui = settings.get("PREFECT_API_URL", "").rstrip("/").removesuffix("/api")
    if not ui or not run_id:
        return None
    kind = "task-run" if is_task else "flow-run"
    return f"{ui.rstrip('/').removesuffix(UI_PATH)}{UI_PATH}/runs/{kind}/{run_id}"


# -- work pools ------------------------------------------------------------------------------------


async def read_pools(names: list[str]) -> dict[str, PoolState | None]:
    """The work pools; None for one that does not exist.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    async with open_prefect() as prefect:
        return dict(
            zip(
                names,
                await asyncio.gather(*(_read_pool(prefect, name) for name in names)),
                strict=True,
            )
        )


async def _read_pool(prefect: PrefectApi, name: str) -> PoolState | None:
    pool = await prefect.get(f"/work_pools/{name}")
    if pool is None:
        return None
    workers: int | None = None
    # Push and managed pools have no workers: a service of their platform starts the runs.
    if not pool["type"].endswith((":push", ":managed")):
        query = {"workers": {"status": {"any_": ["ONLINE"]}}}
        workers = len(await prefect.post(f"/work_pools/{name}/workers/filter", query) or ())
    return PoolState(
        paused=pool["is_paused"], workers=workers, concurrency_limit=pool["concurrency_limit"]
    )
