"""Texts for breakers, durations and times."""

from __future__ import annotations

from datetime import datetime, timedelta

from lib.pipelines import PHARMACY_ZONE
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.words.language import N_, Language, translate

_UNITS = (
    (86_400, N_("{number} days")),
    (3600, N_("{number} hours")),
    (60, N_("{number} minutes")),
    (1, N_("{number} seconds")),
)
#: In a breaker's reason, between the person who forced it open and why.
_SEPARATOR = ": "


def length(seconds: float | None, language: Language) -> str:
    """A duration as readable text."""
    if seconds is None:
        return "–"
    size, text = next((unit for unit in _UNITS if seconds >= 2 * unit[0]), _UNITS[-1])
    return translate(language, text, number=format(seconds / size, ".0f"))


def moment(at: datetime | None, now: datetime) -> str:
    """A time in Vietnam's time zone; without the date if it is today."""
    if at is None:
        return ""
    local, today = at.astimezone(PHARMACY_ZONE), now.astimezone(PHARMACY_ZONE).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%d/%m/%Y %H:%M}"


def breaker(snapshot: BreakerSnapshot | None, language: Language, now: datetime) -> str:
    """What a breaker means for the documents behind it; None: not known."""
    if snapshot is None:
        return translate(language, "not known")
    match snapshot.state:
        case BreakerState.CLOSED:
            return translate(language, "good")
        case BreakerState.FORCED_OPEN:
            by, why = held_by(snapshot.reason)
            if not by:
                return translate(language, "stopped by hand because: {why}", why=why)
            return translate(language, "stopped by hand by {by} because: {why}", by=by, why=why)
        case BreakerState.OPEN if snapshot.seconds_left:
            until = moment(now + timedelta(seconds=snapshot.seconds_left), now)
            return translate(language, "paused until {time}", time=until)
        case _:
            return translate(language, "trying again")


def held(by: str, why: str) -> str:
    """The reason of a breaker that a person forces open."""
    return f"{by}{_SEPARATOR}{why}"


def held_by(reason: str | None) -> tuple[str, str]:
    """Who forced a breaker open, and why; who is empty if the reason does not name a person."""
    by, separator, why = (reason or "").partition(_SEPARATOR)
    return (by, why) if separator else ("", by)
