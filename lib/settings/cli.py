"""Settings of the operator's command line."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from lib.settings.section import Section
from lib.words.language import Language


class CliSettings(Section):
    """The command line `dqg`."""

    language: Language = Field(
        Language.ENGLISH,
        description="language of tables and messages; JSON and logs stay English",
    )
    time_zone: str = Field(
        "Asia/Ho_Chi_Minh", description="IANA name of the time zone that times are shown in"
    )

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; write it like Asia/Ho_Chi_Minh") from None
        return name
