"""`make messages`: brings the catalogues of translations up to date, and compiles them.

There is one for `lib`, one for the command line and one for the console. New texts are added
without a translation, to be written into the catalogue by hand; texts that are gone are dropped.
The compiled files are read with the standard library.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from deployments.cli.__main__ import COMMANDS, app
from deployments.cli.command_line import whole
from deployments.cli.language import DOMAIN, LOCALE, help_key
from deployments.console import language as console_language
from lib.words import language as words

ROOT = Path(__file__).resolve().parents[2]
#: The functions that take texts, each with its arguments that are texts.
KEYWORDS = {"_": None, "N_": None, "_n": (1, 2), "ngettext": (1, 2)}


@dataclass(frozen=True)
class Domain:
    """The texts of one program.

    Attributes:
        template: a catalogue of the texts of its code, without translations.
    """

    name: str
    locale: Path
    template: Callable[[], Catalog]

    @property
    def source(self) -> Path:
        return self.locale / "vi" / "LC_MESSAGES" / f"{self.name}.po"

    @property
    def compiled(self) -> Path:
        return self.source.with_suffix(".mo")

    def catalogue(self) -> Catalog:
        """The catalogue as it is stored."""
        with self.source.open("rb") as file:
            return read_po(file, locale="vi", domain=self.name)

    def updated(self) -> Catalog:
        """The stored translations, with exactly the texts of the code."""
        found = self.catalogue()
        template = self.template()
        template.creation_date = found.creation_date
        found.update(template, no_fuzzy_matching=True, update_creation_date=False)
        found.obsolete.clear()
        return found


def as_source(messages: Catalog) -> bytes:
    """The text of a catalogue, without line numbers, which any change of the code would move."""
    file = io.BytesIO()
    write_po(file, messages, width=98, sort_by_file=True, include_lineno=False)
    return file.getvalue()


def compiled(messages: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, messages)
    return file.getvalue()


def _texts_of_cli() -> Catalog:
    found = Catalog(domain=DOMAIN, fuzzy=False)
    for folder in (LOCALE.parent, Path(typer.__file__).parent):
        for name, line, text, _comments, _context in extract_from_dir(
            folder, method_map=[("**.py", "python")], keywords=KEYWORDS
        ):
            found.add(text, locations=[(f"{folder.name}/{name}", line)])
    # Typer marks no help as a text.
    found.add("Show this message and exit.", locations=[("typer/_click/decorators.py", 0)])
    for text, module in helps(whole(app, COMMANDS)):
        found.add(text, locations=[(module, 0)])
    return found


def _texts_of_console() -> Catalog:
    found = Catalog(domain=console_language.DOMAIN, fuzzy=False)
    for name, line, text, _comments, _context in extract_from_dir(
        console_language.FOLDER,
        method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2")],
        keywords=KEYWORDS,
    ):
        found.add(text, locations=[(f"console/{name}", line)])
    return found


def _texts_of_lib() -> Catalog:
    found = Catalog(domain=words.DOMAIN, fuzzy=False)
    for layer in ("lib", "tasks", "flows"):
        for name, line, text, _comments, _context in extract_from_dir(
            ROOT / layer,
            method_map=[("**.py", "python")],
            keywords=KEYWORDS | {"translate": (2,), "Phrase": (1,)},
        ):
            found.add(text, locations=[(f"{layer}/{name}", line)])
    return found


LIB = Domain(words.DOMAIN, words.LOCALE, _texts_of_lib)
CLI = Domain(DOMAIN, LOCALE, _texts_of_cli)
CONSOLE = Domain(console_language.DOMAIN, console_language.LOCALE, _texts_of_console)
DOMAINS = (LIB, CLI, CONSOLE)


def helps(command: Any) -> Iterator[tuple[str, str]]:
    """The helps of a command, its options and its subcommands, each with its module."""
    module = getattr(command.callback, "__module__", "typer").removeprefix("deployments.")
    for part in (command, *command.params):
        if getattr(part, "help", None):
            yield help_key(part.help), f"{module.replace('.', '/')}.py"
    for subcommand in getattr(command, "commands", {}).values():
        yield from helps(subcommand)


def main() -> int:
    """Returns the exit status: 1 where a text has no translation."""
    missing = []
    for domain in DOMAINS:
        messages = domain.updated()
        domain.source.write_bytes(as_source(messages))
        domain.compiled.write_bytes(compiled(messages))
        missing += [
            (domain.source, message.id)
            for message in messages
            if message.id and not _is_translated(message.string)
        ]
    for source, text in missing:
        print(f"{source.relative_to(ROOT)}: no translation of {text!r}", file=sys.stderr)
    return 1 if missing else 0


def _is_translated(text: str | tuple[str, ...] | None) -> bool:
    return bool(text) if isinstance(text, str | None) else all(text)


if __name__ == "__main__":
    sys.exit(main())
