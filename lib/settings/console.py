"""Settings of the web console."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, SecretStr

from lib.settings.section import Section
from lib.words.language import Language


class ConsoleSettings(Section):
    """The web console, `dqg console`."""

    host: str = Field("127.0.0.1", description="address the console listens on")
    port: int = Field(4300, ge=0, le=65535, description="port the console listens on")
    public_url: str | None = Field(
        None, description="address people reach it at; messages link to it"
    )
    language: Language = Field(
        Language.VIETNAMESE, description="language until a person chooses the other one"
    )
    users_file: Path = Field(
        Path("console-users.json"),
        description="who may use the console, written by `dqg console user add`",
    )
    session_key: SecretStr | None = Field(
        None,
        description="Fernet key of the session cookies; by default a new one at each start, "
        "after which everybody logs in again",
    )
    session_hours: float = Field(
        10, gt=0, le=24 * 7, description="hours after which a person logs in again"
    )
    proxy_header: str | None = Field(
        None,
        description="header in which a trusted proxy names the user it has logged in, "
        "instead of a password, e.g. `X-Forwarded-Email`",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description='JSON, addresses of proxies whose headers are believed: `["10.0.0.7/32"]`'
    )
