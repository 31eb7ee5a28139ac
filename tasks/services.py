"""Opens the services of a run from settings and, where some are named, Prefect blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx
from sqlalchemy import URL

from lib import services as lib_services
from lib.errors import ConfigurationError, StoreUnavailable
from lib.services import Services
from lib.settings import Settings, environment_name, load_settings
from lib.settings.secret_references import SecretReference, find_references
from tasks.log_context import add_run_context

#: A run or a command waits so long for a block.
_BLOCK_SECONDS = 30.0

_current: ContextVar[Services] = ContextVar("current_services")


def current_services() -> Services:
    """The services of the run the caller belongs to.

    Tasks find them here, because a live client must not travel as a task parameter.

    Raises:
        LookupError: called outside `open_services`.
    """
    return _current.get()


@asynccontextmanager
async def open_services() -> AsyncIterator[Services]:
    """The services for the length of a run.

    Raises:
        ConfigurationError: settings are wrong or missing; its text names each.
        StoreUnavailable: the source database cannot be reached.
    """
    add_run_context()
    settings = await read_settings()
    async with lib_services.open_services(settings, await source_url(settings)) as services:
        reset = _current.set(services)
        try:
            yield services
        finally:
            _current.reset(reset)


async def read_settings() -> Settings:
    """The settings, with the secrets that are kept in Secret blocks of the Prefect server.

    Raises:
        ConfigurationError: settings are wrong or missing, or there is no such block.
        StoreUnavailable: a block is named, and the Prefect server cannot be asked.
    """
    settings = load_settings()
    secrets: dict[str, dict[str, str]] = {}
    for reference in find_references(dict(settings)):
        section = secrets.setdefault(reference.section, {})
        section[reference.field] = await _read_secret(reference)
    return load_settings(**secrets) if secrets else settings


async def _read_secret(reference: SecretReference) -> str:
    # Only installations with such a block pay for these imports.
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL

    variable = environment_name((reference.section, reference.field))
    if not PREFECT_API_URL.value():
        # Prefect would start a server of its own, without any block.
        raise ConfigurationError(f"{variable} names a Secret block, and PREFECT_API_URL is not set")
    try:
        async with asyncio.timeout(_BLOCK_SECONDS):
            block = await Secret.aload(reference.block)
    except ValueError:
        raise ConfigurationError(
            f"{variable}: there is no Secret block {reference.block!r}"
        ) from None
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Prefect", f"{variable}: {type(error).__name__}") from None
    # Not `block.get()`: that reads the text as JSON, and makes a number of a password of digits.
    value = block.value.get_secret_value()
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{variable}: Secret block {reference.block!r} holds no text")
    return value


async def source_url(settings: Settings) -> str | URL:
    """The source database's address, from the settings or from a SqlAlchemyConnector block.

    Raises:
        ConfigurationError: there is no such block.
    """
    if settings.source.url is not None:
        return settings.source.url.get_secret_value()
    # Only installations with a block pay for this import.
    from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

    name = settings.source.block or ""
    try:
        block = await SqlAlchemyConnector.aload(name)
    except ValueError:
        raise ConfigurationError(
            f"DQG_SOURCE__BLOCK: there is no SqlAlchemyConnector block {name!r}"
        ) from None
    info = block.connection_info
    return info.create_url() if isinstance(info, ConnectionComponents) else str(info)
