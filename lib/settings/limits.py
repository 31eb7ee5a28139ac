"""Settings of what holds calls to the API back: breakers and rate limits."""

from __future__ import annotations

from pydantic import Field, field_validator

from lib.settings.section import Seconds, Section


class BreakerSettings(Section):
    """When calls stop after failures, and when they are tried again."""

    documents: int = Field(
        5,
        ge=2,
        description="distinct documents that must fail, none passing between, to open a "
        "pipeline's breaker",
    )
    shops: int = Field(2, ge=1, description="distinct shops that these documents must belong to")
    one_shop_seconds: float = Field(
        10,
        ge=0,
        description="seconds that the failures must last where they are of fewer shops than that",
    )
    window: Seconds = Field(600, description="seconds within which the documents must fail")
    account_documents: int = Field(
        3,
        ge=2,
        description="distinct documents of an account that must be refused (403, or 401 after a "
        "login), none passing between, to open its breaker; a refused login opens it at once",
    )
    cooldown: Seconds = Field(
        30, description="seconds a breaker stays open the first time, then doubling"
    )
    cooldown_max: Seconds = Field(900, description="upper bound of that cool-down, seconds")
    account_cooldown: Seconds = Field(
        900, description="seconds an account's breaker stays open the first time, then doubling"
    )
    account_cooldown_max: Seconds = Field(
        6 * 3600, description="upper bound of that cool-down, seconds"
    )
    ramp: float = Field(
        120, ge=0, description="seconds over which batches grow again after a breaker has closed"
    )
    probes: int = Field(
        3,
        ge=1,
        description="distinct documents that are tried after the first cool-down, more after later "
        "ones; the breaker opens again when all of them fail",
    )
    probe_seconds: Seconds = Field(
        120, description="seconds a probe may take before another one is let through"
    )
    login_probes: int = Field(
        5, ge=1, description="refused accounts whose login is tried per look of `orchestrate`"
    )


class RateSettings(Section):
    """How fast the API may be called; without limits only a Retry-After slows calls down."""

    per_account: str | None = Field(
        None, description="calls of one account, e.g. `10/second` or `5/second;100/minute`"
    )
    per_pipeline: str | None = Field(None, description="calls of one pipeline, in the same format")
    max_wait: Seconds = Field(
        30, description="seconds a call waits for its turn before its document is put back"
    )

    @field_validator("per_account", "per_pipeline")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        # Only installations with a limit pay for this import.
        from limits import parse_many

        try:
            readable = all(rate.amount > 0 for rate in parse_many(value))
        except ValueError:
            readable = False
        if not readable:
            raise ValueError("must look like `10/second` and allow at least one call")
        return value
