"""Settings of what holds calls to the API back: breakers and rate limits."""

from __future__ import annotations

from limits import parse_many
from pydantic import Field, field_validator

from lib.settings.section import Seconds, Section


class BreakerSettings(Section):
    """When calls stop after failures, and when they are tried again."""

    failures: int = Field(5, ge=1, description="transient failures in a row that open a breaker")
    pause: Seconds = Field(
        30, description="seconds a breaker stays open the first time, then doubling"
    )
    pause_max: Seconds = Field(900, description="upper bound of that pause, seconds")
    account_pause: Seconds = Field(
        900, description="seconds a shop pauses after its account was refused, then doubling"
    )
    account_pause_max: Seconds = Field(6 * 3600, description="upper bound of that pause, seconds")
    ramp: float = Field(
        120, ge=0, description="seconds over which batches grow again after a breaker has closed"
    )
    probe_seconds: Seconds = Field(
        120, description="seconds a probe may take before another one is let through"
    )


class RateSettings(Section):
    """How fast the API may be called; without limits only a Retry-After slows calls down."""

    per_account: str | None = Field(
        None, description="calls of one account, e.g. `10/second` or `5/second;100/minute`"
    )
    per_pipeline: str | None = Field(None, description="calls of one pipeline, written likewise")
    max_wait: Seconds = Field(
        30, description="seconds a call waits for its turn before its document is put back"
    )

    @field_validator("per_account", "per_pipeline")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            readable = value is None or all(rate.amount > 0 for rate in parse_many(value))
        except ValueError:
            readable = False
        if not readable:
            raise ValueError("must look like `10/second` and allow at least one call")
        return value
