"""Chứng từ: one document by its code: its state, its history, what was sent and answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right
from deployments.console.web import Shops, Visitor, require
from lib.errors import StoreUnavailable
from lib.models import DocumentRef
from lib.operations.decision import Decision, Effect, preview
from lib.operations.events import Event
from lib.operations.operator import Operator
from lib.operations.requeue import requeue
from lib.operations.resolve import preview as preview_resolve
from lib.operations.resolve import resolve
from lib.operations.send import can_be_sent, send_now
from lib.operations.trace import Traced, read_trace
from lib.pipelines import PIPELINES
from lib.sanitize import MASK, PERSONAL_FIELDS, mask_personal_names
from lib.tracking.audit import Action, AuditEntry
from lib.tracking.failures import reasons_of, ref_of

router = APIRouter()

#: Events whose details are shown to all users.
_PLAIN = frozenset({"attempt", "accepted", "requeued", "resolved"})
#: Parts of a payload that are lists of lines.
_LINES = ("hoa_don_chi_tiet", "chi_tiet")


@dataclass(frozen=True, slots=True)
class Exchange:
    """The last payload and the answer to it; both None if nothing was sent.

    Attributes:
        head: fields of the payload's header.
        lines: its lines.
        field: the first wrong field, if it is known.
        masked: whether names of persons are hidden in it.
        names: the hidden names, longest first.
    """

    head: Mapping[str, Any] | None = None
    lines: Sequence[Mapping[str, Any]] = ()
    answer: str | None = None
    error_class: str = ""
    error: str = ""
    field: str = ""
    field_errors: Sequence[Mapping[str, Any]] = ()
    masked: bool = False
    names: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """A text without the names of persons, which an answer may quote."""
        for name in self.names:
            text = text.replace(name, MASK)
        return text


@dataclass(frozen=True, slots=True)
class Found:
    """One document as the page shows it."""

    traced: Traced
    exchange: Exchange | None
    decision: Decision | None

    @property
    def ref(self) -> DocumentRef:
        return self.traced.ref

    def events(self, technical: bool) -> list[Event]:
        """What happened, oldest first, with hidden names masked.

        Args:
            technical: include runs of Prefect, claims and error classes.
        """
        found = self.traced.events()
        if not technical:
            found = [
                event if event.kind in _PLAIN else replace(event, details="")
                for event in found
                if event.store != "Prefect"
            ]
        hide = self.exchange.hide if self.exchange else str
        return [replace(event, details=hide(event.details)) for event in found]

    @property
    def can_be_decided(self) -> bool:
        return self.decision is not None and self.decision.effect is Effect.POSSIBLE

    @property
    def can_be_sent(self) -> bool:
        return self.traced.row is not None and can_be_sent(self.traced.row)

    @property
    def warnings(self) -> list[str]:
        """The last warnings that were recorded when the document was accepted."""
        logs = sorted(self.traced.logs, key=lambda log: str(log["created_at"]))
        found = [log["warnings"] for log in logs if log.get("warnings")]
        return list(found[-1]) if found else []


@router.get("/documents")
async def documents(visitor: Annotated[Visitor, Depends(require(Right.DOCUMENTS))]) -> Response:
    code = visitor.value("code")
    if not code:
        return visitor.page("documents.html", code="", found=[], away=[], shops=Shops({}))
    return await document_page(visitor, code)


@router.post("/documents/reveal")
async def reveal(visitor: Annotated[Visitor, Depends(require(Right.REVEAL))]) -> Response:
    operator, _shops = await visitor.console.operator()
    found, _ = await _read(visitor, operator, visitor.value("code"))
    chosen = _chosen(visitor, found)
    # Recorded before anything is shown: without MongoDB there is no payload to show either.
    await operator.audit.note(_entry(Action.REVEALED, visitor, chosen.ref))
    return await document_page(visitor, chosen.ref.local_id, revealed=chosen.ref)


@router.post("/documents/requeue")
async def send_again(visitor: Annotated[Visitor, Depends(require(Right.REQUEUE))]) -> Response:
    operator, _shops = await visitor.console.operator()
    found, _ = await _read(visitor, operator, visitor.value("code"))
    chosen = _chosen(visitor, found)
    why = visitor.value("why")
    if not why or chosen.decision is None:
        return await document_page(visitor, chosen.ref.local_id, problem="why")
    await requeue(operator, [chosen.decision], by=visitor.user.name, why=why)
    return await document_page(visitor, chosen.ref.local_id, result=chosen.decision)


@router.post("/documents/send")
async def send_at_once(visitor: Annotated[Visitor, Depends(require(Right.SEND))]) -> Response:
    operator, _shops = await visitor.console.operator()
    found, _ = await _read(visitor, operator, visitor.value("code"))
    chosen = _chosen(visitor, found)
    why = visitor.value("why")
    if not why:
        return await document_page(visitor, chosen.ref.local_id, problem="why")
    if chosen.traced.row is None or not chosen.can_be_sent:
        return await document_page(visitor, chosen.ref.local_id, problem="not_sent")
    start = visitor.console.start_run
    await send_now(operator, chosen.traced.row, start, by=visitor.user.name, why=why)
    return await document_page(visitor, chosen.ref.local_id, sent=chosen.ref)


@router.post("/documents/resolve")
async def enter_by_hand(visitor: Annotated[Visitor, Depends(require(Right.RESOLVE))]) -> Response:
    operator, _shops = await visitor.console.operator()
    found, _ = await _read(visitor, operator, visitor.value("code"))
    chosen = _chosen(visitor, found)
    why, national_id = visitor.value("why"), visitor.value("national_id")
    if not why or not national_id or chosen.traced.row is None:
        return await document_page(visitor, chosen.ref.local_id, problem="national_id")
    decision = preview_resolve(chosen.traced.row, national_id)
    await resolve(operator, decision, national_id, by=visitor.user.name, why=why)
    return await document_page(visitor, chosen.ref.local_id, result=decision)


async def document_page(
    visitor: Visitor,
    code: str,
    *,
    revealed: DocumentRef | None = None,
    result: Decision | None = None,
    sent: DocumentRef | None = None,
    problem: str | None = None,
) -> Response:
    """All documents of a code that the visitor may see; 404 if there is none."""
    operator, shops = await visitor.console.operator()
    found, away = await _read(visitor, operator, code, revealed)
    if not found and not away:
        return visitor.page("documents.html", status=404, code=code, found=[], away=[], shops=shops)
    return visitor.page(
        "document.html",
        status=200 if problem is None else 422,
        code=code,
        found=found,
        away=away,
        shops=shops,
        result=result,
        sent=sent,
        problem=problem,
    )


async def _read(
    visitor: Visitor, operator: Operator, code: str, revealed: DocumentRef | None = None
) -> tuple[list[Found], list[str]]:
    trace = await read_trace(
        operator, code, list(PIPELINES.values()), read_runs=visitor.console.read_runs
    )
    seen = [t for t in trace.documents.values() if visitor.user.sees(t.ref.shop_pharmacy_code)]
    try:
        failures = await operator.failures.get(code) if seen else []
    except StoreUnavailable:
        failures = []
    found = []
    for traced in seen:
        own = [failure for failure in failures if ref_of(failure) == traced.ref]
        exchange = exchange_of(own[0], masked=traced.ref != revealed) if own else None
        decision = None if traced.row is None else preview(traced.row)
        found.append(Found(traced, exchange, decision))
    return found, sorted(trace.away)


def _chosen(visitor: Visitor, found: list[Found]) -> Found:
    """The document that the form names among those the visitor sees."""
    for item in found:
        if f"{item.ref.pipeline}/{item.ref.record_id}" == visitor.value("document"):
            return item
    raise HTTPException(404)


def _entry(action: Action, visitor: Visitor, ref: DocumentRef) -> AuditEntry:
    return AuditEntry(
        action,
        visitor.user.name,
        visitor.value("why"),
        pipeline=ref.pipeline,
        shops=[ref.shop_pharmacy_code],
        documents=[ref.local_id],
    )


def exchange_of(failure: Mapping[str, Any], *, masked: bool) -> Exchange:
    """The last attempt, from a failure record.

    Args:
        masked: hide names of persons, in the answer too, which may quote them.
    """
    payload, answer = failure.get("payload"), str(failure.get("answer") or "")
    named = {str(payload[name]) for name in PERSONAL_FIELDS if payload and payload.get(name)}
    named -= {MASK}
    names = tuple(sorted(named, key=len, reverse=True)) if masked else ()
    hidden = Exchange(names=names)
    if payload and masked:
        payload = mask_personal_names(payload)
    head = None
    lines: list[Mapping[str, Any]] = []
    if payload:
        head = {name: value for name, value in payload.items() if name not in _LINES}
        lines = [line for name in _LINES for line in payload.get(name) or ()]
    return Exchange(
        head=head,
        lines=lines,
        answer=_readable(hidden.hide(answer)),
        error_class=str(failure.get("error_class") or ""),
        error=hidden.hide(str(failure.get("error") or "")),
        field=reasons_of(failure, ())[0].field,
        field_errors=failure.get("field_errors") or (),
        masked=bool(names),
        names=names,
    )


def _readable(answer: str) -> str | None:
    """An answer with its JSON indented; None if there is no answer."""
    try:
        return json.dumps(json.loads(answer), ensure_ascii=False, indent=2)
    except ValueError:
        return answer or None
