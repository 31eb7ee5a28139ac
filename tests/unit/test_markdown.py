"""Texts of others in artifacts: shown, never obeyed."""

from __future__ import annotations

import pytest

from tasks.artifacts import link, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so_lo: is blank", "so_lo: is blank"),
        ("<b>x</b>", r"\<b>x\</b>"),
        ("# thuốc", r"\# thuốc"),
        ("[x](http://evil)", r"\[x\](http://evil)"),
        ("- one\n- two", r"\- one - two"),
        ("a `b` *c*", r"a \`b\` \*c\*"),
    ],
)
def test_no_text_is_taken_for_markup(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_link_keeps_its_address_whatever_its_text() -> None:
    assert link("HD](x", "/runs/1") == r"[HD\](x](/runs/1)"
