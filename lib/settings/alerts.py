"""Settings of the alerts; `lib.settings` reads them with all others."""

from __future__ import annotations

from datetime import time
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from lib.settings.section import Seconds, Section


class AlertRoute(Section):
    """Some shops, and who is notified of them.

    Attributes:
        shops: their codes; `HN*` means every code that begins so.
        urls: addresses, separated by blanks or lines.
    """

    shops: tuple[str, ...]
    urls: SecretStr

    def covers(self, shop: str) -> bool:
        """Whether a shop is one of them; case does not count."""
        code = shop.strip().casefold()
        return any(fnmatchcase(code, pattern.strip().casefold()) for pattern in self.shops)


#: Part of the names of automations and blocks.
RouteName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class AlertSettings(Section):
    """What alerts report, and where to; see docs/alerts.md."""

    urls: SecretStr | None = Field(
        None,
        description="Apprise addresses that get every alert, separated by blanks or lines: "
        "`tgram://TOKEN/CHAT`, `mailtos://USER:PASSWORD@smtp.example?from=…&to=…`",
    )
    routes: dict[RouteName, AlertRoute] = Field(
        default_factory=dict,
        description="JSON, more receivers for some shops: "
        '`{"north": {"shops": ["HN*"], "urls": "tgram://…"}}`',
    )
    webhook_url: SecretStr | None = Field(
        None, description="address that gets one POST for each message"
    )
    webhook_json: dict[str, str] = Field(
        {"subject": "{{subject}}", "body": "{{body}}", "text": "{{subject}}\n\n{{body}}"},
        description="JSON, what is posted there; chats show `text`",
    )
    webhook_headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="JSON, headers of that POST, for example a token"
    )
    reminder_hours: float = Field(
        4, ge=0, le=24 * 7, description="hours between reminders while a state lasts; 0: none"
    )
    digest_at: time | None = Field(
        time(7, 0), description="when the morning's digest is sent, Vietnam time; empty: never"
    )
    pending_seconds: Seconds = Field(
        3600, description="age of the oldest pending document above which an alert is sent"
    )
    failure_rate: float = Field(
        0.2, gt=0, le=1, description="share of failed documents from which on an alert is sent"
    )
    failure_count: int = Field(
        20, ge=1, description="and only if at least this number of documents failed"
    )
    failure_window: float = Field(
        3600, ge=60, le=86_400, description="seconds back over which failures are counted"
    )
    deadline_hours: dict[str, float] = Field(
        default_factory=dict,
        description="JSON, hours from a document's date to its deadline, by pipeline: "
        '`{"import": 48}`; otherwise it is the end of its day',
    )
    deadline_warning_hours: float = Field(
        3, ge=0, le=24, description="hours before the deadline from which on an alert is sent"
    )

    @field_validator("digest_at", mode="before")
    @classmethod
    def _none_where_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("routes")
    @classmethod
    def _other_names(cls, routes: dict[str, AlertRoute]) -> dict[str, AlertRoute]:
        if "everybody" in routes:
            raise ValueError("`everybody` is the name of the receivers in `urls`")
        return routes
