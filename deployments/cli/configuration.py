"""`dqg config show`: every setting with its current value and its origin; secrets are hidden."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource
from rich.text import Text

from deployments.cli.context import AsJson, print_json, run
from deployments.cli.language import N_, _, _n
from deployments.cli.masking import HIDDEN, masked_url
from deployments.cli.output import code, console, table, text
from lib.settings import Settings, environment_name, load_settings, settings_file
from lib.settings.secret_references import is_reference

app = typer.Typer(help="The settings.", no_args_is_help=True)

#: Labels of the origins of values.
_ORIGINS = {
    "default": N_("default"),
    "environment": N_("environment"),
    "file": N_("file"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting.

    Attributes:
        value: in the format of an environment variable, without secrets; None if not set.
        origin: `default`, `environment` or `file`.
    """

    variable: str
    value: str | None
    origin: str


@app.command("show")
def show(
    changed: Annotated[
        bool, typer.Option("--changed", help="only settings that differ from the default")
    ] = False,
    json: AsJson = False,
) -> None:
    """Every setting with its value and where it comes from; passwords are hidden."""
    run(_show(changed, json), as_json=json)


async def _show(changed: bool, json: bool) -> int:
    path = settings_file()
    found = [
        setting for setting in read_configuration() if not (changed and setting.origin == "default")
    ]
    if json:
        file = None if path is None else str(path.absolute())
        print_json({"file": file, "settings": [asdict(setting) for setting in found]})
        return 0
    out = console()
    out.print(
        table(
            _n("{count} setting", "{count} settings", len(found)),
            [code(_("setting")), text(_("value")), code(_("origin"), 1)],
            [(s.variable, s.value, _(_ORIGINS[s.origin])) for s in found],
        )
    )
    if path is None:
        out.print(Text(_("There is no settings file.")))
    else:
        out.print(Text(_("Settings file: {path}", path=path.absolute())), soft_wrap=True)
    return 0


#: Settings that are secret because they are addresses that may contain a password.
_ADDRESSES = frozenset({"url", "proxy"})


def read_configuration() -> list[Shown]:
    """Every setting, in the order of the model.

    Raises:
        ConfigurationError: settings are wrong; the message names each of them.
    """
    settings = load_settings()
    in_environment: Mapping[str, Any] = EnvSettingsSource(Settings)()
    path = settings_file()
    in_file: Mapping[str, Any] = (
        {} if path is None else DotEnvSettingsSource(Settings, env_file=path)()
    )
    return list(_shown(settings, in_environment, in_file))


def _shown(
    settings: Settings, in_environment: Mapping[str, Any], in_file: Mapping[str, Any]
) -> Iterator[Shown]:
    for section in type(settings).model_fields:
        values = getattr(settings, section)
        for name in type(values).model_fields:
            if name in in_environment.get(section, {}):
                origin = "environment"
            elif name in in_file.get(section, {}):
                origin = "file"
            else:
                origin = "default"
            yield Shown(
                environment_name((section, name)), as_text(name, getattr(values, name)), origin
            )


def as_text(name: str, value: Any) -> str | None:
    """The value of a setting in the format of an environment variable, with secrets hidden.

    Args:
        name: name of the setting, without its section: only some secrets are addresses.
    """
    if isinstance(value, SecretStr):
        if is_reference(value):
            return value.get_secret_value()
        return masked_url(value.get_secret_value()) if name in _ADDRESSES else HIDDEN
    if isinstance(value, str) and not isinstance(value, Enum):
        return masked_url(value) if "://" in value and "@" in value else value
    return _text(value)


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case Enum():
            return str(value.value)
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case tuple() | list() | dict():
            return json_module.dumps(value, ensure_ascii=False, default=lambda secret: HIDDEN)
        case _:
            return str(value)
