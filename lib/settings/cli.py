"""Settings of the operator's command line."""

from __future__ import annotations

from pydantic import Field

from lib.settings.section import Section
from lib.words.language import Language


class CliSettings(Section):
    """The command line `dqg`."""

    language: Language = Field(
        Language.ENGLISH,
        description="language of tables and messages; JSON and logs stay English",
    )
