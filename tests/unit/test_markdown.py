"""Texts of others in artifacts: shown, never obeyed."""

from __future__ import annotations

import pytest

from tasks.artifacts import as_table, link, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so_lo: is blank", "so_lo: is blank"),
        ("<b>x</b>", r"\<b>x\</b>"),
        ("# thuốc", r"\# thuốc"),
        ("[x](http://evil)", r"\[x\](http://evil)"),
        ("- one\n- two", r"\- one - two"),
        ("a `b` *c*", r"a \`b\` \*c\*"),
        ("a | b &lt;", r"a \| b \&lt;"),
    ],
)
def test_no_text_is_taken_for_markup(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_link_keeps_its_address_whatever_its_text() -> None:
    assert link("HD](x", "/runs/1") == r"[HD\](x](../../runs/1)"


def test_rows_are_a_table_and_what_is_not_known_an_empty_cell() -> None:
    rows = [{"what": plain("a|b"), "found": 2}, {"what": None, "found": 0}]
    assert as_table(rows).splitlines() == [
        "| what | found |",
        "| --- | --- |",
        r"| a\|b | 2 |",
        "|  | 0 |",
    ]
