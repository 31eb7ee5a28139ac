"""Texts that are put together where the language of their reader is not known yet."""

from __future__ import annotations

from typing import Any, Self

from lib.words.language import Language, say


class Phrase(str):
    """An English text that can be said in the other language: `Phrase("no {name}", name="HD-1")`.

    Whatever compares, logs or stores it has the English text. Its values may be phrases too.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        return (self.template,), self.values


def said(text: object, language: Language) -> str:
    """The text in a language; one that is no phrase is the words of others and stays as it is."""
    if not isinstance(text, Phrase):
        return str(text)
    values = {name: said(value, language) for name, value in text.values.items()}
    return say(language, text.template, **values)


def pack(text: object) -> Any:
    """The text as JSON holds it."""
    if not isinstance(text, Phrase):
        return str(text)
    return [text.template, {name: pack(value) for name, value in text.values.items()}]


def unpack(packed: Any) -> str:
    """The text of `pack`. Raises ValueError, TypeError or LookupError where it is none."""
    if isinstance(packed, str):
        return packed
    template, values = packed
    return Phrase(template, **{name: unpack(value) for name, value in values.items()})
