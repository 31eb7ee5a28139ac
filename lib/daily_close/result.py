"""The result of a daily close: every document with its state in all stores. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from lib.errors import SyncError
from lib.models import DocumentRef
from lib.pipelines import pharmacy_date
from lib.source.daily import DailyDocument
from lib.words.documents import CLASSES
from lib.words.language import N_, Language, translate

#: Maximum number of days per close; all their documents are held in memory.
MAX_DAYS = 93


@dataclass(frozen=True, slots=True)
class Scope:
    """Which documents are closed: by their own date and by shop.

    Attributes:
        last: the last day, inclusive.
        shop: its code; None for all shops.
    """

    first: date
    last: date
    shop: str | None = None

    @property
    def days(self) -> str:
        """`2026-11-02`, or `2026-11-01..2026-11-30`."""
        if self.first == self.last:
            return self.first.isoformat()
        return f"{self.first.isoformat()}..{self.last.isoformat()}"

    def __str__(self) -> str:
        return self.days if self.shop is None else f"{self.days} {self.shop}"


class BadScope(SyncError):
    """Days that cannot be closed together."""

    error_class = "close_scope"


def make_scope(first: date | None, last: date | None, shop: str | None) -> Scope:
    """The days from the first to the last; one day if only one is given, yesterday if none is.

    Raises:
        BadScope: the last day is before the first, or there are too many days.
    """
    begin = first or last or yesterday()
    end = last or begin
    if end < begin:
        raise BadScope(f"{end} is before {begin}")
    if (end - begin).days >= MAX_DAYS:
        raise BadScope(f"at most {MAX_DAYS} days can be closed together")
    return Scope(begin, end, (shop or "").strip() or None)


def yesterday() -> date:
    """Yesterday in the pharmacies' time zone."""
    return pharmacy_date(datetime.now(UTC)) - timedelta(days=1)


class State(StrEnum):
    """The state of a document."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    UNCONFIRMED = "unconfirmed"  # the API may have it
    UNKNOWN = "unknown"  # its status is not one of `SyncStatus`

    @property
    def is_open(self) -> bool:
        return self not in (State.ACCEPTED, State.FAILED)


class Kind(StrEnum):
    """A difference between the stores, or a reason to doubt a document's acceptance."""

    NO_NATIONAL_ID = "no_national_id"
    SAME_NATIONAL_ID = "same_national_id"
    SAME_CODE = "same_code"
    NOT_LOGGED = "not_logged"
    LOGGED_OTHERWISE = "logged_otherwise"
    LOGGED_ACCEPTED = "logged_accepted"
    LOGGED_ID_DIFFERS = "logged_id_differs"
    API_ABSENT = "api_absent"
    API_ID_DIFFERS = "api_id_differs"
    API_HAS_IT = "api_has_it"
    UNKNOWN_STATUS = "unknown_status"
    CHANGED_AFTER_ACCEPTANCE = "changed_after_acceptance"


#: The meaning of each, as text for people.
MEANINGS: Mapping[Kind, str] = {
    Kind.NO_NATIONAL_ID: N_("accepted, but without a national id"),
    Kind.SAME_NATIONAL_ID: N_("another document has the same national id"),
    Kind.SAME_CODE: N_("the pharmacy has another document with the same code"),
    Kind.NOT_LOGGED: N_("accepted in the source database, but the logs have no entry"),
    Kind.LOGGED_OTHERWISE: N_("accepted in the source database, but not in the logs"),
    Kind.LOGGED_ACCEPTED: N_("accepted in the logs, but not in the source database"),
    Kind.LOGGED_ID_DIFFERS: N_("the logs have another national id"),
    Kind.API_ABSENT: N_("accepted here, but the API does not have it"),
    Kind.API_ID_DIFFERS: N_("the API has another national id"),
    Kind.API_HAS_IT: N_("not accepted here, but the API has it"),
    Kind.UNKNOWN_STATUS: N_("its status is unknown to this system"),
    Kind.CHANGED_AFTER_ACCEPTANCE: N_("its content has changed since the API accepted it"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement about one document.

    Attributes:
        detail: the value that differs, if any.
    """

    ref: DocumentRef
    kind: Kind
    detail: str = ""

    def translated(self, language: Language) -> str:
        """Text for people, without the document."""
        meaning = translate(language, MEANINGS[self.kind])
        return f"{meaning}: {self.detail}" if self.detail else meaning


class LogState(StrEnum):
    """The state of a document in the logs."""

    ACCEPTED = "accepted"
    OTHERWISE = "not_accepted"
    NOTHING = "nothing"
    NOT_ASKED = ""


class ApiState(StrEnum):
    """The API's answer about a document of the sample."""

    PRESENT = "present"
    ABSENT = "absent"
    NO_ANSWER = "no_answer"
    NOT_ASKED = ""


@dataclass(frozen=True, slots=True)
class ClosedDocument:
    """One document with its state in every store.

    Attributes:
        sent: at least one call was made to send it; None if the logs could not be read.
    """

    document: DailyDocument
    state: State
    sent: bool | None
    logs: LogState
    api: ApiState
    differences: tuple[Difference, ...]

    @property
    def ref(self) -> DocumentRef:
        return self.document.ref


@dataclass(frozen=True, slots=True)
class ShopClose:
    """The numbers of one pipeline in one shop.

    Attributes:
        sent, logged: None if the logs could not be read; `logged` counts documents accepted
            according to the logs.
        checked, present: documents looked up at the API, and found there.
        amount, accepted_amount: sums over the documents' lines.
    """

    pipeline: str
    shop: str
    documents: int
    sent: int | None
    accepted: int
    failed: int
    open: int
    logged: int | None
    checked: int
    present: int
    differences: int
    amount: Decimal
    accepted_amount: Decimal


class NoteKind(StrEnum):
    """What could not be compared."""

    NOT_LOOKED_UP = "not_looked_up"
    LOGS_EXPIRED = "logs_expired"
    LOGS_AWAY = "logs_away"


_NOTES = {
    NoteKind.NOT_LOOKED_UP: N_("{count} documents could not be looked up: {why}"),
    NoteKind.LOGS_EXPIRED: N_("the logs were not compared: they are kept for {count} days"),
    NoteKind.LOGS_AWAY: N_("the logs were not compared: {why} does not answer"),
}


@dataclass(frozen=True, slots=True)
class Note:
    """One item that could not be compared, and why.

    Attributes:
        count: number of documents that could not be looked up, or of days that logs are kept.
        why: the class of the error, or the store that is unavailable.
    """

    kind: NoteKind
    count: int = 0
    why: str = ""

    def translated(self, language: Language) -> str:
        """Text for people."""
        why = translate(language, CLASSES.get(self.why, self.why))
        return translate(language, _NOTES[self.kind], count=self.count, why=why)


@dataclass(frozen=True, slots=True)
class DailyClose:
    """The documents of some days with their states in all stores, in a fixed order.

    Attributes:
        notes: what could not be compared, and why.
    """

    scope: Scope
    documents: tuple[ClosedDocument, ...]
    notes: tuple[Note, ...] = ()

    @property
    def shops(self) -> list[ShopClose]:
        groups: dict[tuple[str, str], list[ClosedDocument]] = defaultdict(list)
        for document in self.documents:
            groups[document.ref.pipeline, document.ref.shop_pharmacy_code].append(document)
        return [_shop(*place, group) for place, group in groups.items()]

    @property
    def differences(self) -> list[Difference]:
        return [difference for document in self.documents for difference in document.differences]

    def count(self, state: State) -> int:
        return sum(document.state is state for document in self.documents)

    @property
    def open(self) -> int:
        return sum(document.state.is_open for document in self.documents)

    @property
    def is_closed(self) -> bool:
        """Whether all documents are accepted, all stores agree and nothing is left uncompared."""
        accepted = self.count(State.ACCEPTED) == len(self.documents)
        return accepted and not self.differences and not self.notes

    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"{len(self.documents)} documents, {self.count(State.ACCEPTED)} accepted, "
            f"{self.count(State.FAILED)} failed, {self.open} open, "
            f"{len(self.differences)} differences"
        )


def _shop(pipeline: str, shop: str, group: Sequence[ClosedDocument]) -> ShopClose:
    states = Counter(document.state for document in group)
    logs_known = all(document.logs is not LogState.NOT_ASKED for document in group)
    amounts = [(d.document.amount, d.state is State.ACCEPTED) for d in group]
    return ShopClose(
        pipeline=pipeline,
        shop=shop,
        documents=len(group),
        sent=sum(bool(d.sent) for d in group) if logs_known else None,
        accepted=states[State.ACCEPTED],
        failed=states[State.FAILED],
        open=sum(number for state, number in states.items() if state.is_open),
        logged=sum(d.logs is LogState.ACCEPTED for d in group) if logs_known else None,
        checked=sum(d.api is not ApiState.NOT_ASKED for d in group),
        present=sum(d.api is ApiState.PRESENT for d in group),
        differences=sum(len(d.differences) for d in group),
        amount=sum((amount for amount, _ in amounts), Decimal(0)),
        accepted_amount=sum((amount for amount, good in amounts if good), Decimal(0)),
    )
