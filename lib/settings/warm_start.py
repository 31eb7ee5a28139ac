"""Settings of warm starts: runs forked from a preloaded process."""

from __future__ import annotations

from pydantic import Field

from lib.settings.section import Seconds, Section


class WarmStartSettings(Section):
    """Warm starts of the process pools."""

    idle_seconds: Seconds = Field(
        600, description="seconds without a run after which the preloaded process ends"
    )
