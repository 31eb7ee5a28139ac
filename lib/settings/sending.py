"""Settings of sending: the API, the batches, breakers and rate limits."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from lib.settings.encryption import check_keys
from lib.settings.secret_references import is_reference
from lib.settings.section import Seconds, Section
from lib.words.language import Language


class Fractions(StrEnum):
    """What to do with a number that is not whole: live callers of the API send integers only."""

    REFUSE = "refuse"
    ROUND = "round"
    SEND = "send"


class EmptyOptional(StrEnum):
    """How an optional field without a value is sent."""

    OMIT = "omit"
    EMPTY_STRING = "empty"
    NULL = "null"


class ApiSettings(Section):
    """The national API (Dược Quốc gia)."""

    base_url: str = Field(
        "https://duocquocgia.com.vn/api", description="address of the API, without `/lien_thong`"
    )
    allow_http: bool = Field(
        False, description="allow a base URL without TLS that is not on this machine"
    )
    proxy: SecretStr | None = Field(None, description="outbound HTTP proxy (http or https)")
    ca_file: str | None = Field(None, description="PEM file of a private certificate authority")
    username: str | None = Field(
        None, description="account for shops without an account in AccountShop"
    )
    password: SecretStr | None = Field(None, description="password of that account")
    account_key: SecretStr | None = Field(
        None,
        description="keys for the encrypted passwords in AccountShop, separated by commas: the "
        "first key encrypts, all keys decrypt",
    )
    connect_timeout: Seconds = Field(10, description="seconds to wait for a connection to the API")
    read_timeout: Seconds = Field(60, description="seconds to wait for an answer of the API")
    settle_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="seconds for which the API may still process a call that ended without a clear "
        "answer; during this time the document is not sent again, even if a look-up does not find "
        "it",
    )
    max_connections: int = Field(64, ge=1, description="maximum number of connections per process")
    max_per_account: int = Field(
        64, ge=1, description="maximum number of simultaneous requests per account and process"
    )
    token_seconds: Seconds = Field(
        3000, description="seconds for which a token is used, counted from its login"
    )
    token_margin: float = Field(
        60, ge=0, description="seconds before its expiry at which a token is no longer used"
    )
    lookup: bool = Field(
        True,
        description="look up a document whose outcome is unknown (GET) before it is sent again",
    )
    update: bool = Field(
        False,
        description="send a document that was corrected after its acceptance as an update (PUT); "
        "if `false`, such a document fails and must be handled by hand",
    )
    short_retry_after: float = Field(
        5,
        ge=0,
        description="longest `Retry-After` in seconds that a run waits for; after a longer one the "
        "document is sent later",
    )
    duplicate_texts: tuple[str, ...] = Field(
        ("đã tồn tại", "da ton tai", "trùng", "already exists", "duplicate"),
        description="JSON, parts of an error text that mean that the API already has the document",
    )
    answer_limit: int = Field(
        4000, ge=100, description="maximum number of characters of an answer that are stored"
    )
    normalize_text: bool = Field(
        True, description="send all texts with composed accents (Unicode NFC)"
    )
    fractions: Fractions = Field(
        Fractions.REFUSE, description="how numbers with a fraction are handled"
    )
    empty_optional: EmptyOptional = Field(
        EmptyOptional.OMIT, description="how optional fields without a value are sent"
    )
    date_format: Literal["%Y%m%d", "%Y%m%d%H%M"] = Field(
        "%Y%m%d",
        description="format of the documents' own dates (expiry dates are always 8 digits)",
    )
    empty_dosage: str | None = Field(
        None,
        description="value of `lieu_dung` if the dosage is blank; without it such a document fails",
    )
    empty_notes: str = Field("", description="value of `ghi_chu` of a slip if the note is blank")

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not is_http_address(value):
            raise ValueError("must be an http(s) address with a port from 1 to 65535, if any")
        return value.rstrip("/")

    @field_validator("account_key")
    @classmethod
    def _usable_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_reference(value):
            check_keys(value)
        return value

    @model_validator(mode="after")
    def _tls(self) -> ApiSettings:
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not self.allow_http and not _is_loopback(parts.hostname):
            raise ValueError("base_url must be https, or set DQG_API__ALLOW_HTTP=true")
        if (self.username is None) != (self.password is None):
            raise ValueError("set both username and password, or neither")
        return self

    @property
    def call_seconds(self) -> float:
        """Seconds a call may be in progress, also at the API, counted from before it begins."""
        return self.connect_timeout + self.read_timeout + self.settle_seconds


def is_http_address(value: str) -> bool:
    """Whether a text is an HTTP or HTTPS address with a host and, if it has a port, a valid one."""
    try:
        parts = urlsplit(value)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and has_port


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


class Granularity(StrEnum):
    """How documents become runs of Prefect."""

    FLOW = "flow"  # one subflow per document: everything about it is visible in the UI
    TASK = "task"  # one task run per chunk of documents: costs the Prefect server far less
    AUTO = "auto"  # `flow` for few documents, `task` for many


class SyncSettings(Section):
    """How documents are claimed, sent and tried again."""

    language: Language = Field(
        Language.VIETNAMESE,
        description="language of texts about documents: `sync_response_message`, messages of runs, "
        "failures, alerts",
    )
    not_before: date | None = Field(
        None,
        description="cut-off date: documents with an earlier date are sent only by hand with "
        "`force`",
    )
    batch_size: int = Field(
        100,
        ge=1,
        le=4000,
        description="maximum number of documents per batch run at granularity `flow`",
    )
    task_batch_size: int = Field(
        1000,
        ge=1,
        le=4000,
        description="maximum number of documents per batch run at granularity `task`",
    )
    documents_per_task: int = Field(
        50, ge=1, le=1000, description="documents per task run at granularity `task`"
    )
    batches_in_flight: int = Field(
        2, ge=1, le=100, description="maximum number of active batch runs per pipeline"
    )
    concurrency: int = Field(
        64,
        ge=1,
        le=256,
        description="number of documents of a batch sent at the same time at granularity `task`",
    )
    flow_concurrency: int = Field(
        16,
        ge=1,
        le=256,
        description="the same at granularity `flow`, where the Prefect server limits the speed",
    )
    orchestrate_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="seconds between scheduled runs of `orchestrate`; each run polls for due "
        "documents until the next run is due. 0: one poll per run",
    )
    orchestrate_poll: Seconds = Field(2, description="seconds between two polls of a run")
    orchestrate_gather: float = Field(
        3,
        ge=0,
        le=300,
        description="minimum number of seconds between two batches of a pipeline that are not "
        "full; new documents are collected for this time",
    )
    granularity: Granularity = Field(
        Granularity.AUTO,
        description="`flow`: one subflow per document; `task`: one task run per chunk of "
        "documents; `auto`: depends on the number of documents",
    )
    auto_flow_limit: int = Field(
        50,
        ge=0,
        description="`auto` means `flow` if at most this number of documents of a pipeline are "
        "ready or ended within the last minute",
    )
    lease_seconds: float = Field(
        300, ge=3, description="seconds until an abandoned claim may be taken over"
    )
    dispatch_grace: float = Field(
        120,
        ge=1,
        description="seconds after which a claim without a run counts as never dispatched",
    )
    accepted_grace: float = Field(
        120,
        ge=1,
        description="seconds after which reconcile repairs differences between source and logs",
    )
    task_retries: int = Field(3, ge=0, le=10, description="retries of a call within one run")
    task_retry_delay: Seconds = Field(
        2, description="seconds before the first retry, doubled for each further retry"
    )
    task_retry_jitter: float = Field(
        0.5, ge=0, le=5, description="random share added to each delay"
    )
    max_attempts: int = Field(
        8, ge=1, le=1000, description="claims after which a document counts as failed"
    )
    attempt_delay: Seconds = Field(
        120, description="seconds before a document is claimed again, tripled with each claim"
    )
    attempt_delay_max: Seconds = Field(6 * 3600, description="upper bound of that delay, seconds")
    write_batch_delay: float = Field(
        0.03,
        ge=0,
        le=5,
        description="seconds for which outcomes are collected before they are written together",
    )
    write_batch_size: int = Field(
        200, ge=1, le=1000, description="maximum number of outcomes written together"
    )

    @model_validator(mode="after")
    def _renewed_in_time(self) -> SyncSettings:
        if self.dispatch_grace < self.lease_seconds / 4:
            raise ValueError(
                "dispatch_grace must be at least a quarter of lease_seconds: otherwise a claim "
                "would count as never dispatched before it is first renewed"
            )
        return self

    def granularity_for(self, documents: int, wanted: Granularity | None = None) -> Granularity:
        """The granularity for a number of documents, `auto` resolved.

        Args:
            wanted: replaces the setting if given.
        """
        granularity = wanted or self.granularity
        if granularity is not Granularity.AUTO:
            return granularity
        return Granularity.FLOW if documents <= self.auto_flow_limit else Granularity.TASK

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


class BreakerSettings(Section):
    """When calls stop after failures, and when they are tried again."""

    documents: int = Field(
        5,
        ge=2,
        description="number of distinct documents that must fail, with no success in between, to "
        "open a pipeline's breaker",
    )
    shops: int = Field(
        2, ge=1, description="number of distinct shops that these documents must belong to"
    )
    one_shop_seconds: float = Field(
        10,
        ge=0,
        description="seconds that the failures must last if the documents belong to fewer shops",
    )
    window: Seconds = Field(600, description="seconds within which the documents must fail")
    account_documents: int = Field(
        3,
        ge=2,
        description="number of distinct documents of an account that must be refused (403, or 401 "
        "after a login), with no success in between, to open its breaker; a refused login opens "
        "it immediately",
    )
    cooldown: Seconds = Field(
        30,
        description="seconds for which a breaker is open the first time, doubled each further time",
    )
    cooldown_max: Seconds = Field(900, description="upper bound of that cool-down, seconds")
    account_cooldown: Seconds = Field(
        900,
        description="seconds for which an account's breaker is open the first time, doubled each "
        "further time",
    )
    account_cooldown_max: Seconds = Field(
        6 * 3600, description="upper bound of that cool-down, seconds"
    )
    ramp: float = Field(
        120,
        ge=0,
        description="seconds in which batches grow to full size again after a breaker has closed",
    )
    probes: int = Field(
        3,
        ge=1,
        description="number of distinct documents sent as probes after the first cool-down, more "
        "after later ones; the breaker opens again if all of them fail",
    )
    probe_seconds: Seconds = Field(
        120, description="seconds a probe may take before another probe is admitted"
    )
    login_probes: int = Field(
        5,
        ge=1,
        description="maximum number of refused accounts whose login is tried per poll of "
        "`orchestrate`",
    )


class RateSettings(Section):
    """How fast the API may be called; without limits only a Retry-After slows calls down."""

    per_account: str | None = Field(
        None,
        description="maximum rate of calls per account, e.g. `10/second` or `5/second;100/minute`",
    )
    per_pipeline: str | None = Field(
        None, description="maximum rate of calls per pipeline, in the same format"
    )
    max_wait: Seconds = Field(
        30,
        description="seconds a call waits for the rate limit; after it the document is sent later",
    )

    @field_validator("per_account", "per_pipeline")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        # Imported here, because only installations with a limit need it.
        from limits import parse_many

        try:
            readable = all(rate.amount > 0 for rate in parse_many(value))
        except ValueError:
            readable = False
        if not readable:
            raise ValueError("must look like `10/second` and allow at least one call")
        return value
