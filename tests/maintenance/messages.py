"""`make messages`: brings the catalogue of translations up to date with the code, and compiles it.

New texts are added without a translation, to be written into the catalogue by hand; texts that are
gone are dropped. `dqg` reads the compiled file with the standard library.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from deployments.cli.__main__ import app
from deployments.cli.language import DOMAIN, LOCALE, help_key

ROOT = Path(__file__).resolve().parents[2]
SOURCE = LOCALE / "vi" / "LC_MESSAGES" / f"{DOMAIN}.po"
COMPILED = SOURCE.with_suffix(".mo")
#: The functions that take texts, each with its arguments that are texts.
KEYWORDS = {"_": None, "N_": None, "_n": (1, 2)}


def catalogue() -> Catalog:
    """The catalogue as it is stored."""
    with SOURCE.open("rb") as file:
        return read_po(file, locale="vi", domain=DOMAIN)


def updated() -> Catalog:
    """The stored translations, with exactly the texts of the code."""
    found = catalogue()
    template = _template()
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


def _template() -> Catalog:
    """A catalogue of the texts of the code, each with the module that shows it."""
    found = Catalog(domain=DOMAIN, fuzzy=False)
    for folder in (LOCALE.parent, Path(typer.__file__).parent):
        for name, line, text, _comments, _context in extract_from_dir(
            folder, method_map=[("**.py", "python")], keywords=KEYWORDS
        ):
            found.add(text, locations=[(f"{folder.name}/{name}", line)])
    # Typer marks no help as a text.
    found.add("Show this message and exit.", locations=[("typer/_click/decorators.py", 0)])
    for text, module in helps(typer.main.get_command(app)):
        found.add(text, locations=[(module, 0)])
    return found


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
    messages = updated()
    SOURCE.write_bytes(as_source(messages))
    COMPILED.write_bytes(compiled(messages))
    missing = [message.id for message in messages if message.id and not message.string]
    for text in missing:
        print(f"{SOURCE.relative_to(ROOT)}: no translation of {text!r}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
