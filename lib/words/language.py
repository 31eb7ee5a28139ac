"""The two languages: English in the code, Vietnamese in `locale/vi/LC_MESSAGES/words.po`.

`make messages` brings new texts into the catalogue and compiles it. It finds them as `N_("…")` and
`say(language, "…")` anywhere in `lib`. Codes, classes, states and JSON are the same in every
language.
"""

from __future__ import annotations

import gettext
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

DOMAIN = "words"
LOCALE = Path(__file__).with_name("locale")


class Language(StrEnum):
    """Languages a person may be spoken to in."""

    ENGLISH = "en"
    VIETNAMESE = "vi"


def N_(text: str) -> str:
    """Marks a text that is translated where it is shown."""
    return text


@lru_cache
def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue of `lib`; a program with separate texts takes it as the fallback."""
    return gettext.translation(DOMAIN, LOCALE, [language.value], fallback=True)


def say(language: Language, text: str, /, **values: object) -> str:
    """The text in a language, its placeholders filled; English where it has no translation."""
    found = translations(language).gettext(text) if text else text
    return found.format(**values) if values else found
