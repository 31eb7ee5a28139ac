"""The language of `dqg`: English texts in the code, Vietnamese in `locale/vi/LC_MESSAGES/dqg.po`.

Texts for people are written `_("not closed")`, with values `_("there is no table {table}",
table=name)`, and with a plural `_n("{count} failure", "{count} failures", count)`. `make messages`
adds new texts to the catalogue and compiles it. JSON keys, states, classes and codes are the
same in every language.

The catalogue is the default one of the process (`gettext.textdomain`), so that Typer's texts are
translated as well.
"""

from __future__ import annotations

import gettext
import inspect
import os
import re
from pathlib import Path

from lib.words.language import Language

DOMAIN = "dqg"
LOCALE = Path(__file__).with_name("locale")
ENGLISH = "en"
#: The variables of the language and of the settings file. They are read without the other settings,
#: which may be wrong, and which take time to import.
VARIABLE = "DQG_CLI__LANGUAGE"
FILE_VARIABLE = "DQG_ENV_FILE"

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")


def load_language() -> str:
    """The configured language; English if the setting is wrong, which the command reports."""
    found = os.environ.get(VARIABLE)
    file = os.environ.get(FILE_VARIABLE, ".env")
    if found is None and file and Path(file).is_file():
        from dotenv import dotenv_values

        found = dotenv_values(file).get(VARIABLE)
    return found if found and (LOCALE / found).is_dir() else ENGLISH


def use_language(language: str) -> None:
    """Sets the language of this process. Idempotent."""
    gettext.bindtextdomain(DOMAIN, str(LOCALE))
    gettext.textdomain(DOMAIN)
    # gettext reads this variable for each text.
    os.environ["LANGUAGE"] = language


def current_language() -> Language:
    """The configured language, for the texts of `lib`."""
    return Language(os.environ.get("LANGUAGE", Language.ENGLISH))


def _(text: str, /, **values: object) -> str:
    """The text in the current language, with its placeholders filled in.

    A text without a translation is shown in English.
    """
    # The translation of an empty text is the header of the catalogue.
    text = gettext.gettext(text) if text else text
    return text.format(**values) if values else text


def _n(one: str, many: str, /, count: int, **values: object) -> str:
    """Singular or plural for the number, in the current language; the placeholder is `{count}`."""
    return gettext.ngettext(one, many, count).format(count=count, **values)


def N_(text: str) -> str:
    """Marks a text that is translated later, where it is used: `_(text)`."""
    return text


def help_key(text: str) -> str:
    """A docstring or help text as the catalogue has it: one line per paragraph."""
    return _LINE_BREAK.sub(" ", inspect.cleandoc(text).split("\f")[0].strip())
