"""What an answer of the API means: the one place that turns it into a result or an error type.

Pure functions. Whatever bytes, headers and status come in, each gives its result or a `SyncError`.
A document counts as accepted only on a national code, an explicit success or a duplicate signal;
what says none of that and is no refusal either is `OutcomeUnknown`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
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
from lib.models import Acceptance
from lib.platforms.dqg.login_token import Token, is_usable
from lib.platforms.dqg.redaction import shorten
from lib.platforms.dqg.response import Answer, Reply, as_code, same_code
from lib.platforms.platform import Lookup
from lib.settings import ApiSettings

_ACCOUNT = (401, 403, 451)
_TRANSIENT = (408, 425, 429)
#: No such path or method, or somebody else answered: the address or the proxy is wrong.
_MISPLACED = (404, 405, 407, 410)
#: Everyday and pharmaceutical words that contain "trùng" (same, duplicate) but mean another thing.
_NOT_DUPLICATE = (
    "côn trùng",
    "ký sinh trùng",
    "kí sinh trùng",
    "vi trùng",
    "ấu trùng",
    "tiệt trùng",
    "vô trùng",
    "thanh trùng",
    "nhiễm trùng",
    "khử trùng",
    "sát trùng",
    "không trùng",
    "chưa trùng",
    "trùng khớp",
    "no duplicate",
    "not duplicate",
)
#: How frameworks say that a path does not exist, as opposed to a document.
_ROUTE_TEXT = re.compile(r"no http resource|no message available|cannot get |not found\.?$")


# ---------------------------------------------------------------- documents


def parse_submit(
    resource: str,
    local_id: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    settings: ApiSettings,
    *,
    names: tuple[str, ...] = (),
) -> Acceptance:
    """The meaning of an answer to a POST of a document.

    Args:
        names: persons named in the document, kept out of every text.

    Raises:
        Rejected: the content was refused.
        Unavailable: not now; the document has not been taken.
        OutcomeUnknown: the answer does not say whether the document was stored.
        AccountRefused: the account may not send.
        WrongEndpoint: nothing there takes documents.
    """
    answer = Answer(Reply(status, headers, body), names)
    result = _http_failure(answer, settings) or _stored(answer, resource, local_id, settings)
    if isinstance(result, Acceptance):
        return result
    # A page under 200 is a maintenance page, whatever its words; a refusal may be a page too.
    telling = isinstance(result, Rejected) or (
        200 <= answer.status < 300 and isinstance(result, OutcomeUnknown) and not answer.is_html
    )
    if answer.status == 409 or (telling and says_duplicate(answer.text, settings)):
        return _acceptance(
            answer, settings, answer.national_code(resource, local_id), duplicate=True
        )
    raise result


def _http_failure(answer: Answer, settings: ApiSettings) -> SyncError | None:
    """The error a status stands for; None for 2xx."""
    status = answer.status
    text = answer.described()
    record: dict[str, Any] = {
        "http_status": status,
        "answer": answer.excerpt(settings.answer_limit),
    }
    if 200 <= status < 300:
        return None
    if status in _ACCOUNT:
        return Forbidden(text, **record)
    if status in _TRANSIENT or 500 <= status < 600:
        return Unavailable(text, retry_after=answer.retry_after, **record)
    if status in _MISPLACED or 300 <= status < 400:
        return WrongEndpoint(text, **record)
    if 400 <= status < 500:
        return Rejected(text, **record)
    return OutcomeUnknown(text, **record)


def _stored(
    answer: Answer, resource: str, local_id: str, settings: ApiSettings
) -> Acceptance | SyncError:
    """The meaning of a body under 2xx."""
    record: dict[str, Any] = {
        "http_status": answer.status,
        "answer": answer.excerpt(settings.answer_limit),
    }
    if isinstance(answer.data, str):
        if len(answer.data.split()) > 1:
            return Rejected(answer.message, **record)
        national_id = _bare_code(answer.data, local_id)
        if national_id:
            return _acceptance(answer, settings, national_id)
    elif answer.says_failure:
        return Rejected(answer.described(), **record)
    elif answer.code != "?":
        national_id = answer.national_code(resource, local_id)
        if national_id or answer.says_success:
            return _acceptance(answer, settings, national_id)
    return OutcomeUnknown(f"unclear answer: {answer.described()}", **record)


def _bare_code(text: str, local_id: str) -> str | None:
    """The national code in an answer that is nothing but a string; a word like "Error" is none."""
    code = as_code(text)
    if code is None or same_code(code, local_id) or not any(map(str.isdigit, code)):
        return None
    return code


def _acceptance(
    answer: Answer, settings: ApiSettings, national_id: str | None, *, duplicate: bool = False
) -> Acceptance:
    words = answer.message if duplicate else shorten(answer.said, 300)
    return Acceptance(
        national_id=national_id,
        message=words or ("the API had it already" if duplicate else "accepted"),
        http_status=answer.status,
        answer=answer.excerpt(settings.answer_limit),
        duplicate=duplicate,
    )


def says_duplicate(text: str, settings: ApiSettings) -> bool:
    """Whether a text says that the API has the document already."""
    said = _folded(text)
    for other in _NOT_DUPLICATE:
        said = said.replace(_folded(other), " ")
    return any(sign and sign in said for sign in map(_folded, settings.duplicate_texts))


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# ---------------------------------------------------------------- look-up


def parse_lookup(
    resource: str,
    local_id: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    settings: ApiSettings,
    *,
    names: tuple[str, ...] = (),
) -> Acceptance | Lookup:
    """The meaning of an answer to a GET of a document.

    `ABSENT` only where the answer is about the document: a document wrongly held for absent would
    be sent twice. Everything unclear is `UNSUPPORTED`.

    Raises:
        Unavailable, AccountRefused.
    """
    answer = Answer(Reply(status, headers, body), names)
    failure = _http_failure(answer, settings)
    if isinstance(failure, AccountRefused):
        raise failure
    if isinstance(failure, Unavailable) and answer.status != 501:
        raise failure
    if _says_absent(answer):
        return Lookup.ABSENT
    if failure is not None or answer.says_failure or answer.code == "?":
        return Lookup.UNSUPPORTED
    if isinstance(answer.data, str):
        national_id = _bare_code(answer.data, local_id)
    else:
        national_id = answer.national_code(resource, local_id)
    # Success alone may stand over an empty result.
    if national_id or (answer.says_success and answer.echoes(resource, local_id)):
        return _acceptance(answer, settings, national_id, duplicate=True)
    return Lookup.UNSUPPORTED


def _says_absent(answer: Answer) -> bool:
    if answer.code == "404":
        return answer.reply.status == 404 or 200 <= answer.reply.status < 300
    if answer.status != 404 or answer.code is not None:
        return False
    if {"messagedetail", "path", "error"} & answer.fields.keys():  # a framework's own 404
        return False
    words = answer.fields.get("mess") or answer.fields.get("message")
    if not isinstance(words, str) or not words.strip():
        return False
    return not _ROUTE_TEXT.match(_folded(words))


# ---------------------------------------------------------------- login


def parse_login(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: tuple[str, ...] = (),
) -> Token:
    """The token in an answer to a login. No error carries the answer itself: it may hold secrets.

    Args:
        secrets: taken out of every text, for the case that the answer repeats the password.

    Raises:
        AccountRefused: user or password is wrong, or the account is locked.
        Unavailable: not now.
        WrongEndpoint: there is no login at this address.
    """
    answer = Answer(Reply(status, headers, body), secrets=secrets)
    text = f"login: {answer.described()}"
    if 200 <= answer.status < 300:
        return _token(answer, text)
    if answer.status in _TRANSIENT or 500 <= answer.status < 600 or answer.status < 200:
        raise Unavailable(text, http_status=answer.status, retry_after=answer.retry_after)
    if answer.status in _MISPLACED or 300 <= answer.status < 400:
        raise WrongEndpoint(text, http_status=answer.status)
    raise AccountRefused(text, http_status=answer.status)


def _token(answer: Answer, text: str) -> Token:
    if answer.says_failure:
        raise AccountRefused(text, http_status=answer.status)
    found = [answer.nested.get("token"), answer.fields.get("token")]
    found += [answer.nested.get("access_token"), answer.fields.get("access_token")]
    value = next((item.strip() for item in found if isinstance(item, str) and item.strip()), None)
    if value is not None:
        if not is_usable(value):
            raise Unavailable("login: the token has unusable characters")
        stated = answer.nested.get("expires_in") or answer.fields.get("expires_in")
        return Token(value, _seconds(stated))
    if answer.is_html or not answer.text or answer.says_success:
        raise Unavailable(
            f"login: an answer without a token (HTTP {answer.status})", http_status=answer.status
        )
    raise AccountRefused(text, http_status=answer.status)


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    return None
