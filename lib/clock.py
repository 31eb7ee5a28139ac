"""This process's clock, for log timestamps only, never for leases; and the pharmacies' date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone

Clock = Callable[[], datetime]

#: The pharmacies' clock; Vietnam has no summer time.
PHARMACY_ZONE = timezone(timedelta(hours=7))


def utc_now() -> datetime:
    return datetime.now(UTC)


def pharmacy_date(moment: datetime) -> date:
    """The date in the pharmacies at a moment."""
    return moment.astimezone(PHARMACY_ZONE).date()
