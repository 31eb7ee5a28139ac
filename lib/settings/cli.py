"""Settings of the operator's command line."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from lib.settings.section import Section


class Language(StrEnum):
    """Languages a person may be spoken to in."""

    ENGLISH = "en"
    VIETNAMESE = "vi"


class CliSettings(Section):
    """The command line `dqg`."""

    language: Language = Field(
        Language.ENGLISH,
        description="language of tables and messages; JSON and logs stay English",
    )
