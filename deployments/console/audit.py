"""Nhật ký: who did what, when and why; with filters, and as a CSV file."""

from __future__ import annotations

import csv
import io
from datetime import datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from deployments.console import words
from deployments.console.access import Right
from deployments.console.language import N_, translations
from deployments.console.web import Visitor, language_of, require
from lib.daily_close.csv_file import safe_cell
from lib.pipelines import PHARMACY_ZONE
from lib.settings import Language
from lib.tracking.audit import Action, AuditEntry, AuditFilter
from lib.words.documents import KINDS

router = APIRouter()

_SHOWN = 200
_EXPORTED = 50_000
#: Columns of the file, in this order.
_HEADS = (
    *(N_("time"), N_("who"), N_("what"), N_("kind")),
    *(N_("shops"), N_("documents"), N_("why"), N_("detail")),
)


@router.get("/audit")
async def audit(visitor: Annotated[Visitor, Depends(require(Right.AUDIT))]) -> Response:
    operator, shops = await visitor.console.operator()
    wanted = _wanted(visitor)
    entries = await operator.audit.find(wanted, limit=_SHOWN)
    query = {name: visitor.value(name) for name in ("action", "by", "document", "from", "to")}
    return visitor.page(
        "audit.html", entries=entries, shops=shops, query=query, shown=_SHOWN, actions=list(Action)
    )


@router.get("/audit.csv")
async def audit_file(visitor: Annotated[Visitor, Depends(require(Right.AUDIT))]) -> Response:
    operator, _ = await visitor.console.operator()
    entries = await operator.audit.find(_wanted(visitor), limit=_EXPORTED)
    language = language_of(visitor.request)
    say = translations(language).gettext
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow([say(head) for head in _HEADS])
    for entry in entries:
        writer.writerow([safe_cell(cell) for cell in _row(entry, language)])
    # With a byte order mark, so that Excel recognizes UTF-8.
    return Response(
        out.getvalue().encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="dqg-audit.csv"'},
    )


def _row(entry: AuditEntry, language: Language) -> list[str]:
    say = translations(language).gettext
    return [
        words.full_moment(entry.at),
        entry.by,
        say(words.ACTIONS[entry.action]),
        say(KINDS[entry.pipeline]) if entry.pipeline else "",
        ", ".join(entry.shops),
        ", ".join(entry.documents),
        entry.why,
        words.entry_detail(entry, language),
    ]


def _wanted(visitor: Visitor) -> AuditFilter:
    """The filter in the query string; invalid values are ignored."""
    action = visitor.value("action")
    until = _day(visitor.value("to"))
    return AuditFilter(
        action=Action(action) if action in list(Action) else None,
        by=visitor.value("by") or None,
        document=visitor.value("document") or None,
        since=_day(visitor.value("from")),
        until=None if until is None else until + timedelta(days=1),
    )


def _day(text: str) -> datetime | None:
    """The beginning of a day in Vietnam."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - only a date
    except ValueError:
        return None
    return datetime.combine(day, time.min, PHARMACY_ZONE)
