"""Settings of the operator's command line."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Language(StrEnum):
    """Languages a person may be spoken to in."""

    ENGLISH = "en"
    VIETNAMESE = "vi"


class CliSettings(BaseModel):
    """The command line `dqg`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    language: Language = Field(
        Language.ENGLISH,
        description="language of tables and messages; JSON and logs stay English",
    )
