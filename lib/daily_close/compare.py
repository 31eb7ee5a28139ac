"""Compares the data of all stores about every document of a daily close. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

from lib.daily_close.result import (
    ApiState,
    ClosedDocument,
    Difference,
    Kind,
    LogState,
    State,
)
from lib.models import Acceptance, DocumentRef, SyncStatus
from lib.platforms.platform import Lookup
from lib.source.daily import DailyDocument
from lib.tracking.task_logs import LoggedDocument
from lib.words.documents import is_by_hand


def state_of(document: DailyDocument) -> State:
    """The state of a document according to its row."""
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
    """Every document with its state in each store, and the differences between the stores.

    Args:
        logged: by pipeline and record id; None if the logs could not be read.
        answers: the API's answers about the documents looked up; None if there was no answer.
        changed: documents whose content differs from the accepted content.
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
    """Documents to look up at the API: per pipeline and shop up to `size` accepted ones, and up to
    `size` failed or unconfirmed ones.

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
    if is_by_hand(document.message or ""):
        return ()  # entered at the portal: the logs have only the failure
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


def _order(document: DailyDocument) -> tuple[str, str, date, str, int]:
    ref = document.ref
    return ref.pipeline, ref.shop_pharmacy_code, document.day, ref.local_id, ref.record_id


def _code(ref: DocumentRef) -> tuple[str, str, str]:
    return ref.pipeline, ref.pharmacy_code, ref.local_id
