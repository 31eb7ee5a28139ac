"""Every text of `dqg` has its Vietnamese, with the same placeholders."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from string import Formatter
from typing import Any

import pytest
import typer

from deployments.cli import vietnamese
from deployments.cli.__main__ import app
from deployments.cli.language import _, catalogue, help_key, load_language, use_language
from lib.settings import Language
from tests.support.cli import dqg

CLI = Path(__file__).resolve().parents[2] / "deployments" / "cli"


@pytest.fixture(autouse=True)
def _english_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    use_language(Language.ENGLISH)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Calls of `_` and `N_`, with where they are."""
    for path in sorted(CLI.rglob("*.py")):
        if path.name == "language.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "N_"):
                yield f"{path.relative_to(CLI)}:{node.lineno}", node


def literals() -> set[str]:
    return {
        str(call.args[0].value)
        for _where, call in calls()
        if isinstance(call.args[0], ast.Constant)
    }


def helps(command: Any) -> Iterator[str]:
    for part in (command, *command.params):
        # `--help` itself is Typer's.
        if getattr(part, "help", None) and getattr(part, "name", "") != "help":
            yield help_key(part.help)
    for subcommand in getattr(command, "commands", {}).values():
        yield from helps(subcommand)


def every_text() -> set[str]:
    return literals() | set(helps(typer.main.get_command(app)))


def placeholders(text: str) -> Counter[str]:
    return Counter(name for _text, name, _spec, _conversion in Formatter().parse(text) if name)


def test_every_text_has_its_vietnamese() -> None:
    assert sorted(every_text() - set(catalogue())) == []


def test_no_translation_is_of_a_text_that_is_gone() -> None:
    assert sorted(set(catalogue()) - every_text()) == []


def test_placeholders_are_the_same_in_both_languages() -> None:
    wrong = [
        text
        for text, translation in catalogue().items()
        if set(placeholders(text)) != set(placeholders(translation))
    ]
    assert wrong == []


def test_no_two_modules_say_the_same_text_differently() -> None:
    seen: dict[str, set[str]] = {}
    for module in iter_modules(vietnamese.__path__, vietnamese.__name__ + "."):
        for text, translation in import_module(module.name).TEXTS.items():
            seen.setdefault(text, set()).add(translation)
    assert [text for text, translations in seen.items() if len(translations) > 1] == []


def test_every_placeholder_gets_its_value() -> None:
    wrong = [
        where
        for where, call in calls()
        if isinstance(call.args[0], ast.Constant)
        and getattr(call.func, "id", "") == "_"
        and set(placeholders(call.args[0].value)) != {keyword.arg for keyword in call.keywords}
    ]
    assert wrong == []


def test_texts_are_put_together_after_they_are_translated() -> None:
    wrong = [where for where, call in calls() if isinstance(call.args[0], ast.JoinedStr)]
    assert wrong == []


def test_a_text_is_in_the_language_that_is_set() -> None:
    text = next(text for text in catalogue() if not placeholders(text))
    assert _(text) == text
    use_language(Language.VIETNAMESE)
    assert _(text) == catalogue()[text]


def test_a_text_without_translation_stays_english() -> None:
    use_language(Language.VIETNAMESE)
    assert _("{count} unheard of", count=3) == "3 unheard of"


def test_the_language_is_read_from_the_environment_or_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_language() is Language.ENGLISH
    (tmp_path / ".env").write_text("DQG_CLI__LANGUAGE=vi\nDQG_MONGO__URL=mongodb://x\n", "utf-8")
    assert load_language() is Language.VIETNAMESE
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "en")
    assert load_language() is Language.ENGLISH


def test_a_wrong_language_is_named_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "fr")
    assert "DQG_CLI__LANGUAGE" in dqg("status", status=1)


def test_helps_are_in_the_language_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "vi")
    assert re.search(r"Theo dõi", dqg("--help"))
