"""The language `dqg` speaks: English texts in the code, their Vietnamese in `vietnamese/`.

Every text a person reads is written `_("{count} failures", count=3)`. Its Vietnamese stands in the
module of `deployments/cli/vietnamese/` named like the command's; a module that is added there is
found by itself. JSON keys, states, classes and codes are the same in every language.
"""

from __future__ import annotations

import inspect
import os
import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from typer.core import TyperGroup

from deployments.cli import vietnamese
from lib.settings import ENV_FILE_VARIABLE, CliSettings, Language

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")

_current = Language.ENGLISH


class _LanguageSetting(BaseSettings):
    """The one setting that is needed before the others are known to be right."""

    model_config = SettingsConfigDict(
        env_prefix="DQG_", env_nested_delimiter="__", env_file_encoding="utf-8", extra="ignore"
    )
    cli: CliSettings = CliSettings()


def load_language() -> Language:
    """The language that is set; English where the setting is wrong, which the command then says."""
    env_file = os.environ.get(ENV_FILE_VARIABLE, ".env") or None
    try:
        return _LanguageSetting(_env_file=env_file).cli.language  # type: ignore[call-arg]
    except ValidationError:
        return Language.ENGLISH


def use_language(language: Language) -> None:
    """From now on `_` answers in this language."""
    global _current  # noqa: PLW0603 - one command, one language
    _current = language


def _(text: str, /, **values: object) -> str:
    """The text in the current language, its placeholders filled.

    A text without a translation is shown in English.
    """
    if _current is Language.VIETNAMESE:
        text = catalogue().get(text, text)
    return text.format(**values) if values else text


def N_(text: str) -> str:
    """Marks a text that is translated later, where it is used: `_(text)`."""
    return text


@cache
def catalogue() -> dict[str, str]:
    """English to Vietnamese, of all modules of `vietnamese`."""
    texts: dict[str, str] = {}
    for module in iter_modules(vietnamese.__path__, vietnamese.__name__ + "."):
        texts |= import_module(module.name).TEXTS
    return texts


def help_key(text: str) -> str:
    """A docstring or help text as the catalogue has it: a paragraph a line."""
    return _LINE_BREAK.sub(" ", inspect.cleandoc(text).split("\f")[0].strip())


class TranslatedGroup(TyperGroup):
    """The whole command line: sets the language before anything is read, and speaks it in helps."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        use_language(load_language())
        _translate_help(self)
        return super().make_context(*arguments, **options)


def _translate_help(command: Any) -> None:
    for part in (command, *command.params):
        if getattr(part, "help", None):
            part.help = _(help_key(part.help))
    for subcommand in getattr(command, "commands", {}).values():
        _translate_help(subcommand)
