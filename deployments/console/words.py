"""States, kinds, fields and moments in the words of people at the counter."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from deployments.console.access import Right, Role
from deployments.console.language import N_
from lib.clock import PHARMACY_ZONE, utc_now
from lib.daily_close.compare import Kind
from lib.operations.decision import Effect
from lib.operations.pause import held_by
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.tracking.audit import Action

#: Kinds of documents by pipeline.
KINDS = {
    "import": N_("Purchase receipt"),
    "sale": N_("Sale invoice"),
    "cancellation": N_("Goods issue slip"),
}
STATUSES = {
    "PENDING_SYNC": N_("waiting to be sent"),
    "SYNC_SUCCESS": N_("accepted by the national database"),
    "SYNC_FAILED": N_("needs a person"),
}
ROLES = {
    Role.VIEWER: N_("viewer"),
    Role.SHOP: N_("shop"),
    Role.OPERATOR: N_("operator"),
    Role.ACCOUNTANT: N_("accountant"),
    Role.ADMINISTRATOR: N_("administrator"),
}
#: Fields of the national database that a person can be asked to correct.
FIELDS = {
    "ma_hoa_don": N_("invoice code"),
    "ma_phieu": N_("slip code"),
    "ma_co_so": N_("facility code"),
    "ma_don_thuoc_quoc_gia": N_("national prescription code"),
    "ngay_ban": N_("date of sale"),
    "ngay_nhap": N_("date of receipt"),
    "ngay_xuat": N_("date of issue"),
    "loai_phieu_nhap": N_("kind of receipt"),
    "loai_phieu_xuat": N_("kind of issue"),
    "ghi_chu": N_("note"),
    "ho_ten_nguoi_ban": N_("seller's name"),
    "ho_ten_khach_hang": N_("customer's name"),
    "ten_co_so_cung_cap": N_("supplier"),
    "ten_co_so_nhan": N_("recipient"),
    "hoa_don_chi_tiet": N_("lines"),
    "chi_tiet": N_("lines"),
    "ma_thuoc": N_("drug code"),
    "ten_thuoc": N_("drug name"),
    "so_lo": N_("lot number"),
    "ngay_san_xuat": N_("date of manufacture"),
    "han_dung": N_("expiry date"),
    "don_vi_tinh": N_("unit"),
    "ham_luong": N_("concentration"),
    "duong_dung": N_("route of administration"),
    "lieu_dung": N_("dosage"),
    "so_dang_ky": N_("registration number"),
    "so_dklh": N_("registration number"),
    "so_luong": N_("quantity"),
    "don_gia": N_("unit price"),
    "thanh_tien": N_("amount"),
    "ty_le_quy_doi": N_("conversion ratio"),
}
#: What our own check finds; texts of `lib.platforms.dqg.fields` without their numbers.
REASONS = (
    N_("is blank"),
    N_("contains a control character or broken Unicode"),
    N_("is longer than # characters"),
    N_("must be one of #, #"),
    N_("must be one of #, #, #"),
    N_("must be one of #, #, #, #"),
    N_("is not text"),
    N_("must not be negative"),
    N_("must be greater than zero"),
    N_("is not a number"),
    N_("is out of range"),
    N_("is not a whole number"),
    N_("has more digits than can be sent exactly"),
    N_("is before the year #"),
    N_("is not a date"),
    N_("has no lines"),
)
CLASSES = {
    "rejected": N_("Refused by the national database"),
    "invalid": N_("Not sent: our check found a mistake"),
    "retries_spent": N_("No answer after many tries"),
    "outcome_unknown": N_("Not known whether it arrived"),
    "account": N_("The shop's login was refused"),
    "account_refused": N_("The shop's login was refused"),
    "crashes_worker": N_("Sending it ended the program several times"),
}
#: What to do about a field, else about a class.
HINTS = {
    "so_lo": N_("Enter the lot number in the sales software, then send again."),
    "han_dung": N_("Correct the expiry date in the sales software, then send again."),
    "so_luong": N_("Correct the quantity in the sales software, then send again."),
    "ma_thuoc": N_(
        "Compare the drug code with the national list, correct it in the sales software, "
        "then send again."
    ),
    "don_gia": N_("Correct the unit price in the sales software, then send again."),
    "ma_co_so": N_("Correct the facility code of the shop, then send again."),
    "retries_spent": N_("The platform did not answer for long. Send again when it is back."),
    "account": N_("Correct the shop's login to the national database, then send again."),
    "outcome_unknown": N_(
        "Look at the portal whether the document is there. If so, enter its national code here."
    ),
}
ANY_HINT = N_("Correct the document in the sales software, then send again.")

EVENTS = {
    "dispatched": N_("Chosen to be sent"),
    "logged": N_("Chosen by hand to be sent"),
    "started": N_("Sending began"),
    "attempt": N_("Call to the national database"),
    "accepted": N_("Accepted by the national database"),
    "closed": N_("Sending ended"),
    "failed": N_("Kept as failed"),
    "requeued": N_("To be sent again"),
    "resolved": N_("Entered at the portal by hand"),
    "run_started": N_("Run began"),
    "run_ended": N_("Run ended"),
    "run_waits": N_("Run waits"),
}
EFFECTS = {
    Effect.POSSIBLE: N_("will be sent again"),
    Effect.DONE: N_("done"),
    Effect.ALREADY: N_("was entered already"),
    Effect.HELD: N_("left alone: it is being sent right now"),
    Effect.NOT_FAILED: N_("left alone: it no longer waits for a decision"),
    Effect.CHANGED: N_("left alone: it changed meanwhile"),
}
ACTIONS = {
    Action.REQUEUED: N_("sent again"),
    Action.RESOLVED: N_("entered at the portal"),
    Action.PAUSED: N_("paused"),
    Action.RESUMED: N_("resumed"),
    Action.REVEALED: N_("looked at names"),
    Action.CLOSED_DAY: N_("closed a day"),
    Action.LOGGED_IN: N_("logged in"),
    Action.LOGIN_REFUSED: N_("login refused"),
}
DIFFERENCES = {
    Kind.NO_NATIONAL_ID: N_("accepted, but without a national code"),
    Kind.SAME_NATIONAL_ID: N_("another document of the day has the same national code"),
    Kind.SAME_CODE: N_("the pharmacy has another document of the day with the same code"),
    Kind.NOT_LOGGED: N_("accepted here, and the logs know nothing of it"),
    Kind.LOGGED_OTHERWISE: N_("accepted here, but not in the logs"),
    Kind.LOGGED_ACCEPTED: N_("accepted in the logs, but not here"),
    Kind.LOGGED_ID_DIFFERS: N_("the logs have another national code"),
    Kind.API_ABSENT: N_("accepted here, but the national database does not have it"),
    Kind.API_ID_DIFFERS: N_("the national database has another national code"),
    Kind.API_HAS_IT: N_("not accepted here, but the national database has it"),
    Kind.UNKNOWN_STATUS: N_("its status is none that this system knows"),
}
_LOOK_AT_PORTAL = N_(
    "Look the document up at the portal. What the portal shows is right: enter its national code "
    "here if it is there."
)
_SAME = N_("Compare both documents in the sales software; one of them may be a copy.")
_WAIT = N_("The system corrects this within an hour. If it stays, tell the people who run it.")
_DIFFERENCE_HINTS = {
    Kind.SAME_NATIONAL_ID: _SAME,
    Kind.SAME_CODE: _SAME,
    Kind.NO_NATIONAL_ID: _WAIT,
    Kind.LOGGED_ACCEPTED: _WAIT,
    Kind.UNKNOWN_STATUS: N_("The sales software has set this status; ask its maker what it means."),
}
_UNITS = (
    (86_400, N_("%(number)s days")),
    (3600, N_("%(number)s hours")),
    (60, N_("%(number)s minutes")),
    (1, N_("%(number)s seconds")),
)
_NUMBER = re.compile(r"\b\d+\b")
_STATUS = re.compile(r"^(?:HTTP (?:#|\d+): )?(?:(?:Dòng|line) #: )?", re.IGNORECASE)


def _say(context: Context, text: str, **values: Any) -> str:
    return str(context.call(context.resolve("gettext"), text, **values))


@pass_context
def said(context: Context, text: str) -> str:
    """A text marked by `N_`, in the language of the page; numbers in it stay what they are."""
    if not text:
        return ""
    found = _say(context, _NUMBER.sub("#", text))
    for number_in_text in _NUMBER.findall(text):
        found = found.replace("#", number_in_text, 1)
    return found.replace("#", "…")


@pass_context
def length(context: Context, seconds: float | None) -> str:
    """A length of time as a person says it."""
    if seconds is None:
        return "–"
    size, text = next((unit for unit in _UNITS if seconds >= 2 * unit[0]), _UNITS[-1])
    return _say(context, text, number=format(seconds / size, ".0f"))


def moment(at: datetime | None) -> str:
    """A moment by Vietnam's clock: of today the time alone."""
    if at is None:
        return ""
    local, today = at.astimezone(PHARMACY_ZONE), utc_now().astimezone(PHARMACY_ZONE).date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%d/%m/%Y %H:%M}"


def full_moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(PHARMACY_ZONE):%d/%m/%Y %H:%M:%S}"


@pass_context
def account_state(context: Context, snapshot: BreakerSnapshot | None) -> str:
    """A breaker in words: what it means for the documents behind it."""
    if snapshot is None:
        return _say(context, N_("not known"))
    if snapshot.state is BreakerState.CLOSED:
        return _say(context, N_("good"))
    if snapshot.state is BreakerState.FORCED_OPEN:
        by, why = held_by(snapshot.reason)
        return _say(context, N_("stopped by %(by)s because: %(why)s"), by=by, why=why)
    if snapshot.state is BreakerState.OPEN and snapshot.seconds_left:
        until = moment(utc_now() + timedelta(seconds=snapshot.seconds_left))
        return _say(context, N_("paused until %(time)s"), time=until)
    return _say(context, N_("trying again"))


def mood(snapshot: BreakerSnapshot | None) -> str:
    """The class of a state's colour; the words say the same."""
    if snapshot is None:
        return "unknown"
    return "good" if snapshot.state is BreakerState.CLOSED else "bad"


def hint(field: str, error_class: str) -> str:
    """What to do about a cause."""
    return HINTS.get(field) or HINTS.get(error_class) or ANY_HINT


def without_status(text: str) -> str:
    """A refusal without the HTTP status and line number it begins with, which differ."""
    return _STATUS.sub("", text)


def first_upper(text: str) -> str:
    """As a sentence begins; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def difference_hint(kind: Kind) -> str:
    """What to do about a difference of the daily close."""
    return _DIFFERENCE_HINTS.get(kind, _LOOK_AT_PORTAL)


def number(value: int) -> str:
    """With dots between thousands, as both languages of the chain write it."""
    return f"{value:,}".replace(",", ".")


FILTERS: dict[str, Callable[..., str]] = {
    "said": said,
    "length_of_time": length,
    "moment": moment,
    "full_moment": full_moment,
    "account_state": account_state,
    "mood": mood,
    "number": number,
    "without_status": without_status,
    "first_upper": first_upper,
}
GLOBALS: dict[str, Any] = {
    "KINDS": KINDS,
    "STATUSES": STATUSES,
    "ROLES": ROLES,
    "FIELDS": FIELDS,
    "CLASSES": CLASSES,
    "EVENTS": EVENTS,
    "EFFECTS": EFFECTS,
    "ACTIONS": ACTIONS,
    "Right": Right,
    "DIFFERENCES": DIFFERENCES,
    "hint": hint,
    "difference_hint": difference_hint,
}
