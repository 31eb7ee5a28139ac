"""Receivers of messages: a webhook and Apprise addresses, as blocks on the Prefect server."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from apprise import Apprise
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.types import SecretDict
from pydantic import SecretStr

from lib.alerts.conditions import EVERYBODY
from lib.errors import ConfigurationError
from lib.settings import AlertSettings

#: Prefix of the names of our blocks.
PREFIX = "dqg-alerts-"
WEBHOOK_BLOCK = f"{PREFIX}webhook"


def make_blocks(settings: AlertSettings) -> dict[str, dict[str, NotificationBlock]]:
    """The blocks that the settings need, by route and name; not saved.

    Raises:
        ConfigurationError: an address cannot be used. The text does not show the address.
    """
    blocks: dict[str, dict[str, NotificationBlock]] = {EVERYBODY: {}}
    if settings.webhook_url is not None:
        blocks[EVERYBODY][WEBHOOK_BLOCK] = _webhook(
            settings, settings.webhook_url.get_secret_value()
        )
    addresses = {EVERYBODY: ("DQG_ALERTS__URLS", settings.urls)} | {
        name: (f"DQG_ALERTS__ROUTES, {name}", route.urls) for name, route in settings.routes.items()
    }
    for route, (setting, urls) in addresses.items():
        found = urls.get_secret_value().split() if urls is not None else []
        blocks.setdefault(route, {}).update(
            (f"{PREFIX}{route}-{number}", _apprise(url, f"{setting}, address {number}"))
            for number, url in enumerate(found, start=1)
        )
    return blocks


def _webhook(settings: AlertSettings, url: str) -> NotificationBlock:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigurationError("DQG_ALERTS__WEBHOOK_URL must be an http(s) address")
    # The block hides only its `secrets`, and inserts them where they are referenced.
    headers = {
        name: (f"header{number}", value.get_secret_value())
        for number, (name, value) in enumerate(settings.webhook_headers.items())
    }
    secrets = {"url": url} | dict(headers.values())
    try:
        return CustomWebhookNotificationBlock(
            name="dqg alerts",
            url="{{url}}",
            json_data=dict(settings.webhook_json),
            headers={name: f"{{{{{key}}}}}" for name, (key, _) in headers.items()},
            secrets=SecretDict(secrets),
        )
    except KeyError as error:
        raise ConfigurationError(
            f"DQG_ALERTS__WEBHOOK_JSON may contain only {{{{subject}}}} and {{{{body}}}}: {error}"
        ) from None


def _apprise(url: str, setting: str) -> NotificationBlock:
    # Prefect has no block for arbitrary Apprise addresses. The Slack block passes an address that
    # is not Slack's to Apprise unchanged.
    parts = urlsplit(url)
    if parts.scheme in ("mailto", "mailtos"):
        query = dict(parse_qsl(parts.query))
        if not {"from", "to"} <= query.keys():
            raise ConfigurationError(f"{setting}: mail needs from=… and to=…")
        # A message is plain text; Apprise would send it as HTML.
        url = urlunsplit(parts._replace(query=urlencode({"format": "text"} | query)))
    if Apprise.instantiate(url) is None:
        raise ConfigurationError(f"{setting}: Apprise does not support this address")
    return SlackWebhook(url=SecretStr(url))
