"""Availability of the national API by hour, measured by our own calls. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lib.pipelines import PHARMACY_ZONE
from lib.tracking.task_logs import LATENCY_BOUNDS, CallCount

HOURS = 24
#: Error classes that mean that the API does not work. In all other cases it answered.
_ERRORS = frozenset({"unavailable", "outcome_unknown", "configuration", "unexpected"})
#: This program cancelled the call, so it says nothing about the API.
_OURS = frozenset({"cancelled"})
_BAR = 10


@dataclass(slots=True)
class Hour:
    """The calls of one hour, or of several.

    Attributes:
        refused: answered, but the document, or its account, was not accepted.
        errors: not answered, or answered with an error of the API.
        latencies: number of calls by index into `LATENCY_BOUNDS`.
    """

    calls: int = 0
    refused: int = 0
    errors: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, count: CallCount) -> None:
        if count.error_class in _OURS:
            return
        self.calls += count.calls
        self.latencies[count.latency] += count.calls
        if count.error_class in _ERRORS:
            self.errors += count.calls
        elif count.error_class:
            self.refused += count.calls

    @property
    def error_share(self) -> float:
        """From 0 to 1; 0 without calls."""
        return self.errors / self.calls if self.calls else 0.0

    def percentile(self, share: float) -> float | None:
        """Milliseconds within which this share of the calls ended, accurate to about one eighth."""
        wanted, seen = share * self.calls, 0
        for index in sorted(self.latencies):
            number = self.latencies[index]
            if number and seen + number >= wanted:
                if index >= len(LATENCY_BOUNDS):
                    return float(LATENCY_BOUNDS[-1])
                lower = LATENCY_BOUNDS[index - 1] if index else 0
                return lower + (LATENCY_BOUNDS[index] - lower) * (wanted - seen) / number
            seen += number
        return None


def first_hour(now: datetime) -> datetime:
    """Start of the first hour that is shown; the last one is the current hour."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)


def by_hour(counts: Iterable[CallCount], now: datetime) -> list[tuple[datetime, Hour]]:
    """The last hours, oldest first, including hours without a call."""
    hours = {first_hour(now) + timedelta(hours=n): Hour() for n in range(HOURS)}
    for count in counts:
        if count.hour in hours:
            hours[count.hour].add(count)
    return list(hours.items())


def as_markdown(hours: Sequence[tuple[datetime, Hour]], title: str) -> str:
    """A page with a one-line summary of the day, and a table with bars, newest hour first."""
    total = Hour()
    for _, hour in hours:
        total.calls += hour.calls
        total.refused += hour.refused
        total.errors += hour.errors
        total.latencies += hour.latencies
    slowest = max((hour.percentile(0.95) or 0 for _, hour in hours), default=0)
    if not total.calls:
        return f"# {title}\n\nNo call was made in the last {HOURS} hours."
    head = (
        f"**{1 - total.error_share:.1%}** of {total.calls} calls were answered; "
        f"{total.errors} ended in an error of the API. Half of them took up to "
        f"**{_time(total.percentile(0.5))}**, 95 % up to "
        f"**{_time(total.percentile(0.95))}**. {total.refused} answers refused the "
        "document or its account, which is not an error of the API."
    )
    lines = [
        "| hour | calls | errors | | median | 95 % | | refused |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- | ---: |",
        *(_line(begin, hour, slowest) for begin, hour in reversed(hours) if hour.calls),
    ]
    foot = (
        "Hours in Vietnam's time zone; hours without a call are not shown. An error bar is full "
        "at 100 %, a latency bar at the slowest hour."
    )
    return "\n".join([f"# {title}", "", head, "", *lines, "", foot])


def _line(begin: datetime, hour: Hour, slowest: float) -> str:
    slow = hour.percentile(0.95) or 0.0
    cells = [
        f"{begin.astimezone(PHARMACY_ZONE):%d/%m %H:00}",
        str(hour.calls),
        f"{hour.error_share:.1%}",
        bar(hour.error_share) if hour.errors else "",
        _time(hour.percentile(0.5)),
        _time(slow),
        bar(slow / slowest if slowest else 0.0),
        str(hour.refused),
    ]
    return f"| {' | '.join(cells)} |"


def bar(share: float) -> str:
    """A bar of text; a share above zero shows at least one filled part."""
    parts = 0 if share <= 0 else max(1, round(min(share, 1.0) * _BAR))
    return "█" * parts + "░" * (_BAR - parts)


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"
