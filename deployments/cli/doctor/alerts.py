"""Check of the alerts: addresses are set, and usable."""

from __future__ import annotations

from deployments.cli.doctor.findings import DoctorContext, Finding, fault, note, ok
from deployments.cli.language import _, _n
from deployments.server.alerts.targets import make_blocks
from lib.errors import ConfigurationError


async def check_alerts(context: DoctorContext) -> list[Finding]:
    """Each alert address is valid; only a test message shows whether it can be reached."""
    assert context.settings is not None  # noqa: S101
    settings = context.settings.alerts
    try:
        count = sum(len(blocks) for blocks in make_blocks(settings).values())
    except ConfigurationError as error:
        return [fault(str(error), _("correct it: docs/alerts.md"))]
    if not count:
        return [note(_("no message is sent to people"), _("set DQG_ALERTS__URLS: docs/alerts.md"))]
    return [
        ok(
            _n(
                "{count} address can be used; dqg alerts test sends a message",
                "{count} addresses can be used; dqg alerts test sends a message",
                count,
            )
        )
    ]
