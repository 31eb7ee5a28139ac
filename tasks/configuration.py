"""The settings of a process, including those stored in blocks of the Prefect server.

Prefect is imported only if a setting names a block.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from sqlalchemy import URL

from lib.errors import ConfigurationError, StoreUnavailable
from lib.settings import Settings, environment_name, load_settings
from lib.settings.secret_references import SecretReference, find_references

#: Seconds a run or a command waits for a block.
_BLOCK_SECONDS = 30.0


async def read_settings() -> Settings:
    """The settings, with the secrets that are stored in Secret blocks of the Prefect server.

    Raises:
        ConfigurationError: settings are wrong or missing, or there is no such block.
        StoreUnavailable: a setting names a block, and the Prefect server cannot be reached.
    """
    settings = load_settings()
    secrets: dict[str, dict[str, str]] = {}
    for reference in find_references(dict(settings)):
        section = secrets.setdefault(reference.section, {})
        section[reference.field] = await _read_secret(reference)
    return load_settings(**secrets) if secrets else settings


async def _read_secret(reference: SecretReference) -> str:
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL

    variable = environment_name((reference.section, reference.field))
    if not PREFECT_API_URL.value():
        # Prefect would start a separate server, without any block.
        raise ConfigurationError(
            f"{variable} refers to a Secret block, but PREFECT_API_URL is not set"
        )
    try:
        async with asyncio.timeout(_BLOCK_SECONDS):
            block: Any = await Secret.aload(reference.block)
    except ValueError:
        raise ConfigurationError(
            f"{variable}: there is no Secret block {reference.block!r}"
        ) from None
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Prefect", f"{variable}: {type(error).__name__}") from None
    # Not `block.get()`: it parses the text as JSON, so a password of digits becomes a number.
    value = block.value.get_secret_value()
    if not isinstance(value, str) or not value:
        raise ConfigurationError(
            f"{variable}: Secret block {reference.block!r} does not contain a text"
        )
    return value


async def source_url(settings: Settings) -> str | URL:
    """The source database's address, from the settings or from a SqlAlchemyConnector block.

    Raises:
        ConfigurationError: there is no such block.
    """
    if settings.source.url is not None:
        return settings.source.url.get_secret_value()
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
