"""Settings of the alerts; `lib.settings` reads them with all others."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lib.settings.section import Seconds, Section


class AlertSettings(Section):
    """What alerts report, and where to; see docs/alerts.md."""

    webhook_url: SecretStr | None = Field(
        None, description="address that gets one POST for each alert and each recovery"
    )
    webhook_json: dict[str, str] = Field(
        {"subject": "{{subject}}", "body": "{{body}}", "text": "{{subject}}\n\n{{body}}"},
        description="JSON, what is posted there; chats show `text`",
    )
    webhook_headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="JSON, headers of that POST, for example a token"
    )
    email_url: SecretStr | None = Field(
        None,
        description="mail server, sender and receivers: "
        "`mailtos://USER:PASSWORD@smtp.example?from=dqg@example.vn&to=operator@example.vn`",
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
