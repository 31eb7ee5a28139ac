"""Applies the alerts to the Prefect server of PREFECT_API_URL. Idempotent.

Run `python -m deployments.server.alerts` after an upgrade, and after a change of the settings
`DQG_ALERTS__…` for the receivers of messages.
"""

from __future__ import annotations

import asyncio
import sys

from deployments.server.alerts.apply import Applied, apply_alerts
from deployments.server.alerts.files import read_alerts
from lib.errors import ConfigurationError, StoreUnavailable
from lib.settings import AlertSettings
from tasks.configuration import read_settings


def main() -> int:
    """Returns the exit status."""
    try:
        settings, applied = asyncio.run(_apply())
    except (ConfigurationError, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    _report(applied)
    if settings.webhook_url is None and settings.urls is None:
        print(
            "no message is sent: set DQG_ALERTS__URLS or DQG_ALERTS__WEBHOOK_URL; until then "
            "alerts appear only in the UI, under Event Feed"
        )
    return 0


async def _apply() -> tuple[AlertSettings, Applied]:
    settings = (await read_settings()).alerts
    return settings, await apply_alerts(read_alerts(), settings)


def _report(applied: Applied) -> None:
    for what in ("created", "updated", "removed"):
        for name in getattr(applied, what):
            print(f"{what} {name}")
    print(f"{len(applied.unchanged)} unchanged")
    for name in applied.switched_off:
        print(f"switched off in the UI, sends no message: {name}")


if __name__ == "__main__":
    sys.exit(main())
