"""When a person is told: once as a state turns bad, once as it is good again."""

from __future__ import annotations

import pytest

from lib.alerts.conditions import (
    EVENTS,
    AlertKind,
    AlertState,
    Change,
    Condition,
    ShopPharmacy,
    ShopPharmacyState,
    account_conditions,
    account_subject,
    breaker_conditions,
    compare,
    failure_conditions,
    pending_conditions,
)
from lib.models import FinishedCount, PipelineSummary
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import AlertSettings

LIMITS = AlertSettings(pending_seconds=3600, failure_rate=0.2, failure_count=10)
SHOP: ShopPharmacy = ("SHOP01", "790760001234")


def backlog(age: float | None) -> list[PipelineSummary]:
    return [PipelineSummary("sale", pending=7, in_flight=2, oldest_pending_seconds=age)]


def place(
    state: BreakerState,
    *,
    logged_in: bool = False,
    where: ShopPharmacy = SHOP,
    name: str = "account:ab-1",
) -> ShopPharmacyState:
    return ShopPharmacyState(where, BreakerSnapshot(name, state, reason="HTTP 401"), logged_in)


def raised_by(conditions: list[Condition]) -> list[bool]:
    return [condition.raised for condition in conditions]


class Teller:
    """Looks again and again, and notes what was told, as `tasks.alerts` does."""

    def __init__(self) -> None:
        self.alert_states: dict[str, AlertState] = {}

        self.told: list[str] = []

    def look(self, conditions: list[Condition]) -> list[str]:
        changes = compare(conditions, self.alert_states)
        self.alert_states |= {change.key: change.after for change in changes}
        events = [change.event for change in changes]
        self.told += events
        return events


def test_a_change_is_told_once_however_often_it_is_looked_at() -> None:
    teller = Teller()
    told = [
        teller.look(pending_conditions(backlog(age), LIMITS))
        for age in (10, 4000, 4060, 9000, 5, 5, None)
    ]
    assert told == [[], ["dqg.pending.overdue"], [], [], ["dqg.pending.caught-up"], [], []]


def test_nothing_good_is_told_of_what_was_never_bad() -> None:
    assert Teller().look(pending_conditions(backlog(None), LIMITS)) == []


def test_an_age_that_swings_around_the_limit_is_told_once() -> None:
    teller = Teller()
    for age in (3700, 3500, 3700, 2000):
        teller.look(pending_conditions(backlog(age), LIMITS))
    assert teller.told == ["dqg.pending.overdue"]


@pytest.mark.parametrize(
    ("count", "raised"),
    [
        (FinishedCount(40, 10), [True]),
        (FinishedCount(4, 9), []),  # too few to say that it is bad, too many to say it is good
        (FinishedCount(1000, 10), [False]),
        (FinishedCount(85, 15), []),  # between the limit and its half
        (FinishedCount(95, 5), [False]),
        (FinishedCount(0, 0), [False]),
    ],
)
def test_failures_are_told_by_their_share_and_their_number(
    count: FinishedCount, raised: list[bool]
) -> None:
    assert raised_by(failure_conditions({"sale": count}, LIMITS)) == raised


@pytest.mark.parametrize(
    ("state", "raised"),
    [
        (BreakerState.CLOSED, [False]),
        (BreakerState.OPEN, [True]),
        (BreakerState.HALF_OPEN, [True]),
        (BreakerState.FORCED_OPEN, []),
    ],
)
def test_a_breaker_is_open_until_a_probe_has_closed_it(
    state: BreakerState, raised: list[bool]
) -> None:
    assert raised_by(breaker_conditions({"sale": BreakerSnapshot("x", state)})) == raised


def test_a_pause_by_hand_ends_no_alert() -> None:
    teller = Teller()
    states = (
        BreakerState.OPEN,
        BreakerState.FORCED_OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    )
    for state in states:
        teller.look(breaker_conditions({"sale": BreakerSnapshot("x", state, reason="503")}))
    assert teller.told == ["dqg.breaker.opened", "dqg.breaker.closed"]


def test_a_shared_account_is_one_alert_that_names_some_shops() -> None:
    paused = [
        place(BreakerState.OPEN, where=(f"SHOP{number:02}", "1"))
        for number in (7, 3, 1, 2, 5, 4, 6)
    ]
    (condition,) = account_conditions(paused, {})
    assert condition.where == "SHOP01, SHOP02, SHOP03, SHOP04, SHOP05 and 2 more shops"
    assert (condition.subject, condition.why) == ("ab", "HTTP 401")


def test_a_shop_paused_by_hand_is_no_refused_account() -> None:
    assert account_conditions([place(BreakerState.FORCED_OPEN)], {}) == []


def test_a_new_password_is_no_recovery_before_a_login_with_it() -> None:
    refused, untried = place(BreakerState.OPEN), place(BreakerState.CLOSED, name="account:ab-2")
    accepted = place(BreakerState.CLOSED, name="account:ab-2", logged_in=True)
    teller = Teller()
    told = [
        teller.look(account_conditions([refused], {})),
        teller.look(account_conditions([], {"ab": [untried]})),
        teller.look(account_conditions([place(BreakerState.OPEN, name="account:ab-2")], {})),
        teller.look(account_conditions([], {"ab": [accepted]})),
    ]
    assert told == [["dqg.account.refused"], [], [], ["dqg.account.accepted"]]


def test_an_account_that_is_still_refused_does_not_recover() -> None:
    still = place(BreakerState.HALF_OPEN, logged_in=True)
    assert account_conditions([], {"ab": [still]}) == []


def test_a_subject_survives_a_change_of_password_and_a_missing_account_has_one() -> None:
    assert account_subject("account:ab12-0f") == account_subject("account:ab12-9c") == "ab12"
    assert account_subject("missing:SHOP-01") == "missing:SHOP-01"


def test_the_same_change_is_the_same_event_and_the_next_one_another() -> None:
    condition = Condition(AlertKind.BREAKER, "sale", "sale", True, "503")
    first, twin = Change(condition, AlertState()), Change(condition, AlertState())
    assert first.event_id("a") == twin.event_id("a")
    later = Change(condition, AlertState(raised=False, changes=2))
    assert len({first.event_id("a"), first.event_id("b"), later.event_id("a")}) == 3


def test_every_kind_has_an_event_each_way() -> None:
    assert len(EVENTS) == 3 * (len(AlertKind) - 1) + 1
