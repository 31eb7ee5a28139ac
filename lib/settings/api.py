"""Settings of the national API."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from lib.settings.encryption import check_keys
from lib.settings.secret_references import is_reference
from lib.settings.section import Seconds, Section


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
    proxy: SecretStr | None = Field(None, description="outbound HTTP proxy (http or https)")
    ca_file: str | None = Field(None, description="PEM file of a private certificate authority")
    username: str | None = Field(
        None, description="account for shops without an account in AccountShop"
    )
    password: SecretStr | None = Field(None, description="password of that account")
    account_key: SecretStr | None = Field(
        None,
        description="keys of the passwords that AccountShop holds encrypted, separated by commas: "
        "the first one encrypts, all of them decrypt",
    )
    connect_timeout: Seconds = Field(10, description="seconds to reach the API")
    read_timeout: Seconds = Field(60, description="seconds to wait for its answer")
    settle_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="seconds a call without a clear end may go on at the API; until then a look-up "
        "that does not find the document proves nothing, and nothing is sent again",
    )
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
    update: bool = Field(
        False,
        description="send a document that was corrected after its acceptance as an update (PUT); "
        "without it such a document fails and waits for a person",
    )
    short_retry_after: float = Field(
        5, ge=0, description="a Retry-After up to this many seconds is waited out on the spot"
    )
    duplicate_texts: tuple[str, ...] = Field(
        ("đã tồn tại", "da ton tai", "trùng", "already exists", "duplicate"),
        description="JSON, parts of an error text that mean: the API has this document already",
    )
    answer_limit: int = Field(4000, ge=100, description="characters of an answer that are kept")
    normalize_text: bool = Field(
        True, description="send texts with composed accents (Unicode NFC), however they are stored"
    )
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
            raise ValueError("username and password go together")
        return self

    @property
    def call_seconds(self) -> float:
        """How long a call may be under way, at the API too, from before it begins."""
        return self.connect_timeout + self.read_timeout + self.settle_seconds


def is_http_address(value: str) -> bool:
    """Whether a text is an address of HTTP with a host, and with a port that there is."""
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
