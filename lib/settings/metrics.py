"""Settings of the metrics that Prometheus reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lib.settings.section import Section


class MetricsSettings(Section):
    """Metrics of the runs on this machine, for Prometheus."""

    dir: Path | None = Field(
        None, description="folder the runs of this machine count in; without one nothing is counted"
    )
    host: str = Field(
        "127.0.0.1", description="address `python -m deployments.containers.metrics` serves at"
    )
    port: int = Field(9464, ge=1, le=65535, description="port it serves at")
