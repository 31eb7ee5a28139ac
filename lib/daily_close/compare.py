"""The daily close: every document of a day, and whether all stores say the same of it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from lib.models import Acceptance, DocumentRef, SyncStatus
from lib.platforms.platform import Lookup
from lib.source.daily import DailyDocument
from lib.tracking.task_logs import LoggedDocument

#: How the message of a document begins that a person entered at the portal.
BY_HAND = "by hand: "


class State(StrEnum):
    """Where a document stands."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    UNCONFIRMED = "unconfirmed"  # the API may have it
    UNKNOWN = "unknown"  # its status is none of ours

    @property
    def is_open(self) -> bool:
        return self not in (State.ACCEPTED, State.FAILED)


class Kind(StrEnum):
    """What the stores disagree about, or what makes a document's acceptance doubtful."""

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


#: What each of them means, in words.
MEANINGS: Mapping[Kind, str] = {
    Kind.NO_NATIONAL_ID: "accepted, but without a national id",
    Kind.SAME_NATIONAL_ID: "another document of the day has the same national id",
    Kind.SAME_CODE: "the pharmacy has another document of the day with the same code",
    Kind.NOT_LOGGED: "accepted in the source database, and nothing about it in the logs",
    Kind.LOGGED_OTHERWISE: "accepted in the source database, but not in the logs",
    Kind.LOGGED_ACCEPTED: "accepted in the logs, but not in the source database",
    Kind.LOGGED_ID_DIFFERS: "the logs have another national id",
    Kind.API_ABSENT: "accepted here, but the API does not have it",
    Kind.API_ID_DIFFERS: "the API has another national id",
    Kind.API_HAS_IT: "not accepted here, but the API has it",
    Kind.UNKNOWN_STATUS: "its status is none that this system knows",
    Kind.CHANGED_AFTER_ACCEPTANCE: "its content has changed since the API accepted it",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement about one document.

    Attributes:
        detail: the value that differs, where there is one.
    """

    ref: DocumentRef
    kind: Kind
    detail: str = ""

    @property
    def text(self) -> str:
        """For a person, without the document."""
        return f"{MEANINGS[self.kind]}: {self.detail}" if self.detail else MEANINGS[self.kind]


class LogState(StrEnum):
    """What the logs say of a document."""

    ACCEPTED = "accepted"
    OTHERWISE = "not_accepted"
    NOTHING = "nothing"
    NOT_ASKED = ""


class ApiState(StrEnum):
    """What the API says of a document of the sample."""

    PRESENT = "present"
    ABSENT = "absent"
    NO_ANSWER = "no_answer"
    NOT_ASKED = ""


@dataclass(frozen=True, slots=True)
class ClosedDocument:
    """One document of the day with what every store says of it.

    Attributes:
        sent: a call was made about it; None where the logs could not be asked.
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
    """The day of one pipeline in one shop, in numbers.

    Attributes:
        sent, logged: None where the logs could not be asked; `logged` counts those they say are
            accepted.
        checked, present: asked of the API, and found there.
        amount, accepted_amount: of the documents' lines.
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


@dataclass(frozen=True, slots=True)
class DayClose:
    """A day as it is in all stores, documents in an order that never changes.

    Attributes:
        notes: what could not be compared, and why.
    """

    day: date
    documents: tuple[ClosedDocument, ...]
    notes: tuple[str, ...] = ()

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
    def is_closed(self) -> bool:
        """Everything of the day is accepted, and every store that was to be asked agrees."""
        accepted = self.count(State.ACCEPTED) == len(self.documents)
        return accepted and not self.differences and not self.notes

    def summary(self) -> str:
        """The day in one line."""
        open_ = sum(document.state.is_open for document in self.documents)
        return (
            f"{len(self.documents)} documents, {self.count(State.ACCEPTED)} accepted, "
            f"{self.count(State.FAILED)} failed, {open_} open, "
            f"{len(self.differences)} differences"
        )


def state_of(document: DailyDocument) -> State:
    """Where a document stands by its row."""
    if document.status == SyncStatus.SUCCESS:
        return State.ACCEPTED
    if document.status == SyncStatus.FAILED:
        return State.FAILED
    if document.status != SyncStatus.PENDING:
        return State.UNKNOWN
    if document.live:
        return State.IN_FLIGHT
    return State.UNCONFIRMED if document.unconfirmed else State.PENDING


def compare(
    documents: Iterable[DailyDocument],
    logged: Mapping[str, Mapping[int, LoggedDocument]] | None,
    answers: Mapping[DocumentRef, Acceptance | Lookup | None],
    changed: Collection[DocumentRef] = (),
) -> tuple[ClosedDocument, ...]:
    """Every document with what the stores say of it, and where they disagree.

    Args:
        logged: by pipeline and record id; None where the logs could not be asked.
        answers: of the API, for documents it was asked about; None where no answer came.
        changed: documents whose content is another one than was accepted.
    """
    ordered = sorted(documents, key=_order)
    ids = Counter(d.national_id for d in ordered if d.national_id)
    codes = Counter(_code(d.ref) for d in ordered)
    closed = []
    for document in ordered:
        ref, state = document.ref, state_of(document)
        log = None if logged is None else logged.get(ref.pipeline, {}).get(ref.record_id)
        asked = ref in answers
        answer = answers.get(ref)
        differences = [
            *_own_differences(document, state, ids, codes),
            *(_log_differences(document, state, log) if logged is not None else ()),
            *_api_differences(document, state, answer),
            *([(Kind.CHANGED_AFTER_ACCEPTANCE, "")] if ref in changed else ()),
        ]
        closed.append(
            ClosedDocument(
                document=document,
                state=state,
                sent=None if logged is None else (log is not None and log.sent),
                logs=LogState.NOT_ASKED if logged is None else _log_state(log),
                api=_api_state(answer) if asked else ApiState.NOT_ASKED,
                differences=tuple(Difference(ref, kind, detail) for kind, detail in differences),
            )
        )
    return tuple(closed)


def choose_sample(documents: Iterable[DailyDocument], size: int) -> list[DailyDocument]:
    """Documents to ask the API about: per pipeline and shop up to `size` that are accepted, and up
    to `size` that ended otherwise or in doubt.

    The same documents give the same sample.
    """
    groups: dict[tuple[str, str, bool], list[DailyDocument]] = defaultdict(list)
    for document in documents:
        state = state_of(document)
        if state in (State.ACCEPTED, State.FAILED, State.UNCONFIRMED):
            ref = document.ref
            place = (ref.pipeline, ref.shop_pharmacy_code, state is State.ACCEPTED)
            groups[place].append(document)
    return [
        group[index]
        for _, group in sorted(
            (place, sorted(group, key=_order)) for place, group in groups.items()
        )
        for index in spread(len(group), size)
    ]


def spread(count: int, size: int) -> list[int]:
    """Up to `size` indexes spread evenly over `count` items."""
    if count <= size:
        return list(range(count))
    return [(2 * n + 1) * count // (2 * size) for n in range(size)]


_Found = Sequence[tuple[Kind, str]]


def _own_differences(
    document: DailyDocument, state: State, ids: Counter[str], codes: Counter[tuple[str, str, str]]
) -> _Found:
    found = []
    if state is State.UNKNOWN:
        found.append((Kind.UNKNOWN_STATUS, document.status))
    if state is State.ACCEPTED and document.national_id is None:
        found.append((Kind.NO_NATIONAL_ID, ""))
    if document.national_id and ids[document.national_id] > 1:
        found.append((Kind.SAME_NATIONAL_ID, document.national_id))
    if codes[_code(document.ref)] > 1:
        found.append((Kind.SAME_CODE, ""))
    return found


def _log_differences(document: DailyDocument, state: State, log: LoggedDocument | None) -> _Found:
    accepted = log is not None and log.accepted
    ids = log.national_ids if log is not None else frozenset()
    if state is not State.ACCEPTED:
        return [(Kind.LOGGED_ACCEPTED, ", ".join(sorted(ids)))] if accepted else ()
    if (document.message or "").startswith(BY_HAND):
        return ()  # entered at the portal: the logs know of the failure only
    if not accepted:
        return [(Kind.NOT_LOGGED if log is None else Kind.LOGGED_OTHERWISE, "")]
    if ids and document.national_id not in ids:
        return [(Kind.LOGGED_ID_DIFFERS, ", ".join(sorted(ids)))]
    return ()


def _api_differences(
    document: DailyDocument, state: State, answer: Acceptance | Lookup | None
) -> _Found:
    if isinstance(answer, Acceptance):
        if state is not State.ACCEPTED:
            return [(Kind.API_HAS_IT, answer.national_id or "")]
        if answer.national_id is not None and answer.national_id != document.national_id:
            return [(Kind.API_ID_DIFFERS, answer.national_id)]
    elif answer is Lookup.ABSENT and state is State.ACCEPTED:
        return [(Kind.API_ABSENT, "")]
    return ()


def _log_state(log: LoggedDocument | None) -> LogState:
    if log is None:
        return LogState.NOTHING
    return LogState.ACCEPTED if log.accepted else LogState.OTHERWISE


def _api_state(answer: Acceptance | Lookup | None) -> ApiState:
    if isinstance(answer, Acceptance):
        return ApiState.PRESENT
    return ApiState.ABSENT if answer is Lookup.ABSENT else ApiState.NO_ANSWER


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


def _order(document: DailyDocument) -> tuple[str, str, str, int]:
    ref = document.ref
    return ref.pipeline, ref.shop_pharmacy_code, ref.local_id, ref.record_id


def _code(ref: DocumentRef) -> tuple[str, str, str]:
    return ref.pipeline, ref.pharmacy_code, ref.local_id
