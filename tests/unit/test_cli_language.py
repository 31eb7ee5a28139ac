"""Every text of `dqg` has its Vietnamese, with the same placeholders."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Message

from deployments.cli.language import LOCALE, _, _n, load_language, use_language
from lib.settings import Language
from tests.maintenance import messages
from tests.support.cli import dqg

CLI = LOCALE.parent


@pytest.fixture(autouse=True)
def _english_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANGUAGE", "en")
    yield
    use_language(Language.ENGLISH)


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of functions that translate, with where they are."""
    for path in sorted(CLI.rglob("*.py")):
        if path.name == "language.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                yield f"{path.relative_to(CLI)}:{node.lineno}", node


def placeholders(text: str) -> set[str]:
    """Of either kind: the console's templates use `%`."""
    named = {name for _text, name, _spec, _conversion in Formatter().parse(text) if name}
    return named | set(re.findall(r"%\((\w+)\)s", text))


each_domain = pytest.mark.parametrize("domain", messages.DOMAINS, ids=lambda domain: domain.name)


def texts(domain: messages.Domain) -> list[Message]:
    return [message for message in domain.catalogue() if message.id]


def english(message: Message) -> str:
    """The text, its plural where it has one."""
    return message.id if isinstance(message.id, str) else message.id[-1]


def vietnamese(message: Message) -> str:
    return message.string if isinstance(message.string, str) else message.string[0]


@each_domain
def test_the_catalogue_has_exactly_the_texts_of_the_code(domain: messages.Domain) -> None:
    assert domain.source.read_bytes() == messages.as_source(domain.updated()), "`make messages`"


@each_domain
def test_the_compiled_catalogue_is_current(domain: messages.Domain) -> None:
    compiled = messages.compiled(domain.catalogue())
    assert domain.compiled.read_bytes() == compiled, "`make messages`"


@each_domain
def test_every_text_has_its_vietnamese(domain: messages.Domain) -> None:
    assert [english(message) for message in texts(domain) if not vietnamese(message)] == []


@each_domain
def test_placeholders_are_the_same_in_both_languages(domain: messages.Domain) -> None:
    wrong = [
        english(message)
        for message in texts(domain)
        if placeholders(english(message)) != placeholders(vietnamese(message))
    ]
    assert wrong == []


def test_every_placeholder_gets_its_value() -> None:
    wrong = [
        where
        for where, call in calls("_")
        if isinstance(call.args[0], ast.Constant)
        and placeholders(str(call.args[0].value)) != {keyword.arg for keyword in call.keywords}
    ]
    wrong += [
        where
        for where, call in calls("_n")
        for text in call.args[:2]
        if isinstance(text, ast.Constant)
        and placeholders(str(text.value)) - {"count"} != {keyword.arg for keyword in call.keywords}
    ]
    assert wrong == []


def test_texts_are_put_together_after_they_are_translated() -> None:
    wrong = [
        where
        for where, call in calls("_", "N_", "_n")
        if any(isinstance(text, ast.JoinedStr) for text in call.args[:2])
    ]
    assert wrong == []


def test_a_text_is_in_the_language_that_is_set() -> None:
    use_language(Language.ENGLISH)
    assert _("not closed") == "not closed"
    use_language(Language.VIETNAMESE)
    assert _("not closed") == "chưa khóa được"


def test_a_text_without_translation_stays_english() -> None:
    use_language(Language.VIETNAMESE)
    assert _("{count} unheard of", count=3) == "3 unheard of"
    assert _("") == ""


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        (Language.ENGLISH, 1, "1 failure"),
        (Language.ENGLISH, 2, "2 failures"),
        (Language.ENGLISH, 0, "0 failures"),
        (Language.VIETNAMESE, 1, "1 lỗi"),
        (Language.VIETNAMESE, 2, "2 lỗi"),
    ],
)
def test_a_number_has_its_plural(language: Language, count: int, text: str) -> None:
    use_language(language)
    assert _n("{count} failure", "{count} failures", count) == text


def test_the_language_is_read_from_the_environment_or_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_language() == Language.ENGLISH
    (tmp_path / ".env").write_text("DQG_CLI__LANGUAGE=vi\nDQG_MONGO__URL=mongodb://x\n", "utf-8")
    assert load_language() == Language.VIETNAMESE
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "en")
    assert load_language() == Language.ENGLISH


def test_a_wrong_language_is_named_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "fr")
    assert "DQG_CLI__LANGUAGE" in dqg("status", status=1)


def test_helps_are_in_the_language_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_CLI__LANGUAGE", "vi")
    assert re.search(r"Theo dõi", dqg("--help"))


def test_the_headings_of_helps_are_in_the_language_that_is_set() -> None:
    # A process of its own: Typer reads its headings when it is imported.
    shown = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "status", "--help"],
        cwd=LOCALE.parents[2],
        env={**os.environ, "DQG_CLI__LANGUAGE": "vi"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Tùy chọn" in shown
    assert "Hiển thị trợ giúp này rồi thoát." in shown
