"""Takes out of a text what must not be kept: names of persons, and secrets."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable

from lib.privacy import MASK


def redact(text: str, names: Iterable[str]) -> str:
    """`text` with every name replaced by `***`, however it is cased, spaced or composed.

    A name inside a longer word is left alone, so that a short one does not shred the text.
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
    """The name itself, and as it stands within quoted JSON."""
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
    """`text` with every secret replaced by `***`, wherever it stands."""
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
