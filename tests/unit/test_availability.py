"""How the API did, from counts of our own calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lib.tracking.availability import Hour, as_markdown, bar, by_hour, first_hour
from lib.tracking.task_logs import LATENCY_BOUNDS, CallCount

NOW = datetime(2026, 11, 2, 10, 30, tzinfo=UTC)
HOUR = datetime(2026, 11, 2, 9, tzinfo=UTC)


def count(calls: int, error_class: str = "", latency: int = 10, hour: datetime = HOUR) -> CallCount:
    return CallCount(hour, error_class, latency, calls)


def hour_of(*counts: CallCount) -> Hour:
    return dict(by_hour(counts, NOW))[HOUR]


def test_the_last_24_hours_are_there_without_calls_too() -> None:
    hours = by_hour([count(1, hour=NOW - timedelta(days=2))], NOW)
    assert len(hours) == 24
    assert hours[0][0] == first_hour(NOW) == datetime(2026, 11, 1, 11, tzinfo=UTC)
    assert hours[-1][0] == datetime(2026, 11, 2, 10, tzinfo=UTC)
    assert sum(hour.calls for _, hour in hours) == 0


def test_a_refused_document_is_no_error_of_the_api() -> None:
    found = hour_of(
        count(70),
        count(10, "rejected"),
        count(15, "unavailable"),
        count(5, "outcome_unknown"),
        count(99, "cancelled"),
    )
    assert (found.calls, found.refused, found.errors) == (100, 10, 20)
    assert found.error_share == pytest.approx(0.2)


def test_percentiles_lie_within_their_class() -> None:
    found = hour_of(count(90, latency=10), count(10, latency=20))
    median, high = found.percentile(0.5), found.percentile(0.95)
    assert median is not None
    assert high is not None
    assert LATENCY_BOUNDS[9] < median <= LATENCY_BOUNDS[10]
    assert LATENCY_BOUNDS[19] < high <= LATENCY_BOUNDS[20]
    assert Hour().percentile(0.5) is None
    beyond = hour_of(count(1, latency=len(LATENCY_BOUNDS)))
    assert beyond.percentile(0.5) == LATENCY_BOUNDS[-1]


def test_classes_of_latency_grow_and_cover_every_timeout() -> None:
    assert list(LATENCY_BOUNDS) == sorted(set(LATENCY_BOUNDS))
    assert LATENCY_BOUNDS[-1] > 60_000


def test_the_page_says_it_in_one_line_and_by_hour() -> None:
    counts = [count(95), count(5, "unavailable", latency=30)]
    page = as_markdown(by_hour(counts, NOW), "National API")
    assert "**95.0%** of 100 calls were answered" in page
    rows = [line for line in page.splitlines() if line.startswith("| 02/11")]
    assert len(rows) == 1
    # 09:00 UTC is 16:00 in Vietnam.
    assert rows[0].startswith("| 02/11 16:00 | 100 | 5.0% | █░░░░░░░░░ |")


def test_without_calls_the_page_says_so() -> None:
    assert "No call was made" in as_markdown(by_hour([], NOW), "National API")


def test_a_bar_shows_the_smallest_share() -> None:
    assert [bar(share).count("█") for share in (0, 0.001, 0.5, 1, 2)] == [0, 1, 5, 10, 10]
