"""Migrations of the source database: `migrate` for programs, the `alembic` command for people."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL

from lib.settings import SourceSettings

BUSINESS = "business"
SYNC = "sync"

_INI = Path(__file__).parents[2] / "alembic.ini"


def migrate(url: str | URL, *branches: str, settings: SourceSettings | None = None) -> None:
    """Bring branches (`business`, `sync`) of a database to their newest revision, in this order.

    Idempotent. Leaves the caller's logging as it is.

    Raises:
        ConfigurationError: the database refuses the login or lacks one of the pharmacy's tables.
        StoreUnavailable: it cannot be reached.
    """
    config = alembic_config(url, settings)
    for branch in branches:
        command.upgrade(config, f"{branch}@head")


def alembic_config(url: str | URL, settings: SourceSettings | None = None) -> Config:
    """Alembic's configuration for one database, independent of the environment."""
    config = Config(_INI)
    config.attributes["url"] = url
    config.attributes["settings"] = settings or SourceSettings()
    return config
