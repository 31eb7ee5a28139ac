"""Where messages go: a webhook, mail, both or nowhere, kept as blocks on the Prefect server."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from apprise import Apprise
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.types import SecretDict
from pydantic import SecretStr

from lib.errors import ConfigurationError
from lib.settings import AlertSettings

WEBHOOK_BLOCK = "dqg-alerts-webhook"
EMAIL_BLOCK = "dqg-alerts-email"

#: Our blocks by name, with the type they are of.
BLOCK_TYPES: dict[str, type[Block]] = {
    WEBHOOK_BLOCK: CustomWebhookNotificationBlock,
    EMAIL_BLOCK: SlackWebhook,
}


def make_blocks(settings: AlertSettings) -> dict[str, Block]:
    """The blocks that the settings ask for, by name; not saved.

    Raises:
        ConfigurationError: an address cannot be used. Its text does not show it.
    """
    blocks: dict[str, Block] = {}
    if settings.webhook_url is not None:
        blocks[WEBHOOK_BLOCK] = _webhook(settings, settings.webhook_url.get_secret_value())
    if settings.email_url is not None:
        blocks[EMAIL_BLOCK] = _mail(settings.email_url.get_secret_value())
    return blocks


def _webhook(settings: AlertSettings, url: str) -> Block:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigurationError("DQG_ALERTS__WEBHOOK_URL must be an http(s) address")
    # The block keeps only its `secrets` hidden, and fills them in where they are named.
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
            f"DQG_ALERTS__WEBHOOK_JSON may hold {{{{subject}}}} and {{{{body}}}} only: {error}"
        ) from None


def _mail(url: str) -> Block:
    # Prefect has no block for SMTP. That for Slack hands an address which is not
    # Slack's to Apprise as it is, and Apprise sends mail.
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme not in ("mailto", "mailtos") or not {"from", "to"} <= query.keys():
        raise ConfigurationError(
            "DQG_ALERTS__EMAIL_URL must be mailto:// or mailtos:// with from=… and to=…"
        )
    # A template is plain text; Apprise would send it as HTML.
    address = urlunsplit(parts._replace(query=urlencode({"format": "text"} | query)))
    if Apprise.instantiate(address) is None:
        raise ConfigurationError("DQG_ALERTS__EMAIL_URL is no address that mail can be sent by")
    return SlackWebhook(url=SecretStr(address))
