"""Settings of operation: command line, console, alerts, daily close, metrics, warm starts."""

from __future__ import annotations

from datetime import time
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator

from lib.pipelines import PIPELINES
from lib.settings.section import Seconds, Section
from lib.words.language import Language


class CliSettings(Section):
    """The command line `dqg`."""

    language: Language = Field(
        Language.ENGLISH,
        description="language of tables and messages; JSON and logs are always English",
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


class ConsoleSettings(Section):
    """The web console, `dqg console`."""

    host: str = Field("127.0.0.1", description="address the console listens on")
    port: int = Field(4300, ge=0, le=65535, description="port the console listens on")
    public_url: str | None = Field(
        None, description="address that its users open; messages link to it"
    )
    language: Language = Field(
        Language.VIETNAMESE, description="language until the user chooses the other one"
    )
    users_file: Path = Field(
        Path("console-users.json"),
        description="file with the users of the console, written by `dqg console user add`",
    )
    session_key: SecretStr | None = Field(
        None,
        description="Fernet key of the session cookies; by default a new key at each start, after "
        "which all users must log in again",
    )
    session_hours: float = Field(
        10, gt=0, le=24 * 7, description="hours after which a user must log in again"
    )
    proxy_header: str | None = Field(
        None,
        description="header in which a trusted proxy passes the name of the user, who then needs "
        "no password, e.g. `X-Forwarded-Email`",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description='JSON, addresses of proxies whose headers are trusted: `["10.0.0.7/32"]`'
    )


class AlertRoute(Section):
    """A group of shops, and the receivers of messages about them.

    Attributes:
        shops: their codes; `HN*` means every code that begins with `HN`.
        urls: addresses, separated by blanks or line breaks.
    """

    shops: tuple[str, ...]
    urls: SecretStr

    def covers(self, shop: str) -> bool:
        """Whether a shop belongs to the group; the comparison ignores case."""
        code = shop.strip().casefold()
        return any(fnmatchcase(code, pattern.strip().casefold()) for pattern in self.shops)


#: Part of the names of automations and blocks.
RouteName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class AlertSettings(Section):
    """What alerts report, and who receives them; see docs/alerts.md."""

    urls: SecretStr | None = Field(
        None,
        description="Apprise addresses that get every alert, separated by blanks or lines: "
        "`tgram://TOKEN/CHAT`, `mailtos://USER:PASSWORD@smtp.example?from=…&to=…`",
    )
    routes: dict[RouteName, AlertRoute] = Field(
        default_factory=dict,
        description="JSON, additional receivers for some shops: "
        '`{"north": {"shops": ["HN*"], "urls": "tgram://…"}}`',
    )
    webhook_url: SecretStr | None = Field(
        None, description="address that gets one POST for each message"
    )
    webhook_json: dict[str, str] = Field(
        {"subject": "{{subject}}", "body": "{{body}}", "text": "{{subject}}\n\n{{body}}"},
        description="JSON, body of that POST; chats show `text`",
    )
    webhook_headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="JSON, headers of that POST, for example a token"
    )
    reminder_hours: float = Field(
        4,
        ge=0,
        le=24 * 7,
        description="hours between reminders while an alert lasts; 0: no reminders",
    )
    digest_at: time | None = Field(
        time(7, 0), description="time of the daily digest, Vietnam time; empty: no digest"
    )
    pending_seconds: Seconds = Field(
        3600,
        description="age in seconds of the oldest pending document above which an alert is sent",
    )
    failure_rate: float = Field(
        0.2, gt=0, le=1, description="minimum share of failed documents for an alert"
    )
    failure_count: int = Field(
        20,
        ge=1,
        description="minimum number of failed documents for an alert; both limits must be reached",
    )
    failure_window: float = Field(
        3600,
        ge=60,
        le=86_400,
        description="length in seconds of the period in which failures are counted",
    )
    deadline_hours: dict[str, float] = Field(
        default_factory=dict,
        description="JSON, hours from a document's date to its deadline, by pipeline: "
        '`{"import": 48}`; by default the deadline is the end of that day',
    )
    deadline_warning_hours: float = Field(
        3, ge=0, le=24, description="hours before the deadline at which an alert is sent"
    )

    @field_validator("digest_at", mode="before")
    @classmethod
    def _none_where_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("deadline_hours")
    @classmethod
    def _known_pipelines(cls, hours: dict[str, float]) -> dict[str, float]:
        if not hours.keys() <= PIPELINES.keys():
            raise ValueError(f"the pipelines are {', '.join(PIPELINES)}")
        return hours

    @field_validator("routes")
    @classmethod
    def _other_names(cls, routes: dict[str, AlertRoute]) -> dict[str, AlertRoute]:
        if "everybody" in routes:
            raise ValueError("`everybody` is the name of the receivers in `urls`")
        return routes


class CloseSettings(Section):
    """The daily close, `dqg close`."""

    signing_key: SecretStr | None = Field(
        None,
        description="key that signs the files of a daily close: the seed of an Ed25519 key, 32 "
        "random bytes in base64, e.g. from `openssl rand -base64 32`; without it the files "
        "contain only a checksum",
    )


class MetricsSettings(Section):
    """Metrics of the runs on this machine, for Prometheus."""

    dir: Path | None = Field(
        None,
        description="folder for the metrics of the runs on this machine; without it no metrics are "
        "recorded",
    )
    host: str = Field(
        "127.0.0.1",
        description="address that `python -m deployments.containers.metrics` listens on",
    )
    port: int = Field(9464, ge=1, le=65535, description="port it listens on")


class WarmStartSettings(Section):
    """Warm starts of the process pools."""

    idle_seconds: Seconds = Field(
        600, description="seconds without a run after which the preloaded process ends"
    )
