"""Every setting, in one frozen object read from the environment (prefix `DQG_`) or a `.env` file.

Nested settings join their names with two underscores: `DQG_SOURCE__URL` is `source.url`.
This module opens no connection, and reads nothing before `load_settings` is called.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lib.errors import ConfigurationError
from lib.settings.operation import (
    AlertRoute,
    AlertSettings,
    CliSettings,
    CloseSettings,
    ConsoleSettings,
    MetricsSettings,
    WarmStartSettings,
)
from lib.settings.sending import (
    ApiSettings,
    BreakerSettings,
    EmptyOptional,
    Fractions,
    Granularity,
    RateSettings,
    SyncSettings,
)
from lib.settings.stores import MongoSettings, RedisSettings, SourceSettings
from lib.words.language import Language

__all__ = [
    "AlertRoute",
    "AlertSettings",
    "ApiSettings",
    "BreakerSettings",
    "CliSettings",
    "CloseSettings",
    "ConsoleSettings",
    "EmptyOptional",
    "Fractions",
    "Granularity",
    "Language",
    "MetricsSettings",
    "MongoSettings",
    "RateSettings",
    "RedisSettings",
    "Settings",
    "SourceSettings",
    "SyncSettings",
    "WarmStartSettings",
    "as_environment",
    "environment_name",
    "explain",
    "load_settings",
    "settings_file",
]

#: Names the settings file to read; the only `DQG_` variable that is not a setting.
ENV_FILE_VARIABLE = "DQG_ENV_FILE"


class Settings(BaseSettings):
    """All settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="DQG_",
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    source: SourceSettings
    mongo: MongoSettings
    redis: RedisSettings
    api: ApiSettings = Field(default_factory=ApiSettings)
    sync: SyncSettings = Field(default_factory=SyncSettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    rate: RateSettings = Field(default_factory=RateSettings)
    cli: CliSettings = Field(default_factory=CliSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    warm_start: WarmStartSettings = Field(default_factory=WarmStartSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    close: CloseSettings = Field(default_factory=CloseSettings)

    @model_validator(mode="after")
    def _a_source(self) -> Settings:
        if (self.source.url is None) == (self.source.block is None):
            raise ValueError("set exactly one of DQG_SOURCE__URL and DQG_SOURCE__BLOCK")
        return self


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; precedence: `overrides`, then the environment, then a `.env` file.

    DQG_ENV_FILE names another file; if it is empty, no file is read.

    Raises:
        ConfigurationError: something is missing or wrong. Its text names each setting, and never
            shows a value.
    """
    file = settings_file()
    unknown = _unknown_names({*os.environ, *(dotenv_values(file) if file else ())})
    if unknown:
        raise ConfigurationError("\n".join(["unknown settings:", *map(_suggestion, unknown)]))
    try:
        return Settings(_env_file=file, **overrides)
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None


def settings_file() -> Path | None:
    """The file that settings are read from, if it exists."""
    name = os.environ.get(ENV_FILE_VARIABLE, ".env")
    return Path(name) if name and Path(name).is_file() else None


@cache
def _known_names() -> tuple[str, ...]:
    return tuple(
        environment_name((section, name))
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    )


def _unknown_names(given: Iterable[str]) -> list[str]:
    """`DQG_` names that are not settings; `SETTING__PART` is allowed, for a part of a setting."""
    known = set(_known_names())
    return sorted(
        name
        for name in given
        if name.upper().startswith("DQG_")
        and name != ENV_FILE_VARIABLE
        and not {name.upper(), *_beginnings(name.upper())} & known
    )


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split("__")
    return ("__".join(parts[:length]) for length in range(2, len(parts)))


def _suggestion(name: str) -> str:
    nearest = get_close_matches(name.upper(), _known_names(), n=1)
    return f"  {name}: did you mean {nearest[0]}?" if nearest else f"  {name}"


def environment_name(location: tuple[int | str, ...]) -> str:
    """Name of the environment variable for a field in the model."""
    return "DQG_" + "__".join(str(part).upper() for part in location)


def explain(error: ValidationError) -> str:
    """Each wrong or missing setting by its variable; shows no value."""
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        location, text = item["loc"], item["msg"]
        if item["type"] == "missing" and len(location) == 1:
            location, text = (*location, "url"), "is missing"
        name = environment_name(location) if location else "settings"
        lines.append(f"  {name}: {text}")
    return "wrong or missing settings:\n" + "\n".join(lines)


def as_environment(values: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """`{"source": {"url": …}}` as environment variables, for a process to be started."""
    return {
        environment_name((section, name)): str(value)
        for section, fields in values.items()
        for name, value in fields.items()
    }
