"""What alerts report: one message when a state turns bad, one when it is good again.

`observe` looks at what `orchestrate` knows, `compare` compares that with what was reported before
(`lib.alerts.state`), and what has changed is a message (`lib.alerts.messages`) in an event for
Prefect, whose automations (`deployments/server/alerts/`) send it. While a state stays bad it is
repeated after some hours.

             raised                                  recovered
    pending  the oldest document is above the limit  below half of it
    failures share and number reach their limits     share is below half of its limit
    breaker  the pipeline's breaker is not closed    it is closed
    account  the API refused the account             it is closed, and logged in since
    deadline documents are late, or soon will be     none is

Between a limit and its half nothing changes, so that a value that swings around the limit is not
reported again and again. A pause by hand is not reported: a person made it.
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
from lib.words.language import say
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


#: Ends of the events' names: raised, recovered, and still raised after some hours.
_VERBS = {
    AlertKind.PENDING: ("overdue", "caught-up", "still-overdue"),
    AlertKind.FAILURES: ("above-rate", "below-rate", "still-above-rate"),
    AlertKind.BREAKER: ("opened", "closed", "still-open"),
    AlertKind.ACCOUNT: ("refused", "accepted", "still-refused"),
    AlertKind.DEADLINE: ("near", "met", "still-near"),
    AlertKind.DIGEST: ("sent",) * 3,
}

#: All names of events that this module gives out.
EVENTS = frozenset(f"dqg.{kind}.{verb}" for kind, verbs in _VERBS.items() for verb in verbs)

#: The name of the receivers of every message, among those of routes.
EVERYBODY = "everybody"

#: A shop and the pharmacy code its documents carry: where an account is looked up.
ShopPharmacy = tuple[str, str]


@dataclass(frozen=True, slots=True)
class AlertState:
    """What was reported last of one subject.

    Attributes:
        changes: how often it was reported; the next message is the next number.
        places: of an account, whose documents it sends.
        since: when it turned bad, in seconds of the epoch; None where that is not known.
        reported: when the last message about it was sent.
    """

    raised: bool = False
    changes: int = 0
    places: tuple[ShopPharmacy, ...] = ()
    since: float | None = None
    reported: float | None = None


@dataclass(frozen=True, slots=True)
class ShopPharmacyState:
    """What is known of the account behind a place now.

    Attributes:
        breaker: name of the account's breaker.
        logged_in: whether a token of this login is known; None where it was not checked.
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
    """The state of one subject now.

    Attributes:
        subject: unique within its kind; of an account it stays the same with a new password.
        where: pipeline or shops, for a person.
        why: the reason or the figures, for a person.
        route: only those notified by this route; empty: everybody whom it concerns.
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
        """Whose documents it is about; none where it is about all of a pipeline."""
        return sorted({shop for shop, _ in self.places})

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Change:
    """A condition that differs from what was reported last, or is to be repeated.

    Attributes:
        now: seconds of the epoch.
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
        """The same for every process that sees this change, and for no other change or route."""
        return uuid5(_NAMESPACE, f"{generation}:{self.key}:{self.after.changes}:{route}")

    def routes(self, known: Mapping[str, AlertRoute]) -> list[str]:
        """Who is notified: everybody's receivers, and those of the routes whose shops it is about.

        What is about a whole pipeline is for everybody's receivers alone.
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
    """What has to be reported. Pure. A subject of which nothing was reported counts as good.

    Args:
        now: seconds of the epoch.
        reminder_seconds: after which a state that is still bad is reported again; 0: never.
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
    """Of each pipeline, how old its oldest pending document is."""
    found = []
    for summary in backlog:
        age, limit = summary.oldest_pending_seconds or 0.0, limits.pending_seconds
        if limit / 2 <= age <= limit:
            continue
        raised = age > limit
        text = say(
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
    """Of each pipeline, how many of the documents that ended lately have failed."""
    found = []
    for pipeline, count in finished.items():
        raised = count.failed >= limits.failure_count and count.failed_share >= limits.failure_rate
        if not raised and count.failed and count.failed_share >= limits.failure_rate / 2:
            continue
        text = say(
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
    """Of each pipeline, whether its breaker lets calls through; none that is forced open."""
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
    told: Mapping[str, Iterable[ShopPharmacyState]],
) -> list[Condition]:
    """Of each account that is refused, or was when it was reported last.

    Args:
        paused: places whose account is refused now.
        told: by subject, what is known now of the places of a refusal that was reported.
    """
    found: dict[str, Condition] = {}
    refused: defaultdict[str, list[ShopPharmacyState]] = defaultdict(list)
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
            found[subject] = _of_account(subject, places, False, None)
    return list(found.values())


def deadline_conditions(
    counts: Sequence[DeadlineCount],
    deadlines: Mapping[str, datetime],
    routes: Mapping[str, AlertRoute],
    language: Language = Language.ENGLISH,
) -> list[Condition]:
    """Of each pipeline, for everybody and for each route's shops: what is not accepted in time.

    Args:
        deadlines: the next one by pipeline.
    """
    found = []
    for pipeline, at in deadlines.items():
        for route in ("", *routes):
            own = [
                count
                for count in counts
                if count.pipeline == pipeline and (not route or routes[route].covers(count.shop))
            ]
            text = say(
                language,
                "{soon} documents must be accepted by {time}, {late} are late already; "
                "{failed} of them need a person",
                soon=sum(count.soon for count in own),
                late=sum(count.late for count in own),
                failed=sum(count.failed for count in own),
                time=f"{at:%H:%M %d/%m}",
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
    """The digests of this morning that were not sent: for everybody, and for each route.

    One that is not sent within two hours of its time is left out.
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
    """The login that a breaker guards, without what tells its passwords apart."""
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
