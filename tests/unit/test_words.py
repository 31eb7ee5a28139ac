"""The list of idioms: what it finds, and where it looks."""

from __future__ import annotations

import pytest

from tests.maintenance.words import ROOT, checked_files, idioms_in


@pytest.mark.parametrize(
    ("text", "idiom"),
    [
        ("Nobody knows.", "Nobody"),
        ("a table of its own", "of its own"),
        ("The user is told why.", "is told"),
        ("wait for so many seconds", "so many"),
    ],
)
def test_an_idiom_is_found_with_the_word_to_write(text: str, idiom: str) -> None:
    ((line, found, instead),) = idioms_in(f"# Title\n{text}\n")
    assert (line, found) == (2, idiom)
    assert instead


@pytest.mark.parametrize("text", ["the user `nobody_else`", "the account's own name", "a stand-in"])
def test_plain_words_pass(text: str) -> None:
    assert list(idioms_in(text)) == []


def test_documentation_code_and_configuration_are_checked() -> None:
    names = {str(path.relative_to(ROOT)) for path in checked_files()}
    assert names >= {
        "README.md",
        "docs/runbook.md",
        "docs/decisions/README.md",
        "lib/settings/sending.py",
        "deployments/cli/status.py",
        "deployments/server/alerts/messages.yaml",
        "prefect.yaml",
    }
