"""What may be shown of a foreign text: nothing that steers a terminal or forges a line."""

from __future__ import annotations

import re

#: Control characters, halves of surrogate pairs, and marks that change the writing direction.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028\u2029\u202a-\u202e"
    r"\u2066-\u2069]"
)
_BREAKS = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\u2028": "\\n", "\u2029": "\\n", "\x85": "\\n"}
_BREAK = re.compile("|".join(_BREAKS))


def printable(text: str) -> str:
    """`text` without control characters (line breaks and tabs stay) and broken Unicode."""
    return _UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    """`printable` text on one line, with line breaks and tabs as a programmer writes them."""
    return printable(_BREAK.sub(lambda found: _BREAKS[found[0]], text))
