"""Turns an answer of the API into a result or an error type; the only module that does so.

Pure functions. For any bytes, headers and status, each gives a result or a `SyncError`.
An answer passes through these modules, in this order:

`response`       the body as text and JSON, in every shape seen in practice: its code, what it
                 states about its own success, the API's message, the national code.
`wording`        what the message is about: the document, a line of it, the path of the call. The
                 API has no codes for that.
`answer_tables`  one table per call (POST, look-up, login): the first row that applies gives the
                 class of the answer, a `Meaning`.
`interpret`      this module: the result or the error of each class, and which texts are kept.
`comparison`     compares the document that a look-up shows with the one that was sent.

For example, a 200 with `{"code": 400, "mess": "thiếu số lô"}` states a failure, and its message
reports no duplicate; the row "2xx with a code, word or flag that states failure" rejects the
document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from lib.errors import (
    AccountRefused,
    Forbidden,
    OutcomeUnknown,
    Rejected,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.models import Acceptance, Payload
from lib.platforms.dqg.answer_tables import (
    LOGIN_TABLE,
    LOOKUP_TABLE,
    POST_TABLE,
    Meaning,
    Row,
    Seen,
    first_row,
)
from lib.platforms.dqg.comparison import compare
from lib.platforms.dqg.response import Answer, Reply
from lib.platforms.platform import Lookup
from lib.sanitize import shorten
from lib.settings import ApiSettings
from lib.words.language import Phrase

#: For answers to a login, which do not depend on any setting.
_DEFAULTS = ApiSettings()
#: A sequence of characters that may be a token: no word is that long.
_TOKEN_LIKE = re.compile(r"[^\s\"',;:(){}]{24,}")
#: A token that can be sent in a header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class Token:
    """What a login returned.

    Attributes:
        expires_in: lifetime in seconds as stated by the platform, None if it states none.
    """

    value: str = field(repr=False)
    expires_in: float | None = None


def is_usable(token: object) -> bool:
    """Whether a token can be sent in a header."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


class PossibleDuplicate(Rejected):
    """A refusal that may mean that the API has the document: only a look-up can decide.

    Attributes:
        acceptance: the result if the API has the document.
        without_look_up: the result if the API has no look-ups.
    """

    acceptance: Acceptance
    without_look_up: Acceptance | SyncError


# ---------------------------------------------------------------- documents


def parse_submit(
    reply: Reply,
    resource: str,
    local_id: str,
    settings: ApiSettings,
    *,
    names: tuple[str, ...] = (),
    has_look_up: bool = True,
    unconfirmed: bool = False,
) -> Acceptance:
    """The meaning of an answer to a POST of a document.

    Args:
        names: names of persons in the document, removed from every text.
        has_look_up: the API answers look-ups.
        unconfirmed: an earlier call may have stored the document.

    Raises:
        Rejected: the content was refused.
        PossibleDuplicate: a look-up must decide whether it was; only if the API answers look-ups.
        Unavailable: the API cannot take the document now.
        OutcomeUnknown: the answer does not state whether the document was stored.
        Forbidden: the account, or this document of it, is not permitted.
        WrongEndpoint: nothing at this address accepts documents.
    """
    answer = Answer(reply, names)
    seen = Seen(answer, resource, local_id, settings, has_look_up, unconfirmed)
    result = _submitted(seen)
    if isinstance(result, SyncError):
        raise result
    return result


def _submitted(seen: Seen) -> Acceptance | SyncError:
    row = first_row(POST_TABLE, seen)
    if row.meaning is Meaning.ACCEPTED:
        return _acceptance(seen, seen.national_id)
    if row.meaning not in (Meaning.DUPLICATE, Meaning.POSSIBLE_DUPLICATE):
        return _error(seen, row)
    # In an answer about a duplicate, a bare string is the message itself, never a code.
    national_id = None if isinstance(seen.answer.data, str) else seen.national_id
    duplicate = _acceptance(seen, national_id, duplicate=True)
    if row.meaning is Meaning.DUPLICATE:
        return duplicate
    doubt = PossibleDuplicate(seen.answer.described(), **_record(seen, row))
    doubt.acceptance = duplicate
    doubt.without_look_up = _submitted(replace(seen, has_look_up=False))
    return doubt


_ERRORS: dict[Meaning, type[SyncError]] = {
    Meaning.REJECTED: Rejected,
    Meaning.UNAUTHORIZED: Forbidden,
    Meaning.WRONG_ADDRESS: WrongEndpoint,
}


def _error(seen: Seen, row: Row) -> SyncError:
    answer, record = seen.answer, _record(seen, row)
    text = answer.message if seen.is_sentence and seen.is_ok else answer.described()
    match row.meaning:
        case Meaning.UNAVAILABLE:
            return Unavailable(text, retry_after=answer.retry_after, **record)
        case Meaning.FORBIDDEN:
            text = Phrase("{text} (answered by the API: no permission)", text=text)
            return Forbidden(text, **record)
        case Meaning.FIREWALL:
            text = Phrase(
                "{text} (not answered by the API: a firewall, proxy or gateway blocked the call)",
                text=text,
            )
            return Forbidden(text, by_firewall=True, **record)
        case Meaning.UNKNOWN:
            return OutcomeUnknown(Phrase("unclear answer: {text}", text=text), **record)
    return _ERRORS[row.meaning](text, **record)


def _record(seen: Seen, row: Row) -> dict[str, Any]:
    return {
        "http_status": seen.status,
        "answer": seen.answer.excerpt(seen.settings.answer_limit),
        "maybe_stored": row.maybe_stored,
    }


def _acceptance(seen: Seen, national_id: str | None, *, duplicate: bool = False) -> Acceptance:
    answer = seen.answer
    words = answer.message if duplicate else shorten(answer.api_message, 300)
    return Acceptance(
        national_id=national_id,
        message=words
        or (Phrase("the API already had the document") if duplicate else Phrase("accepted")),
        http_status=answer.status,
        answer=answer.excerpt(seen.settings.answer_limit),
        duplicate=duplicate,
    )


# ---------------------------------------------------------------- look-up


def parse_lookup(
    reply: Reply,
    resource: str,
    local_id: str,
    settings: ApiSettings,
    *,
    names: tuple[str, ...] = (),
    payload: Payload | None = None,
) -> Acceptance | Lookup:
    """The meaning of an answer to a GET of a document.

    `ABSENT` only if the answer is about the document: a document wrongly taken as absent would be
    sent twice. `UNSUPPORTED` only if the route itself does not exist, for the same reason.

    Args:
        payload: what was sent, to be compared with the document that the answer shows.

    Raises:
        Unavailable: the answer is unclear, or the API cannot answer now.
        Forbidden: the account is not permitted to look documents up.
    """
    answer = Answer(reply, names)
    seen = Seen(answer, resource, local_id, settings)
    row = first_row(LOOKUP_TABLE, seen)
    if row.meaning is Meaning.ABSENT:
        return Lookup.ABSENT
    if row.meaning is Meaning.UNSUPPORTED:
        return Lookup.UNSUPPORTED
    if row.meaning is Meaning.FOUND:
        found = _acceptance(seen, seen.national_id, duplicate=True)
        shown = answer.fields | answer.nested
        return found if payload is None else replace(found, compared=compare(payload, shown))
    if row.meaning is Meaning.UNAVAILABLE and seen.status < 500:
        text = Phrase("unclear answer to a look-up: {text}", text=answer.described())
        raise Unavailable(text, retry_after=answer.retry_after, **_record(seen, row))
    raise _error(seen, row)


# ---------------------------------------------------------------- login


def parse_login(reply: Reply, *, secrets: tuple[str, ...] = ()) -> Token:
    """The token in an answer to a login.

    An error contains the status and the API's own message, never the body: it may contain a token.

    Args:
        secrets: removed from every text, in case the answer repeats the password.

    Raises:
        AccountRefused: user or password is wrong, or the account is locked.
        Unavailable: the login is not possible now, or the answer contains no token.
        WrongEndpoint: there is no login at this address.
    """
    answer = Answer(reply, secrets=secrets)
    row = first_row(LOGIN_TABLE, Seen(answer, "", "", _DEFAULTS))
    origin = f"HTTP {answer.status}"
    if 200 <= answer.status < 300 and answer.code not in (None, "200"):
        code = answer.code or ""
        origin = f"code {code if re.fullmatch('-?[0-9]{1,6}', code) else '?'}"
    words = _TOKEN_LIKE.sub("***", shorten(answer.api_message, 300))
    what = f"{origin}: {words}" if words else Phrase("{status} without a text", status=origin)
    text = Phrase("login: {what}", what=what)
    match row.meaning:
        case Meaning.LOGGED_IN:
            value = answer.token_value or ""
            if is_usable(value):
                stated = answer.nested.get("expires_in") or answer.fields.get("expires_in")
                return Token(value, _seconds(stated))
            raise Unavailable(Phrase("login: the token has unusable characters"))
        case Meaning.ACCOUNT:
            raise AccountRefused(text, http_status=answer.status)
        case Meaning.WRONG_ADDRESS:
            raise WrongEndpoint(text, http_status=answer.status)
        case _:
            if 200 <= answer.status < 300:
                text = Phrase("{text} (an answer without a token)", text=text)
            raise Unavailable(text, http_status=answer.status, retry_after=answer.retry_after)


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    return None
