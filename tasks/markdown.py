"""Texts of others, and links, as the UI shows them: tables and descriptions are Markdown to it."""

from __future__ import annotations

import re

#: What begins a tag, a link, an emphasis, code or a heading. Names like `so_lo` stay as they are.
_MARKUP = re.compile(r"([\\`*~<\[\]#])")
_LIST = re.compile(r"^(\s*)([-+])")


def plain(text: str) -> str:
    """A text that is shown as it is, whatever it holds, on one line."""
    return _LIST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(text.split())))


def link(text: str, path: str) -> str:
    """A link within the UI, from the page's own address: it holds wherever the UI is reached."""
    return f"[{plain(text)}]({path})"
