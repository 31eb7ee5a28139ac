"""Every setting, in one frozen object read from the environment (prefix `DQG_`) or a `.env` file.

Nested settings join their names with two underscores: `DQG_SOURCE__URL` is `source.url`.
Nothing here connects anywhere, and nothing is read before `load_settings` is called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from lib.alert_settings import AlertSettings
from lib.cli_settings import CliSettings
from lib.encryption import check_keys
from lib.errors import ConfigurationError
from lib.limit_settings import BreakerSettings, RateSettings
from lib.metrics_settings import MetricsSettings
from lib.secret_references import is_reference
from lib.settings_section import Seconds, Section

#: Names the file of settings to read; the one variable that is no setting.
ENV_FILE_VARIABLE = "DQG_ENV_FILE"


class SourceSettings(Section):
    """The database that holds the documents."""

    url: SecretStr | None = Field(
        None, description="SQLAlchemy URL, `mssql+pyodbc://…` or `postgresql+psycopg://…`"
    )
    block: str | None = Field(
        None,
        description="name of a SqlAlchemyConnector block, instead of the URL",
    )
    odbc_driver: str | None = Field(
        None,
        description="ODBC driver for SQL Server, a registered name or a path; "
        "by default one found on the system, else the one that ships with the installation",
    )
    db_schema: str | None = Field(None, description="schema of the document tables, e.g. `dbo`")
    tables: dict[str, str] = Field(
        default_factory=dict,
        description='JSON, other names for tables: `{"SalesInvoices": "HoaDon"}`',
    )
    columns: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="JSON, other names for columns, by standard table name: "
        '`{"SalesInvoices": {"local_invoice_id": "ma_hoa_don"}}`',
    )
    pool_size: int = Field(5, ge=1, le=100, description="connections a process keeps open")
    connect_timeout: int = Field(10, ge=1, le=300, description="seconds to wait for a connection")
    statement_timeout: int = Field(60, ge=1, le=3600, description="seconds a statement may take")


class MongoSettings(Section):
    """The store of `task_logs` and `sync_failures`."""

    url: SecretStr = Field(..., description="`mongodb://…`")
    database: str = Field("dqg_sync", description="name of the database")
    timeout: Seconds = Field(
        5, description="seconds an operation may take before it counts as away"
    )
    buffer_size: int = Field(
        10_000, ge=0, description="log writes kept in memory while MongoDB is away"
    )
    task_log_days: int = Field(90, ge=1, description="days after which task_logs entries expire")
    failure_days: int = Field(
        1095, ge=1, description="days after which sync_failures entries expire"
    )
    mask_personal_names: bool = Field(
        False, description="replace the names of buyers and sellers in stored payloads"
    )


class RedisSettings(Section):
    """Tokens, breakers and rate limits shared by all processes."""

    url: SecretStr = Field(..., description="`redis://…` or `rediss://…`")
    prefix: str = Field("dqg", description="begins every key")
    timeout: Seconds = Field(
        2, description="seconds an operation may take before it counts as away"
    )


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
        "https://duocquocgia.com.vn/api", description="address up to and without `/lien_thong`"
    )
    allow_http: bool = Field(
        False, description="allow a base URL without TLS that is not on this machine"
    )
    proxy: SecretStr | None = Field(None, description="outbound HTTP proxy")
    ca_file: str | None = Field(None, description="PEM file of a private certificate authority")
    username: str | None = Field(
        None, description="account for shops that have none of their own in AccountShop"
    )
    password: SecretStr | None = Field(None, description="password of that account")
    account_key: SecretStr | None = Field(
        None,
        description="keys of the passwords that AccountShop holds encrypted, parted by commas: "
        "the first one encrypts, all of them decrypt",
    )
    connect_timeout: Seconds = Field(10, description="seconds to reach the API")
    read_timeout: Seconds = Field(60, description="seconds to wait for its answer")
    max_connections: int = Field(64, ge=1, description="connections a process opens at most")
    max_per_account: int = Field(64, ge=1, description="requests of one account at once, a process")
    token_seconds: Seconds = Field(
        3000, description="seconds a token is used for, counted from its login"
    )
    token_margin: float = Field(
        60, ge=0, description="seconds before a token's own expiry at which it is dropped"
    )
    lookup: bool = Field(
        True, description="ask by GET for a document whose outcome is unknown before sending again"
    )
    short_retry_after: float = Field(
        5, ge=0, description="a Retry-After up to this many seconds is waited out on the spot"
    )
    duplicate_texts: tuple[str, ...] = Field(
        ("đã tồn tại", "da ton tai", "trùng", "already exists", "duplicate"),
        description="JSON, parts of an error text that mean: the API has this document already",
    )
    answer_limit: int = Field(4000, ge=100, description="characters of an answer that are kept")
    fractions: Fractions = Field(Fractions.REFUSE, description="numbers that are not whole")
    empty_optional: EmptyOptional = Field(
        EmptyOptional.OMIT, description="optional fields without a value"
    )
    date_format: Literal["%Y%m%d", "%Y%m%d%H%M"] = Field(
        "%Y%m%d",
        description="format of the documents' own dates (expiry dates are always 8 digits)",
    )
    empty_dosage: str | None = Field(
        None,
        description="sent as `lieu_dung` where the dosage is blank; without it such a line fails",
    )
    empty_notes: str = Field("", description="sent as `ghi_chu` of a slip where the note is blank")

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("must be an http(s) address")
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
            raise ValueError("username and password go together")
        return self


class Granularity(StrEnum):
    """What one document is to Prefect: a subflow, a task run, part of one, or what fits best."""

    FLOW = "flow"
    TASK = "task"
    GROUP = "group"
    AUTO = "auto"


class SyncSettings(Section):
    """How documents are claimed, sent and tried again."""

    not_before: date | None = Field(
        None, description="cut-off: documents dated earlier are sent by hand with `force` only"
    )
    batch_size: int = Field(
        100, ge=1, le=4000, description="documents one batch run claims at granularity `flow`"
    )
    task_batch_size: int = Field(
        1000,
        ge=1,
        le=4000,
        description="documents one batch run claims at granularity `task` and `group`",
    )
    documents_per_task: int = Field(
        50, ge=2, le=1000, description="documents that share a task run at granularity `group`"
    )
    batches_in_flight: int = Field(
        2, ge=1, le=100, description="batch runs of one pipeline under way at once"
    )
    concurrency: int = Field(
        64,
        ge=1,
        le=256,
        description="documents of a batch sent at once at granularity `task` and `group`",
    )
    flow_concurrency: int = Field(
        16, ge=1, le=256, description="the same at granularity `flow`: the Prefect server's pace"
    )
    orchestrate_seconds: float = Field(
        45,
        ge=0,
        le=3600,
        description="seconds a run of `orchestrate` goes on claiming while full batches are left",
    )
    orchestrate_poll: Seconds = Field(2, description="seconds between two looks in that time")
    granularity: Granularity = Field(
        Granularity.AUTO,
        description="`flow`: one subflow a document; `task`: one task run; `group`: one task run "
        "for several; `auto`: by the backlog",
    )
    auto_flow_limit: int = Field(
        200, ge=0, description="`auto` uses subflows while no more documents than this are ready"
    )
    auto_task_limit: int = Field(
        1000,
        ge=0,
        description="above that, `auto` uses a task run each up to this many, then groups",
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
        description="seconds after which an accepted document must be saved in the source",
    )
    task_retries: int = Field(3, ge=0, le=10, description="retries of a call within one run")
    task_retry_delay: Seconds = Field(
        2, description="seconds before the first retry, then doubling"
    )
    task_retry_jitter: float = Field(
        0.5, ge=0, le=5, description="random share added to each delay"
    )
    max_attempts: int = Field(
        8, ge=1, le=1000, description="claims after which a document counts as failed"
    )
    attempt_delay: Seconds = Field(
        120, description="seconds before a document is claimed again, tripling with each claim"
    )
    attempt_delay_max: Seconds = Field(6 * 3600, description="upper bound of that delay, seconds")
    group_delay: float = Field(
        0.03,
        ge=0,
        le=5,
        description="seconds outcomes are collected before they are written together",
    )
    group_size: int = Field(200, ge=1, le=1000, description="outcomes written together at most")

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


class Settings(BaseSettings):
    """All settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="DQG_",
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    source: SourceSettings
    mongo: MongoSettings
    redis: RedisSettings
    api: ApiSettings = Field(default_factory=ApiSettings)
    sync: SyncSettings = Field(default_factory=SyncSettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    rate: RateSettings = Field(default_factory=RateSettings)
    cli: CliSettings = Field(default_factory=CliSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)

    @model_validator(mode="after")
    def _a_source(self) -> Settings:
        if (self.source.url is None) == (self.source.block is None):
            raise ValueError("set exactly one of DQG_SOURCE__URL and DQG_SOURCE__BLOCK")
        return self


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` win over the environment, that over a `.env` file.

    DQG_ENV_FILE names another file, or none if it is empty.

    Raises:
        ConfigurationError: something is missing or wrong. Its text names each setting, and never
            shows a value.
    """
    unknown = _unknown_names(os.environ)
    if unknown:
        raise ConfigurationError(f"unknown settings: {', '.join(unknown)}")
    env_file = os.environ.get(ENV_FILE_VARIABLE, ".env") or None
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    known = tuple(f"DQG_{section.upper()}__" for section in Settings.model_fields)
    return sorted(
        name
        for name in environment
        if name.startswith("DQG_") and name != ENV_FILE_VARIABLE and not name.startswith(known)
    )


def environment_name(location: tuple[int | str, ...]) -> str:
    """Name of the environment variable for a place in the model."""
    return "DQG_" + "__".join(str(part).upper() for part in location)


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        location, text = item["loc"], item["msg"]
        if item["type"] == "missing" and len(location) == 1:
            location, text = (*location, "url"), "is missing"
        name = environment_name(location) if location else "settings"
        lines.append(f"  {name}: {text}")
    return "wrong or missing settings:\n" + "\n".join(lines)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def as_environment(values: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """`{"source": {"url": …}}` as environment variables, for a process to be started."""
    return {
        environment_name((section, name)): str(value)
        for section, fields in values.items()
        for name, value in fields.items()
    }
