"""Texts for states, kinds, fields and times, in the words of pharmacy staff."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from deployments.console.access import Right, Role
from deployments.console.language import N_, translations
from lib.daily_close.files import read_audit_detail
from lib.daily_close.result import Difference, Kind, Note
from lib.models import LogStatus
from lib.operations.decision import Effect
from lib.pipelines import PHARMACY_ZONE
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import Language
from lib.tracking.audit import Action, AuditEntry
from lib.words import documents, states
from lib.words.documents import CLASSES, FIELDS, KINDS, STATUSES, hint

#: National platforms, by their name in our tables.
PLATFORMS = {"dqg": N_("National pharmaceutical database")}
ROLES = {
    Role.VIEWER: N_("viewer"),
    Role.SHOP: N_("shop"),
    Role.OPERATOR: N_("operator"),
    Role.ACCOUNTANT: N_("accountant"),
    Role.ADMINISTRATOR: N_("administrator"),
}
EVENTS = {
    "dispatched": N_("Chosen to be sent"),
    "logged": N_("Chosen by hand to be sent"),
    "started": N_("Sending began"),
    "attempt": N_("Call to the national database"),
    "accepted": N_("Accepted by the national database"),
    "closed": N_("Sending ended"),
    "failed": N_("Marked as failed"),
    "requeued": N_("To be sent again"),
    "resolved": N_("Entered at the portal by hand"),
    "run_started": N_("Run began"),
    "run_ended": N_("Run ended"),
    "run_waits": N_("Run is waiting"),
}
EFFECTS = {
    Effect.POSSIBLE: N_("will be sent again"),
    Effect.DONE: N_("done"),
    Effect.ALREADY: N_("was entered already"),
    Effect.HELD: N_("not changed: it is being sent now"),
    Effect.NOT_FAILED: N_("not changed: it no longer waits for a decision"),
    Effect.CHANGED: N_("not changed: it was changed in the meantime"),
}
ACTIONS = {
    Action.REQUEUED: N_("sent again"),
    Action.SENT: N_("sent immediately"),
    Action.RESOLVED: N_("entered at the portal"),
    Action.PAUSED: N_("paused"),
    Action.RESUMED: N_("resumed"),
    Action.REVEALED: N_("viewed names"),
    Action.CLOSED_DAY: N_("closed a day"),
    Action.CONFIRMED: N_("confirmed the database"),
    Action.ERASED: N_("erased a name"),
    Action.LOGGED_IN: N_("logged in"),
    Action.LOGIN_REFUSED: N_("login refused"),
}
#: Texts for unavailable stores; a store without a text is shown by its name.
_PARTS = {"source database": N_("the sales software's database")}
#: Texts for the parts of an event's details.
_DETAILS = CLASSES | {
    "submit": N_("sent"),
    "look_up": N_("looked up"),
    "update": N_("correction sent"),
    LogStatus.SUCCESS: N_("accepted by the national database"),
    LogStatus.FAILED: N_("refused"),
    LogStatus.RELEASED: N_("waits to be sent again"),
}
_LOOK_AT_PORTAL = N_(
    "Look the document up at the portal, whose data is authoritative. If the document is there, "
    "enter its national code here."
)
_SAME = N_("Compare both documents in the sales software; one of them may be a copy.")
_WAIT = N_(
    "The system corrects this within an hour. If the difference remains, inform the people who "
    "run the system."
)
_DIFFERENCE_HINTS = {
    Kind.SAME_NATIONAL_ID: _SAME,
    Kind.SAME_CODE: _SAME,
    Kind.NO_NATIONAL_ID: _WAIT,
    Kind.LOGGED_ACCEPTED: _WAIT,
    Kind.UNKNOWN_STATUS: N_(
        "The sales software has set this status; ask its vendor what it means."
    ),
    Kind.CHANGED_AFTER_ACCEPTANCE: N_(
        "Undo the change in the sales software, or report it at the portal as a correction."
    ),
}
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_STATUS = re.compile(r"^(?:HTTP (?:#|\d+): )?(?:(?:Dòng|line) #: )?", re.IGNORECASE)


def _language(context: Context) -> Language:
    return Language(str(context.resolve("language")))


@pass_context
def translated(context: Context, text: str) -> str:
    """A text marked by `N_`, or a finding of our own check, in the language of the page."""
    if not text:
        return ""
    language = _language(context)
    found = translations(language).gettext(text)
    return found if found != text else documents.reason(text, language)


@pass_context
def length(context: Context, seconds: float | None) -> str:
    """A duration as text."""
    return states.length(seconds, _language(context))


def moment(at: datetime | None) -> str:
    """A moment in Vietnam's time zone; without the date if it is today."""
    return states.moment(at, datetime.now(UTC))


def full_moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(PHARMACY_ZONE):%d/%m/%Y %H:%M:%S}"


@pass_context
def account_state(context: Context, snapshot: BreakerSnapshot | None) -> str:
    """The state of a breaker as text: what it means for its documents."""
    return states.breaker(snapshot, _language(context), datetime.now(UTC))


@pass_context
def finding(context: Context, found: Difference | Note) -> str:
    """A difference of the daily close, or what could not be compared."""
    return found.translated(_language(context))


@pass_context
def parts(context: Context, names: Iterable[str]) -> str:
    """The names of unavailable stores."""
    return ", ".join(translated(context, _PARTS.get(name, name)) for name in names)


@pass_context
def details(context: Context, text: str) -> str:
    """The details of an event, without technical terms."""
    return ", ".join(translated(context, _DETAILS.get(part, part)) for part in text.split(", "))


def days(text: str) -> str:
    """The days of a daily close as people write them: `02/11/2026 – 03/11/2026 SHOP01`."""
    return _DAY.sub(r"\3/\2/\1", text).replace("..", " – ")


def entry_detail(entry: AuditEntry, language: Language) -> str:
    """The detail of an entry of the audit log, as text."""
    if entry.action is not Action.CLOSED_DAY:
        return entry.detail
    scope, is_closed, sums = read_audit_detail(entry.detail)
    state = (
        N_("closed: all documents are accepted and all stores agree")
        if is_closed
        else N_("not closed")
    )
    return ", ".join(filter(None, (days(scope), translations(language).gettext(state), sums)))


@pass_context
def detail(context: Context, entry: AuditEntry) -> str:
    """See `entry_detail`."""
    return entry_detail(entry, _language(context))


def state_class(snapshot: BreakerSnapshot | None) -> str:
    """The CSS class for a state's colour; its text means the same."""
    if snapshot is None:
        return "unknown"
    return "good" if snapshot.state is BreakerState.CLOSED else "bad"


def without_status(text: str) -> str:
    """A refusal without the HTTP status and line number at its start, which vary."""
    return _STATUS.sub("", text)


def first_upper(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def difference_hint(kind: Kind) -> str:
    """What to do about a difference of the daily close."""
    return _DIFFERENCE_HINTS.get(kind, _LOOK_AT_PORTAL)


def number(value: int) -> str:
    """A number with dots between thousands, in both languages."""
    return f"{value:,}".replace(",", ".")


FILTERS: dict[str, Callable[..., str]] = {
    "translated": translated,
    "length_of_time": length,
    "moment": moment,
    "full_moment": full_moment,
    "account_state": account_state,
    "state_class": state_class,
    "finding": finding,
    "parts": parts,
    "details": details,
    "days": days,
    "detail": detail,
    "number": number,
    "without_status": without_status,
    "first_upper": first_upper,
}
GLOBALS: dict[str, Any] = {
    "KINDS": KINDS,
    "STATUSES": STATUSES,
    "ROLES": ROLES,
    "PLATFORMS": PLATFORMS,
    "FIELDS": FIELDS,
    "CLASSES": CLASSES,
    "EVENTS": EVENTS,
    "EFFECTS": EFFECTS,
    "ACTIONS": ACTIONS,
    "Right": Right,
    "hint": hint,
    "difference_hint": difference_hint,
}
