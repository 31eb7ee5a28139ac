"""The language of `dqg`: English texts in the code, Vietnamese in `locale/vi/LC_MESSAGES/dqg.po`.

Texts for people are written `_("not closed")`, with values `_("there is no table {table}",
table=name)`, and with a plural `_n("{count} failure", "{count} failures", count)`. `make messages`
brings new texts into the catalogue and compiles it. JSON keys, states, classes and codes are the
same in every language.

The catalogue is installed as the process's own (`gettext.textdomain`), so that Typer's texts are
translated as well.
"""

from __future__ import annotations

import gettext
import inspect
import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from typer.core import TyperGroup

from lib.settings import CliSettings, Language, settings_file

DOMAIN = "dqg"
LOCALE = Path(__file__).with_name("locale")

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")


class _LanguageSetting(BaseSettings):
    """The one setting that is needed before the others are known to be right."""

    model_config = SettingsConfigDict(
        env_prefix="DQG_", env_nested_delimiter="__", env_file_encoding="utf-8", extra="ignore"
    )
    cli: CliSettings = CliSettings()


def load_language() -> Language:
    """The language that is set; English where the setting is wrong, which the command reports."""
    try:
        return _LanguageSetting(_env_file=settings_file()).cli.language
    except ValidationError:
        return Language.ENGLISH


def use_language(language: Language) -> None:
    """Sets the language of this process. Idempotent."""
    gettext.bindtextdomain(DOMAIN, str(LOCALE))
    gettext.textdomain(DOMAIN)
    # gettext reads it at each text.
    os.environ["LANGUAGE"] = language


def current_language() -> Language:
    """The language that is set, for the words that `lib` has for every screen."""
    return Language(os.environ.get("LANGUAGE", Language.ENGLISH))


def _(text: str, /, **values: object) -> str:
    """The text in the current language, its placeholders filled.

    A text without a translation is shown in English.
    """
    # The translation of nothing is the head of the catalogue.
    text = gettext.gettext(text) if text else text
    return text.format(**values) if values else text


def _n(one: str, many: str, /, count: int, **values: object) -> str:
    """The text that fits the number, in the current language; its placeholder is `{count}`."""
    return gettext.ngettext(one, many, count).format(count=count, **values)


def N_(text: str) -> str:
    """Marks a text that is translated later, where it is used: `_(text)`."""
    return text


def help_key(text: str) -> str:
    """A docstring or help text as the catalogue has it: one line per paragraph."""
    return _LINE_BREAK.sub(" ", inspect.cleandoc(text).split("\f")[0].strip())


class TranslatedGroup(TyperGroup):
    """The whole command line: sets the language before anything is read, and translates helps."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        use_language(load_language())
        return super().make_context(*arguments, **options)

    def get_params(self, ctx: Any) -> list[Any]:
        _translate_help(self, ctx)
        return super().get_params(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _translate_help(command, ctx)
        return command


def _translate_help(command: Any, ctx: Any) -> None:
    for part in (command, *command.params, command.get_help_option(ctx)):
        if getattr(part, "help", None):
            part.help = _(help_key(part.help))
    for subcommand in getattr(command, "commands", {}).values():
        _translate_help(subcommand, ctx)
