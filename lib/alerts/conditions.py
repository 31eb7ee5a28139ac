"""What alerts report: one message when a state turns bad, one when it is good again.

`observe` looks at what `orchestrate` knows, `judge` compares that with what was reported before
(`lib.alerts.state`), and what has changed is an event for Prefect, whose automations
(`deployments/server/alerts/`) make a message of it.

            raised                                  recovered
    pending the oldest document is above the limit  below half of it
    failures share and number reach their limits    share is below half of its limit
    breaker the pipeline's breaker is not closed    it is closed
    account the API refused the account             it is closed, and logged in since

Between a limit and its half nothing changes, so that a value that swings around the limit is not
reported again and again. A pause by hand is not reported: a person made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

from lib.models import FinishedCount, PipelineSummary
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import AlertSettings

_SHOPS_NAMED = 5
_NAMESPACE = UUID("6b2f5f0a-0d5c-4a3e-9f5b-3f0e6f3a7c11")


class AlertKind(StrEnum):
    """What can be reported; the values are part of event names and of keys in Redis."""

    PENDING = "pending"
    FAILURES = "failures"
    BREAKER = "breaker"
    ACCOUNT = "account"


#: Ends of the events' names, of one that is raised and of one that has recovered.
_VERBS = {
    AlertKind.PENDING: ("overdue", "caught-up"),
    AlertKind.FAILURES: ("above-rate", "below-rate"),
    AlertKind.BREAKER: ("opened", "closed"),
    AlertKind.ACCOUNT: ("refused", "accepted"),
}

#: All names of events that this module gives out.
EVENTS = frozenset(f"dqg.{kind}.{verb}" for kind, verbs in _VERBS.items() for verb in verbs)

#: A shop and the pharmacy code its documents carry: where an account is looked up.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """What was reported last of one subject.

    Attributes:
        changes: how often it changed; the next message is the next number.
        places: of an account, whose documents it sends.
    """

    raised: bool = False
    changes: int = 0
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceState:
    """What is known of the account behind a place now.

    Attributes:
        breaker: name of the account's breaker.
        logged_in: whether a token of this login is known; None where it was not checked.
    """

    place: Place
    breaker: BreakerSnapshot
    logged_in: bool | None = None

    @property
    def refused(self) -> bool:
        return self.breaker.state in (BreakerState.OPEN, BreakerState.HALF_OPEN)

    @property
    def accepted(self) -> bool:
        return self.breaker.state is BreakerState.CLOSED and bool(self.logged_in)


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of one subject now.

    Attributes:
        subject: unique within its kind; of an account it stays the same with a new password.
        where: pipeline or shops, for a person.
        why: the reason or the figures, for a person.
    """

    kind: AlertKind
    subject: str
    where: str
    raised: bool
    why: str
    places: tuple[Place, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Change:
    """A condition that differs from what was reported last."""

    condition: Condition
    before: Standing

    @property
    def key(self) -> str:
        return self.condition.key

    @property
    def after(self) -> Standing:
        return Standing(self.condition.raised, self.before.changes + 1, self.condition.places)

    @property
    def event(self) -> str:
        raised, recovered = _VERBS[self.condition.kind]
        return f"dqg.{self.condition.kind}.{raised if self.condition.raised else recovered}"

    def event_id(self, generation: str) -> UUID:
        """The same for every process that sees this change, and for no other change."""
        return uuid5(_NAMESPACE, f"{generation}:{self.key}:{self.after.changes}")


def judge(conditions: Iterable[Condition], standings: Mapping[str, Standing]) -> list[Change]:
    """What has to be reported. Pure. A subject of which nothing was reported counts as good."""
    changes = []
    for condition in conditions:
        before = standings.get(condition.key, Standing())
        if condition.raised != before.raised:
            changes.append(Change(condition, before))
    return changes


def pending_conditions(
    backlog: Sequence[PipelineSummary], limits: AlertSettings
) -> list[Condition]:
    """Of each pipeline, how old its oldest pending document is."""
    found = []
    for summary in backlog:
        age, limit = summary.oldest_pending_seconds or 0.0, limits.pending_seconds
        if limit / 2 <= age <= limit:
            continue
        raised = age > limit
        text = (
            f"the oldest pending document is {_minutes(age)} old, the limit is {_minutes(limit)}; "
            f"{summary.pending} are pending, {summary.in_flight} in flight"
        )
        good = f"{summary.pending} documents are pending, the oldest is {_minutes(age)} old"
        found.append(_of_pipeline(AlertKind.PENDING, summary.pipeline, raised, text, good))
    return found


def failure_conditions(
    finished: Mapping[str, FinishedCount], limits: AlertSettings
) -> list[Condition]:
    """Of each pipeline, how many of the documents that ended lately have failed."""
    found = []
    for pipeline, count in finished.items():
        raised = count.failed >= limits.failure_count and count.failed_share >= limits.failure_rate
        if not raised and count.failed and count.failed_share >= limits.failure_rate / 2:
            continue
        ended = count.failed + count.succeeded
        text = (
            f"{count.failed} of {ended} documents failed within "
            f"{_minutes(limits.failure_window)} ({count.failed_share:.0%})"
        )
        found.append(_of_pipeline(AlertKind.FAILURES, pipeline, raised, text, text))
    return found


def breaker_conditions(breakers: Mapping[str, BreakerSnapshot]) -> list[Condition]:
    """Of each pipeline, whether its breaker lets calls through; none that is forced open."""
    return [
        _of_pipeline(
            AlertKind.BREAKER,
            pipeline,
            breaker.state is not BreakerState.CLOSED,
            breaker.reason or "no reason is known",
            "calls go through again",
        )
        for pipeline, breaker in breakers.items()
        if breaker.state is not BreakerState.FORCED_OPEN
    ]


def account_conditions(
    paused: Iterable[PlaceState],
    told: Mapping[str, Iterable[PlaceState]],
) -> list[Condition]:
    """Of each account that is refused, or was when it was reported last.

    Args:
        paused: places whose account is refused now.
        told: by subject, what is known now of the places of a refusal that was reported.
    """
    found: dict[str, Condition] = {}
    refused: defaultdict[str, list[PlaceState]] = defaultdict(list)
    for state in paused:
        if state.refused:
            refused[account_subject(state.breaker.name)].append(state)
    for subject, states in refused.items():
        places = tuple(sorted({state.place for state in states}))
        found[subject] = _of_account(subject, places, True, states[0].breaker.reason)
    for subject, states_now in told.items():
        states = list(states_now)
        if subject not in found and all(state.accepted for state in states):
            places = tuple(sorted({state.place for state in states}))
            found[subject] = _of_account(subject, places, False, "the API accepts the login")
    return list(found.values())


def account_subject(breaker_name: str) -> str:
    """The login that a breaker guards, without what tells its passwords apart."""
    kind, _, key = breaker_name.partition(":")
    return key.rpartition("-")[0] if kind == "account" and "-" in key else breaker_name


def _of_account(
    subject: str, places: tuple[Place, ...], raised: bool, reason: str | None
) -> Condition:
    shops = sorted({shop for shop, _ in places})
    named = ", ".join(shops[:_SHOPS_NAMED])
    more = len(shops) - _SHOPS_NAMED
    where = f"{named} and {more} more shops" if more > 0 else named
    return Condition(
        AlertKind.ACCOUNT, subject, where, raised, reason or "no reason is known", places
    )


def _of_pipeline(kind: AlertKind, pipeline: str, raised: bool, bad: str, good: str) -> Condition:
    return Condition(kind, pipeline, pipeline, raised, bad if raised else good)


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
