"""Cleans foreign text before it is stored or shown: no names, no secrets, no forged log lines.

Bodies and answers contain names of persons. The text of a foreign error may contain any value that
was being processed, and Prefect stores the text of every error of a run in its database.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lib.errors import SyncError, UnexpectedError

logger = logging.getLogger("dqg.sanitize")

MASK = "***"
#: Payload fields that name a person: seller and buyer.
PERSONAL_FIELDS = ("ho_ten_nguoi_ban", "ho_ten_khach_hang")
_OURS = ("lib.", "tasks.", "flows.")
#: Control characters, halves of surrogate pairs, and marks that change the writing direction.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028\u2029\u202a-\u202e"
    r"\u2066-\u2069]"
)
_BREAKS = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\u2028": "\\n", "\u2029": "\\n", "\x85": "\\n"}
_BREAK = re.compile("|".join(_BREAKS))


def mask_personal_names(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a payload in which names of persons are replaced."""
    return {
        name: MASK if name in PERSONAL_FIELDS and value else value for name, value in body.items()
    }


def redact(text: str, names: Iterable[str]) -> str:
    """`text` with every name replaced by `***`, whatever its case, spacing or Unicode form.

    A name inside a longer word is not replaced, so that a short name does not destroy the text.
    """
    patterns = {_pattern(form) for name in names for form in _written_forms(name)}
    if not patterns:
        return text
    composed = unicodedata.normalize("NFC", text)
    # Longest first: a name may be part of another one.
    for pattern in sorted(patterns, key=len, reverse=True):
        composed = re.sub(pattern, MASK, composed, flags=re.IGNORECASE)
    return composed


def _written_forms(name: str) -> list[str]:
    """The name as it is, and as it is written inside a JSON string."""
    composed = unicodedata.normalize("NFC", name).strip()
    if not composed:
        return []
    return [composed, json.dumps(composed, ensure_ascii=False)[1:-1], json.dumps(composed)[1:-1]]


def _pattern(name: str) -> str:
    spaced = r"\s+".join(map(re.escape, name.split()))
    begin = r"(?<!\w)" if re.match(r"\w", name) else ""
    end = r"(?!\w)" if re.search(r"\w$", name) else ""
    return f"{begin}{spaced}{end}"


def hide_secrets(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret replaced by `***`, wherever it occurs."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (
            secret,
            json.dumps(secret, ensure_ascii=False)[1:-1],
            json.dumps(secret)[1:-1],
        ):
            text = text.replace(form, MASK).replace(form.replace("/", "\\/"), MASK)
    return text


def shorten(text: str, limit: int) -> str:
    """`text` cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """`text` without broken Unicode and control characters; line breaks and tabs are kept."""
    return _UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    """`printable` text on one line: line breaks and tabs are written as escape sequences."""
    return printable(_BREAK.sub(lambda found: _BREAKS[found[0]], text))


@contextmanager
def sanitize_exceptions() -> Iterator[None]:
    """Raises `UnexpectedError` in place of a foreign error, with its type and place but no text.

    The traceback is logged as lines of source, without any value.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        unexpected = UnexpectedError(f"{type(error).__name__} in {_place(error)}")
        way = "".join(traceback.format_tb(error.__traceback__))
        # Not `logger.exception`: it would log the error's text.
        logger.error("%s\n%s", unexpected, way, extra={"action": "unexpected_error"})  # noqa: TRY400
        raise unexpected from None


def _place(error: Exception) -> str:
    """The last line of our code in the traceback; without one, the line that raised the error."""
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames[1:] if frame[0].startswith(_OURS)]
    module, function, line = (ours or frames)[-1]
    return f"{module}.{function}, line {line}"
