"""The two languages: English in the code, Vietnamese in `locale/vi/LC_MESSAGES/words.po`.

`make messages` adds new texts to the catalogue and compiles it. It finds them as `N_("…")` and
`translate(language, "…")` anywhere in `lib`. Codes, classes, states and JSON are the same in every
language.
"""

from __future__ import annotations

import gettext
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

DOMAIN = "words"
LOCALE = Path(__file__).with_name("locale")


class Language(StrEnum):
    """Languages in which people are addressed."""

    ENGLISH = "en"
    VIETNAMESE = "vi"


def N_(text: str) -> str:
    """Marks a text that is translated where it is shown."""
    return text


@lru_cache
def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue of `lib`; a program with separate texts uses it as the fallback."""
    return gettext.translation(DOMAIN, LOCALE, [language.value], fallback=True)


def translate(language: Language, text: str, /, **values: object) -> str:
    """The text in a language, its placeholders filled; English if it has no translation."""
    found = translations(language).gettext(text) if text else text
    return found.format(**values) if values else found


class Phrase(str):
    """An English text that can be translated later: `Phrase("no {name}", name="HD-1")`.

    When it is compared, logged or stored, it is the English text. Its values may be phrases too.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        return (self.template,), self.values


def translated(text: object, language: Language) -> str:
    """The text in a language; a text that is not a `Phrase` is not ours and is not translated."""
    if not isinstance(text, Phrase):
        return str(text)
    values = {name: translated(value, language) for name, value in text.values.items()}
    return translate(language, text.template, **values)


def pack(text: object) -> Any:
    """The text in a form that JSON can store."""
    if not isinstance(text, Phrase):
        return str(text)
    return [text.template, {name: pack(value) for name, value in text.values.items()}]


def unpack(packed: Any) -> str:
    """The text that `pack` stored. Raises ValueError, TypeError or LookupError for other data."""
    if isinstance(packed, str):
        return packed
    template, values = packed
    return Phrase(template, **{name: unpack(value) for name, value in values.items()})
