"""The messages of alerts, for people at shops: what, where, since when, what to do, and a link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lib.alerts.conditions import AlertKind, Change, Condition
from lib.models import comparable
from lib.settings import AlertRoute, Language
from lib.source.counts import ShopSummary
from lib.words.documents import kind
from lib.words.language import N_, translate
from lib.words.states import moment

_SHOPS_NAMED = 5
NOT_KNOWN = "?"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that messages show in addition to the alert state.

    Attributes:
        names: name and phone of shops, by comparable code.
        counts: by pipeline and shop; accepted and failed are those of the last 24 hours.
        failures: failure records that wait for a decision, by pipeline and shop; None: not known.
        console: address of the console, if it has one.
    """

    names: Mapping[str, str]
    counts: Sequence[ShopSummary]
    failures: Mapping[tuple[str, str], int] | None
    console: str | None

    def shop(self, code: str) -> str:
        """Name, phone and code of a shop."""
        name = self.names.get(comparable(code), "")
        return code if comparable(name) in ("", comparable(code)) else f"{name} ({code})"


@dataclass(frozen=True, slots=True)
class Message:
    """What a person receives."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts of one kind of alert: both subjects, meaning, what to do, and the console's page."""

    raised: str
    recovered: str
    what: str
    todo: str
    page: str


_TEXTS = {
    AlertKind.ACCOUNT: _Texts(
        N_("login refused: {where}"),
        N_("login accepted: {where}"),
        N_(
            "The national database refuses the login. The documents of the shop wait; other "
            "shops are not affected."
        ),
        N_("Correct the shop's login to the national database, then send again."),
        "/pauses",
    ),
    AlertKind.BREAKER: _Texts(
        N_("{where}: sending is paused"),
        N_("{where}: sending has resumed"),
        N_("The national database does not accept documents. They wait and are sent later."),
        N_("Nothing: sending is retried automatically."),
        "/pauses",
    ),
    AlertKind.PENDING: _Texts(
        N_("{where}: documents wait too long"),
        N_("{where}: no document waits too long"),
        N_("Documents are not sent in time."),
        N_("Open the overview: it shows the cause."),
        "/",
    ),
    AlertKind.FAILURES: _Texts(
        N_("{where}: many documents fail"),
        N_("{where}: the failure rate is normal again"),
        N_("The national database or our own check refuses documents."),
        N_("Look at the causes, correct the documents, then send them again."),
        "/causes",
    ),
    AlertKind.DEADLINE: _Texts(
        N_("{where}: documents are not accepted in time"),
        N_("{where}: all documents are accepted in time"),
        N_("Documents are near their deadline or late."),
        N_("Look at the causes first: documents that need action are not sent automatically."),
        "/causes",
    ),
}


def message_of(
    change: Change, facts: Facts, language: Language, route: AlertRoute | None
) -> Message:
    """The message about a change for the receivers of one route.

    Args:
        route: only shops of this route are named; None: all shops.
    """
    condition = change.condition
    if condition.kind is AlertKind.DIGEST:
        return _digest(change, facts, language, route)
    texts = _TEXTS[condition.kind]
    shops = [shop for shop in condition.shops if route is None or route.covers(shop)]
    where = _named(shops, facts, language)
    if condition.kind is not AlertKind.ACCOUNT:
        where = kind(condition.subject.rpartition("/")[2], language)
    subject = translate(
        language, texts.raised if condition.raised else texts.recovered, where=where
    )
    lines = []
    if condition.raised:
        lines.append(translate(language, texts.what))
    if shops and condition.kind is not AlertKind.ACCOUNT:
        lines.append(translate(language, "Shops: {names}", names=_named(shops, facts, language)))
    if condition.why:
        lines.append(translate(language, "Details: {text}", text=condition.why))
    if condition.raised:
        lines += _since(change, language)
    if condition.kind in (AlertKind.ACCOUNT, AlertKind.BREAKER):
        waiting = _waiting(condition, facts, shops)
        lines.append(translate(language, "Waiting documents: {number}", number=waiting))
    if condition.raised:
        lines.append(
            translate(language, "What to do: {text}", text=translate(language, texts.todo))
        )
    return Message(
        f"[dqg] {_state(change, language)}: {subject}", _with_link(lines, facts, texts.page)
    )


def _state(change: Change, language: Language) -> str:
    if change.is_reminder:
        return translate(language, "STILL")
    if change.condition.raised:
        return translate(language, "ALERT")
    return translate(language, "RECOVERED")


def _since(change: Change, language: Language) -> list[str]:
    if change.since is None:
        return []
    begin, now = (datetime.fromtimestamp(at, UTC) for at in (change.since, change.now))
    return [translate(language, "Since: {time}", time=moment(begin, now))]


def _waiting(condition: Condition, facts: Facts, shops: Iterable[str]) -> int:
    """Number of documents that wait for an account or a pipeline."""
    own = {comparable(shop) for shop in shops}
    return sum(
        count.pending + count.in_flight
        for count in facts.counts
        if (comparable(count.shop) in own if own else count.pipeline == condition.subject)
    )


def _named(shops: Sequence[str], facts: Facts, language: Language) -> str:
    text = ", ".join(facts.shop(shop) for shop in shops[:_SHOPS_NAMED])
    more = len(shops) - _SHOPS_NAMED
    return (
        translate(language, "{names} and {number} more", names=text, number=more)
        if more > 0
        else text
    )


def _digest(change: Change, facts: Facts, language: Language, route: AlertRoute | None) -> Message:
    """The morning's message: the last 24 hours by kind, and shops whose failures need action."""
    counts = [count for count in facts.counts if route is None or route.covers(count.shop)]
    failures = {
        place: number
        for place, number in (facts.failures or {}).items()
        if number and (route is None or route.covers(place[1]))
    }
    day = datetime.fromtimestamp(change.now, UTC)
    lines = []
    for pipeline in dict.fromkeys(count.pipeline for count in facts.counts):
        own = [count for count in counts if count.pipeline == pipeline]
        needed = sum(number for (name, _), number in failures.items() if name == pipeline)
        text = translate(
            language,
            "{kind}: {accepted} accepted, {waiting} waiting, {failed} need action",
            kind=kind(pipeline, language),
            accepted=sum(count.succeeded for count in own),
            waiting=sum(count.pending + count.in_flight for count in own),
            failed=needed if facts.failures is not None else NOT_KNOWN,
        )
        lines.append(text)
    shops: dict[str, int] = {}
    for (_, shop), number in failures.items():
        shops[shop] = shops.get(shop, 0) + number
    lines += [
        f"{facts.shop(shop)}: {number}"
        for shop, number in sorted(shops.items(), key=lambda item: -item[1])
    ][: 2 * _SHOPS_NAMED]
    lines = lines or [translate(language, "no document in the last 24 hours")]
    subject = translate(language, "the last 24 hours")
    return Message(f"[dqg] {subject}, {moment(day, day)}", _with_link(lines, facts, "/"))


def _with_link(lines: Sequence[str], facts: Facts, page: str) -> str:
    link = [f"{facts.console.rstrip('/')}{page}"] if facts.console else []
    return "\n".join([*lines, *link])


def trial_message(language: Language) -> Message:
    """What `dqg alerts test` sends."""
    return Message(
        f"[dqg] {translate(language, 'test')}",
        translate(
            language, "This is a test. Alerts about the national database will reach you this way."
        ),
    )
