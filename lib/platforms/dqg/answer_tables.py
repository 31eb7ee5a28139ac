"""Which class an answer of the API belongs to: one table per call, read from the top.

The first row that applies decides; the last row always applies. docs/answers.md lists the same
rows. No row gives a final outcome to an answer that contradicts itself or states nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lib.platforms.dqg.response import Answer, Statement, as_code, same_code
from lib.platforms.dqg.wording import (
    Duplicate,
    duplicate,
    gives_no_reason,
    is_about_route,
    is_system_error,
    says_exists,
)
from lib.settings import ApiSettings


class Meaning(StrEnum):
    """The classes of answers."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    POSSIBLE_DUPLICATE = "possible duplicate"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    UNAUTHORIZED = "unauthorized"
    ACCOUNT = "account"
    FORBIDDEN = "forbidden"
    FIREWALL = "firewall"
    WRONG_ADDRESS = "wrong address"
    FOUND = "found"
    ABSENT = "absent"
    UNSUPPORTED = "no look-ups"
    LOGGED_IN = "logged in"


@dataclass(frozen=True)
class Seen:
    """An answer, and what is known about the document it is about.

    Attributes:
        has_look_up: the API answers look-ups.
        unconfirmed: the document may have been stored by an earlier call.
    """

    answer: Answer
    resource: str
    local_id: str
    settings: ApiSettings
    has_look_up: bool = True
    unconfirmed: bool = False

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def statement(self) -> Statement:
        return self.answer.statement

    @property
    def api_message(self) -> str:
        return self.answer.api_message

    @property
    def about_content(self) -> bool:
        return self.answer.is_about_content

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @cached_property
    def national_id(self) -> str | None:
        """The document's national code."""
        data = self.answer.data
        if isinstance(data, str):  # a word like "Error" is no code
            code = as_code(data)
            is_code = code is not None and any(map(str.isdigit, code))
            return code if is_code and not same_code(code or "", self.local_id) else None
        return self.answer.national_code(self.resource, self.local_id)

    @property
    def has_certain_national_id(self) -> bool:
        """A national code under the one name that is used for nothing else."""
        names = self.answer.fields | self.answer.nested
        code = as_code(names.get(f"ma_{self.resource}_quoc_gia"))
        return code is not None and not same_code(code, self.local_id)

    @property
    def is_sentence(self) -> bool:
        """The whole body is a JSON text of several words."""
        return isinstance(self.answer.data, str) and len(self.answer.data.split()) > 1

    @cached_property
    def duplicate(self) -> Duplicate:
        """What the answer's text states about a duplicate of the document."""
        return duplicate(self.answer.text, self.settings, self.local_id)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        answer: description of the answers it applies to, for readers.
        applies: the same condition as code.
        maybe_stored: the document may be stored, although the answer is no acceptance.
    """

    answer: str
    applies: Callable[[Seen], bool]
    meaning: Meaning
    maybe_stored: bool = False


def first_row(table: tuple[Row, ...], seen: Seen) -> Row:
    """The row that decides the class of an answer."""
    return next(row for row in table if row.applies(seen))


_ACCOUNT, _FORBIDDEN, _ASKS_TO_WAIT = (401,), (403, 451), (425, 429)
_ROUTE, _NOT_FOUND = (404, 405, 407, 410), (404, 410)
_CONTENT = (400, 402, 413, 415, 422)


def _is_server_error(seen: Seen) -> bool:
    return seen.status == 408 or 500 <= seen.status < 600


def _is_redirect(seen: Seen) -> bool:
    return 300 <= seen.status < 400


def _contradicts(seen: Seen) -> bool:
    """States success and failure, or a failure with a code that only the API can issue."""
    failed = seen.statement is Statement.FAILURE and seen.has_certain_national_id
    return seen.statement is Statement.CONTRADICTION or failed


def _refuses(seen: Seen) -> bool:
    refused = seen.statement is Statement.FAILURE and not _contradicts(seen)
    return seen.status in _CONTENT or (seen.is_ok and (refused or seen.is_sentence))


def _succeeds(seen: Seen) -> bool:
    if seen.statement is Statement.SUCCESS:
        return True
    stated = seen.statement in (Statement.LIKELY, Statement.NOTHING)
    return stated and seen.national_id is not None


POST_TABLE = (
    Row(
        "no HTTP status from 200 to 599",
        lambda seen: not 200 <= seen.status < 600,
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
    Row(
        "409, 400, 402, 413, 415, 422, or 2xx except a page, if the text states that the "
        "document is a duplicate; with code 200 and a national code, only if the text states "
        "that it exists",
        lambda seen: (
            (seen.status in (409, *_CONTENT) or (seen.is_ok and not seen.answer.is_html))
            and seen.duplicate is Duplicate.SAID
            and (not _succeeds(seen) or seen.national_id is None or says_exists(seen.api_message))
        ),
        Meaning.DUPLICATE,
    ),
    Row(
        "409 with a national code in a field that is only for it",
        lambda seen: seen.status == 409 and seen.has_certain_national_id,
        Meaning.DUPLICATE,
    ),
    Row(
        "3xx or 4xx (except 409) whose body states success",
        lambda seen: (
            300 <= seen.status < 500
            and seen.status != 409
            and seen.answer.reply.status == seen.status
            and (seen.statement is Statement.SUCCESS or seen.has_certain_national_id)
        ),
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
    Row("401", lambda seen: seen.status in _ACCOUNT, Meaning.UNAUTHORIZED),
    Row(
        "403, 451 with the API's own text",
        lambda seen: seen.status in _FORBIDDEN and seen.about_content,
        Meaning.FORBIDDEN,
    ),
    Row(
        "403, 451 with a page, an empty body or the text of a gateway",
        lambda seen: seen.status in _FORBIDDEN,
        Meaning.FIREWALL,
    ),
    Row("425, 429", lambda seen: seen.status in _ASKS_TO_WAIT, Meaning.UNAVAILABLE),
    Row(
        "408, 5xx if the text states that the document is a duplicate, the document is "
        "unconfirmed, and look-ups are not available",
        lambda seen: (
            _is_server_error(seen)
            and seen.duplicate is Duplicate.SAID
            and seen.unconfirmed
            and not seen.has_look_up
        ),
        Meaning.DUPLICATE,
    ),
    Row("408, 5xx", _is_server_error, Meaning.UNAVAILABLE, maybe_stored=True),
    Row(
        "409 without a reason, if the document is unconfirmed and look-ups are not available",
        lambda seen: (
            seen.status == 409
            and gives_no_reason(seen.api_message)
            and seen.unconfirmed
            and not seen.has_look_up
        ),
        Meaning.DUPLICATE,
    ),
    Row(
        "409 without a reason, if look-ups are not available",
        lambda seen: (
            seen.status == 409 and gives_no_reason(seen.api_message) and not seen.has_look_up
        ),
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
    Row(
        "any other 409, or a refusal whose text states that something exists, perhaps not this "
        "document; if look-ups are available",
        lambda seen: (
            seen.has_look_up
            and (seen.status == 409 or (seen.duplicate is Duplicate.DOUBTFUL and _refuses(seen)))
        ),
        Meaning.POSSIBLE_DUPLICATE,
        maybe_stored=True,
    ),
    Row(
        "404, 410 if the text states that something exists",
        lambda seen: (
            seen.status in _NOT_FOUND
            and seen.about_content
            and seen.duplicate is not Duplicate.NOT_SAID
        ),
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
    Row(
        "404, 410 with the API's own text about the content",
        lambda seen: seen.status in _NOT_FOUND and seen.about_content,
        Meaning.REJECTED,
    ),
    Row("404, 405, 407, 410", lambda seen: seen.status in _ROUTE, Meaning.WRONG_ADDRESS),
    Row("3xx", _is_redirect, Meaning.WRONG_ADDRESS, maybe_stored=True),
    Row(
        "400, 402, 409, 413, 415, 422, with any body; another 4xx with the API's own text",
        lambda seen: (
            seen.status in (409, *_CONTENT) or (400 <= seen.status < 500 and seen.about_content)
        ),
        Meaning.REJECTED,
    ),
    Row("another 4xx", lambda seen: 400 <= seen.status < 500, Meaning.UNAVAILABLE),
    Row(
        "2xx that contradicts itself: code 200 together with a flag, word or list that states "
        "failure; a failure together with a national code",
        _contradicts,
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
    Row(
        "2xx with a code, word or flag that states failure",
        lambda seen: seen.statement is Statement.FAILURE,
        Meaning.REJECTED,
    ),
    Row(
        "2xx with only a text of several words",
        lambda seen: seen.is_sentence,
        Meaning.REJECTED,
    ),
    Row(
        'code 200, code equal to the HTTP status, status "success"; or a national code together '
        "with code 0, 00, another 2xx, a flag that states success, or no statement",
        _succeeds,
        Meaning.ACCEPTED,
    ),
    Row(
        "any other 2xx: empty, a page, not JSON, no known code",
        lambda _: True,
        Meaning.UNKNOWN,
        maybe_stored=True,
    ),
)


def _shows(seen: Seen) -> bool:
    """The answer shows the document, by its national or local code."""
    if not seen.is_ok or _contradicts(seen):
        return False
    echoed = seen.answer.echoes(seen.resource, seen.local_id)
    success = seen.statement is Statement.SUCCESS
    likely = seen.statement in (Statement.LIKELY, Statement.NOTHING)
    return (success and (echoed or seen.national_id is not None)) or (
        likely and seen.national_id is not None
    )


def _says_absent(seen: Seen) -> bool:
    if is_about_route(seen.api_message) or is_system_error(seen.api_message):
        return False
    if seen.answer.code == "404":
        return seen.answer.reply.status in (404, 410) or 200 <= seen.answer.reply.status < 300
    return seen.answer.reply.status in _NOT_FOUND and seen.about_content


LOOKUP_TABLE = (
    Row("401", lambda seen: seen.status in _ACCOUNT, Meaning.UNAUTHORIZED),
    Row(
        "403, 451 with the API's own text",
        lambda seen: seen.status in _FORBIDDEN and seen.about_content,
        Meaning.FORBIDDEN,
    ),
    Row("any other 403, 451", lambda seen: seen.status in _FORBIDDEN, Meaning.FIREWALL),
    Row(
        "404, 410 with the API's own text about the document; code 404 in the body, with HTTP "
        "status 2xx, 404 or 410",
        _says_absent,
        Meaning.ABSENT,
    ),
    Row(
        "405, 501; 404 for the route: a page, an empty body, or the text of a framework or gateway",
        lambda seen: (
            seen.answer.reply.status in (405, 501)
            or (seen.answer.reply.status == 404 and not is_system_error(seen.api_message))
        ),
        Meaning.UNSUPPORTED,
    ),
    Row("2xx that shows the document", _shows, Meaning.FOUND),
    Row(
        "everything else: 3xx, other 4xx, 5xx, a page, an empty body, a contradiction",
        lambda _: True,
        Meaning.UNAVAILABLE,
    ),
)

LOGIN_TABLE = (
    Row(
        "401, 403, 451, any 4xx not listed below; 404, 410 with the API's own text",
        lambda seen: (
            (400 <= seen.status < 500 and seen.status not in (*_ROUTE, *_ASKS_TO_WAIT, 408))
            or (seen.status in _NOT_FOUND and seen.about_content)
        ),
        Meaning.ACCOUNT,
    ),
    Row(
        "404, 405, 407, 410, 3xx",
        lambda seen: seen.status in _ROUTE or _is_redirect(seen),
        Meaning.WRONG_ADDRESS,
    ),
    Row("425, 429, 408, 5xx, any other status", lambda seen: not seen.is_ok, Meaning.UNAVAILABLE),
    Row(
        "2xx with a code, word or flag that states failure",
        lambda seen: seen.statement is Statement.FAILURE,
        Meaning.ACCOUNT,
    ),
    Row(
        "2xx that contradicts itself",
        lambda seen: seen.statement in (Statement.CONTRADICTION, Statement.SENSELESS),
        Meaning.UNAVAILABLE,
    ),
    Row("2xx with a token", lambda seen: seen.answer.token_value is not None, Meaning.LOGGED_IN),
    Row(
        "2xx without a token: empty, a page, or with a statement of success",
        lambda seen: (
            seen.answer.is_html
            or not seen.answer.text
            or seen.statement in (Statement.SUCCESS, Statement.LIKELY)
        ),
        Meaning.UNAVAILABLE,
    ),
    Row("2xx with a text and without a token", lambda _: True, Meaning.ACCOUNT),
)
