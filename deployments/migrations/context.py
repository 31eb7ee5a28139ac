"""Settings of a migration: the database, and the names of its tables and columns."""

from __future__ import annotations

from alembic.config import Config
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from lib.errors import ConfigurationError
from lib.settings import Settings, SourceSettings, explain, settings_file
from lib.settings.secret_references import is_reference

VERSION_TABLE = "dqg_alembic_version"
#: Seconds: building an index on a large table may take long.
STATEMENT_TIMEOUT = 3600


class _SourceOnly(BaseSettings):
    """The source settings alone: a migration needs neither MongoDB nor Redis."""

    model_config = SettingsConfigDict(
        env_prefix=Settings.model_config.get("env_prefix", ""),
        env_nested_delimiter=Settings.model_config.get("env_nested_delimiter"),
        env_file_encoding=Settings.model_config.get("env_file_encoding"),
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    source: SourceSettings


def source_settings(config: Config | None) -> SourceSettings:
    """The settings that a program passed, else those of the environment and the settings file.

    Raises:
        ConfigurationError: they are missing or wrong.
    """
    if config is None:
        raise ConfigurationError("migrations can be run only by alembic")
    settings: SourceSettings | None = config.attributes.get("settings")
    if settings is None:
        try:
            settings = _SourceOnly(_env_file=settings_file()).source
        except ValidationError as error:
            raise ConfigurationError(explain(error)) from None
        config.attributes["settings"] = settings
    return settings.model_copy(
        update={"statement_timeout": max(settings.statement_timeout, STATEMENT_TIMEOUT)}
    )


def source_url(config: Config) -> str | URL:
    """The database that a program passed, else that of the settings.

    Raises:
        ConfigurationError: there is none.
    """
    url: str | URL | None = config.attributes.get("url")
    if url is not None:
        return url
    secret = source_settings(config).url
    if secret is None or is_reference(secret):
        raise ConfigurationError(
            "migrations need the database URL itself in DQG_SOURCE__URL; they cannot read it "
            "from a Prefect block"
        )
    return secret.get_secret_value()
