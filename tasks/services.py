"""Opens the services of a run from settings and, where one is named, a Prefect block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from sqlalchemy import URL

from lib import services as lib_services
from lib.errors import ConfigurationError
from lib.services import Services
from lib.settings import Settings, load_settings

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
    settings = load_settings()
    async with lib_services.open_services(settings, await source_url(settings)) as services:
        reset = _current.set(services)
        try:
            yield services
        finally:
            _current.reset(reset)


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
