"""What alerts report: one message when a state turns bad, one when it is good again.

`observe` reads the current states, `compare` compares them with the last reports
(`lib.alerts.state`). Each change becomes a message (`lib.alerts.messages`) in a Prefect event, and
Prefect automations (`deployments/server/alerts/`) send it. While a state stays bad, a reminder is
sent every few hours.

             raised                                  recovered
    pending  the oldest document is above the limit  below half of it
    failures share and number reach their limits     share is below half of its limit
    breaker  the pipeline's breaker is not closed    it is closed
    account  the API refused the account             its breaker is closed, and logged in since
    deadline documents are late, or soon will be     no document is late or soon will be

Between half of a limit and the limit the state does not change, so that a value that varies around
the limit is not reported again and again. A manual pause is not reported: a person made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from lib.models import FinishedCount, PipelineSummary
from lib.pipelines import PHARMACY_ZONE
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import AlertRoute, AlertSettings, Language
from lib.source.deadlines import DeadlineCount
from lib.words.language import translate
from lib.words.states import length

_SHOPS_NAMED = 5
_NAMESPACE = UUID("6b2f5f0a-0d5c-4a3e-9f5b-3f0e6f3a7c11")


class AlertKind(StrEnum):
    """What can be reported; the values are part of event names and of keys in Redis."""

    PENDING = "pending"
    FAILURES = "failures"
    BREAKER = "breaker"
    ACCOUNT = "account"
    DEADLINE = "deadline"
    DIGEST = "digest"


#: Suffixes of event names: raised, recovered, and still raised (the reminder).
_VERBS = {
    AlertKind.PENDING: ("overdue", "caught-up", "still-overdue"),
    AlertKind.FAILURES: ("above-rate", "below-rate", "still-above-rate"),
    AlertKind.BREAKER: ("opened", "closed", "still-open"),
    AlertKind.ACCOUNT: ("refused", "accepted", "still-refused"),
    AlertKind.DEADLINE: ("near", "met", "still-near"),
    AlertKind.DIGEST: ("sent",) * 3,
}

#: The names of all events that this module creates.
EVENTS = frozenset(f"dqg.{kind}.{verb}" for kind, verbs in _VERBS.items() for verb in verbs)

#: Name of the default route; its receivers get the messages about all shops.
EVERYBODY = "everybody"

#: A shop and the pharmacy code of its documents: the key under which an account is looked up.
ShopPharmacy = tuple[str, str]


@dataclass(frozen=True, slots=True)
class AlertState:
    """The last report of one subject.

    Attributes:
        changes: number of reports so far; the next message gets the next number.
        places: for an account, the shops and pharmacy codes whose documents it sends.
        since: when it turned bad, in seconds since the epoch; None if not known.
        reported: when the last message about it was sent.
    """

    raised: bool = False
    changes: int = 0
    places: tuple[ShopPharmacy, ...] = ()
    since: float | None = None
    reported: float | None = None


@dataclass(frozen=True, slots=True)
class ShopPharmacyState:
    """The current state of the account of one shop and pharmacy code.

    Attributes:
        breaker: snapshot of the account's breaker.
        logged_in: whether a token of this login is known; None if it was not checked.
    """

    place: ShopPharmacy
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
    """The current state of one subject.

    Attributes:
        subject: unique within its kind; for an account it does not change with a new password.
        where: pipeline or shops, as text for people.
        why: the reason or the figures, as text for people.
        route: notify only the receivers of this route; empty: all receivers concerned.
    """

    kind: AlertKind
    subject: str
    where: str
    raised: bool
    why: str
    places: tuple[ShopPharmacy, ...] = ()
    route: str = ""

    @property
    def shops(self) -> list[str]:
        """The shops whose documents it is about; empty if it is about a whole pipeline."""
        return sorted({shop for shop, _ in self.places})

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Change:
    """A condition that differs from its last report, or is due for a reminder.

    Attributes:
        now: seconds since the epoch.
    """

    condition: Condition
    before: AlertState
    now: float = 0.0

    @property
    def is_reminder(self) -> bool:
        return self.condition.raised and self.before.raised

    @property
    def since(self) -> float | None:
        """When the state turned bad."""
        return self.before.since if self.before.raised else self.now

    @property
    def key(self) -> str:
        return self.condition.key

    @property
    def after(self) -> AlertState:
        raised = self.condition.raised
        return AlertState(
            raised,
            self.before.changes + 1,
            self.condition.places,
            since=self.since if raised else None,
            reported=self.now,
        )

    @property
    def event(self) -> str:
        raised, recovered, still = _VERBS[self.condition.kind]
        verb = still if self.is_reminder else raised if self.condition.raised else recovered
        return f"dqg.{self.condition.kind}.{verb}"

    def event_id(self, generation: str, route: str = EVERYBODY) -> UUID:
        """Every process computes the same id for this change; no other change or route has it."""
        return uuid5(_NAMESPACE, f"{generation}:{self.key}:{self.after.changes}:{route}")

    def routes(self, known: Mapping[str, AlertRoute]) -> list[str]:
        """The routes to notify: the default route, and routes whose shops it is about.

        A condition of a whole pipeline goes to the default route only.
        """
        if self.condition.route:
            return [self.condition.route]
        own = [
            name
            for name, route in known.items()
            if self.condition.kind is AlertKind.ACCOUNT
            and any(route.covers(shop) for shop in self.condition.shops)
        ]
        return [EVERYBODY, *own]


def compare(
    conditions: Iterable[Condition],
    alert_states: Mapping[str, AlertState],
    now: float = 0.0,
    *,
    reminder_seconds: float = 0.0,
) -> list[Change]:
    """The changes to report. Pure. A subject without an earlier report counts as good.

    Args:
        now: seconds since the epoch.
        reminder_seconds: time after which a state that is still bad is reported again; 0: never.
    """
    changes = []
    for condition in conditions:
        change = Change(condition, alert_states.get(condition.key, AlertState()), now)
        quiet = now - (change.before.reported or 0.0)
        is_due = change.is_reminder and 0 < reminder_seconds <= quiet
        if condition.raised != change.before.raised or is_due:
            changes.append(change)
    return changes


def pending_conditions(
    backlog: Sequence[PipelineSummary],
    limits: AlertSettings,
    language: Language = Language.ENGLISH,
) -> list[Condition]:
    """The age of the oldest pending document of each pipeline."""
    found = []
    for summary in backlog:
        age, limit = summary.oldest_pending_seconds or 0.0, limits.pending_seconds
        if limit / 2 <= age <= limit:
            continue
        raised = age > limit
        text = translate(
            language,
            "{pending} documents wait and {in_flight} are being sent; the oldest has waited for "
            "{age}, the limit is {limit}",
            pending=summary.pending,
            in_flight=summary.in_flight,
            age=length(age, language),
            limit=length(limit, language),
        )
        found.append(_of_pipeline(AlertKind.PENDING, summary.pipeline, raised, text))
    return found


def failure_conditions(
    finished: Mapping[str, FinishedCount],
    limits: AlertSettings,
    language: Language = Language.ENGLISH,
) -> list[Condition]:
    """How many of each pipeline's recently ended documents have failed."""
    found = []
    for pipeline, count in finished.items():
        raised = count.failed >= limits.failure_count and count.failed_share >= limits.failure_rate
        if not raised and count.failed and count.failed_share >= limits.failure_rate / 2:
            continue
        text = translate(
            language,
            "{failed} of {ended} documents failed within {time} ({share})",
            failed=count.failed,
            ended=count.failed + count.succeeded,
            time=length(limits.failure_window, language),
            share=format(count.failed_share, ".0%"),
        )
        found.append(_of_pipeline(AlertKind.FAILURES, pipeline, raised, text))
    return found


def breaker_conditions(breakers: Mapping[str, BreakerSnapshot]) -> list[Condition]:
    """Whether each pipeline's breaker is closed; breakers that are forced open are left out."""
    return [
        _of_pipeline(
            AlertKind.BREAKER,
            pipeline,
            breaker.state is not BreakerState.CLOSED,
            breaker.reason or "",
        )
        for pipeline, breaker in breakers.items()
        if breaker.state is not BreakerState.FORCED_OPEN
    ]


def account_conditions(
    paused: Iterable[ShopPharmacyState],
    reported: Mapping[str, Iterable[ShopPharmacyState]],
) -> list[Condition]:
    """Accounts that are refused now, and reported accounts that are accepted again.

    Args:
        paused: accounts of the paused shops.
        reported: the current states of the accounts that were reported as refused, by subject.
    """
    found: dict[str, Condition] = {}
    refused: defaultdict[str, list[ShopPharmacyState]] = defaultdict(list)
    for state in paused:
        if state.refused:
            refused[account_subject(state.breaker.name)].append(state)
    for subject, states in refused.items():
        places = tuple(sorted({state.place for state in states}))
        found[subject] = _of_account(subject, places, True, states[0].breaker.reason)
    for subject, states_now in reported.items():
        states = list(states_now)
        if subject not in found and all(state.accepted for state in states):
            places = tuple(sorted({state.place for state in states}))
            found[subject] = _of_account(subject, places, False, None)
    return list(found.values())


def deadline_conditions(
    counts: Sequence[DeadlineCount],
    deadlines: Mapping[str, datetime],
    routes: Mapping[str, AlertRoute],
    language: Language = Language.ENGLISH,
) -> list[Condition]:
    """Documents not accepted in time, per pipeline: for all shops, and for each route's shops.

    Args:
        deadlines: the next deadline of each pipeline.
    """
    found = []
    for pipeline, at in deadlines.items():
        for route in ("", *routes):
            own = [
                count
                for count in counts
                if count.pipeline == pipeline and (not route or routes[route].covers(count.shop))
            ]
            text = translate(
                language,
                "{soon} documents must be accepted by {time}, {late} are late already; {failed} "
                "of them need action",
                soon=sum(count.soon for count in own),
                late=sum(count.late for count in own),
                failed=sum(count.failed for count in own),
                time=at.strftime("%H:%M %d/%m"),
            )
            subject = f"{route}/{pipeline}" if route else pipeline
            places = tuple(sorted((count.shop, "") for count in own))
            found.append(
                Condition(AlertKind.DEADLINE, subject, pipeline, bool(own), text, places, route)
            )
    return found


def digest_due(
    alert_states: Mapping[str, AlertState], routes: Iterable[str], at: time | None, now: datetime
) -> list[Change]:
    """This morning's digests that were not sent yet: of the default route, and of each route.

    A digest that is more than two hours late is not sent.
    """
    local = now.astimezone(PHARMACY_ZONE)
    if at is None:
        return []
    begin = datetime.combine(local, at, tzinfo=PHARMACY_ZONE)
    if not begin <= local < begin + timedelta(hours=2):
        return []
    found = []
    for route in ("", *routes):
        digest = Condition(AlertKind.DIGEST, route or EVERYBODY, route, False, "", route=route)
        before = alert_states.get(digest.key, AlertState())
        if (before.reported or 0.0) < begin.timestamp():
            found.append(Change(digest, before, now.timestamp()))
    return found


def account_subject(breaker_name: str) -> str:
    """The login that a breaker protects, without the part that depends on the password."""
    kind, _, key = breaker_name.partition(":")
    return key.rpartition("-")[0] if kind == "account" and "-" in key else breaker_name


def _of_account(
    subject: str, places: tuple[ShopPharmacy, ...], raised: bool, reason: str | None
) -> Condition:
    shops = sorted({shop for shop, _ in places})
    named = ", ".join(shops[:_SHOPS_NAMED])
    more = len(shops) - _SHOPS_NAMED
    where = f"{named} and {more} more shops" if more > 0 else named
    return Condition(AlertKind.ACCOUNT, subject, where, raised, reason or "", places)


def _of_pipeline(kind: AlertKind, pipeline: str, raised: bool, why: str) -> Condition:
    return Condition(kind, pipeline, pipeline, raised, why)
