"""The two languages of the console: English in the code, Vietnamese in `locale/`.

Templates write `{{ _("waiting") }}` and `{{ ngettext("%(num)s document", ..., n) }}`; modules mark
texts with `N_`, and templates translate them where they are shown.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.settings import Language
from lib.words import language as words

DOMAIN = "console"
FOLDER = Path(__file__).parent
LOCALE = FOLDER / "locale"


def N_(text: str) -> str:
    """Marks a text that is translated where it is shown."""
    return text


@lru_cache
def translations(language: Language) -> gettext.NullTranslations:
    """The translations of the console, and those of `lib`."""
    found = gettext.translation(DOMAIN, LOCALE, [language.value], fallback=True)
    found.add_fallback(words.translations(language))
    return found


def environments(
    filters: Mapping[str, Callable[..., Any]], globals_: Mapping[str, Any]
) -> dict[Language, Environment]:
    """The templates in each language."""
    made = {}
    for language in Language:
        environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            extensions=["jinja2.ext.i18n"],
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.install_gettext_translations(  # type: ignore[attr-defined]
            translations(language), newstyle=True
        )
        environment.filters.update(filters)
        environment.globals.update(globals_)
        made[language] = environment
    return made
