"""An unchanged answer of the API, and a parsed view that handles every shape seen in practice."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from lib.platforms.dqg.wording import is_about_route, is_system_error, names_only_the_status
from lib.sanitize import hide_secrets, printable, redact, shorten
from lib.words.language import Phrase

#: Statuses that some servers send within the body under HTTP 200.
_MIRRORED = frozenset({401, 403, 408, 409, 425, 429, *range(500, 600)})
_MESSAGE_LIMIT = 300
#: National codes are stored in NVARCHAR(100).
_NATIONAL_CODE = re.compile(r"[^\s<>{}\[\]\"\\]{1,100}")
_RETRY_AFTER_MAX = 3600.0
_NOT_JSON: Final = object()
#: How many levels of JSON within a JSON text are unpacked.
_DEPTH = 3
#: Accepted character sets; other codecs of Python are no character sets, or slow by design.
_CHARSET = re.compile(r"(?i)utf-?(8|16|32)(-?[lb]e)?|(windows|iso|cp|latin|us|tcvn)[-_\w]{0,20}")
_SUCCESS_FLAGS = ("success", "issuccess", "is_success", "succeeded", "status")
_FAILURE_MEMBERS = ("error", "errors", "haserror", "has_error", "iserror", "is_error")
_SUCCESS_WORDS = ("success", "succeeded")
_FAILURE_WORDS = ("error", "fail", "failed", "failure")
_NOTHING = ("", "0", "no", "none", "null", "false", "ok", "success")


class Statement(StrEnum):
    """What a body states about its own success."""

    SUCCESS = "success"
    LIKELY = "likely"  # code 0, "00", 201, a flag: a success if a national code is also present
    FAILURE = "failure"
    CONTRADICTION = "contradiction"
    SENSELESS = "senseless"  # a code that is neither a number nor a text
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer, not parsed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A parsed reply. Its properties never raise, whatever the input.

    Attributes:
        names: persons whose names must not appear in `message` and `excerpt`.
        secrets: other texts that must not appear there.
    """

    reply: Reply
    names: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @cached_property
    def raw(self) -> str:
        declared = re.search(r"(?i)charset\s*=\s*[\"']?([\w.:-]+)", self.header("content-type"))
        return _decoded(self.reply.body, declared[1] if declared else None)

    @cached_property
    def data(self) -> object:
        """The parsed body; JSON within a JSON text is unpacked; see `is_json`."""
        data = _parsed(self.raw)
        for _ in range(_DEPTH):
            inner = _parsed(data) if isinstance(data, str) else None
            if not isinstance(inner, dict | list | str):
                break
            data = inner
        return data

    @property
    def is_json(self) -> bool:
        return self.data is not _NOT_JSON

    @property
    def is_html(self) -> bool:
        return not self.is_json and self.raw.lstrip()[:1] == "<"

    @cached_property
    def fields(self) -> dict[str, object]:
        """Members of the object, if it is one, by their lower-case names."""
        return lower_names(self.data)

    @cached_property
    def nested(self) -> dict[str, object]:
        """Members of the object's `data`, if there is one."""
        data = self.fields.get("data")
        if isinstance(data, str):
            data = _parsed(data)
        return lower_names(data[0] if isinstance(data, list) and len(data) == 1 else data)

    @cached_property
    def code(self) -> str | None:
        """The body's own status code; None if it has none, "?" if it makes no sense."""
        code = self.fields.get("code")
        if isinstance(code, float) and code.is_integer():
            code = int(code)
        if isinstance(code, str | int | float) and not isinstance(code, bool):
            text = printable(str(code)).strip()[:20]
            whole = re.fullmatch(r"([0-9]+)\.0+", text, re.ASCII)
            return (whole[1] if whole else text) or None
        return None if code is None else "?"

    @cached_property
    def status(self) -> int:
        """The HTTP status, or the one that the body states under a 2xx."""
        status = self.reply.status
        code = self.code or ""
        if 200 <= status < 300 and re.fullmatch(r"[0-9]{3}", code) and int(code) in _MIRRORED:
            return int(code)
        return status

    @cached_property
    def statement(self) -> Statement:
        """What the body states about its own success; all members about it are checked."""
        word = self.fields.get("status")
        word = word.strip().casefold() if isinstance(word, str) else None
        flags = {_flag(self.fields.get(name)) for name in _SUCCESS_FLAGS}
        code_fails = self.code not in (None, "?") and not self._likely_code
        failure = code_fails or word in _FAILURE_WORDS or False in flags
        certain = word in _SUCCESS_WORDS or (
            self.code == "200" or (self.code == str(self.reply.status) and self._likely_code)
        )
        likely = self._likely_code or True in flags
        if self.code == "?":
            return Statement.SENSELESS
        if (certain or likely) and (failure or any(map(self._says_something, _FAILURE_MEMBERS))):
            return Statement.CONTRADICTION
        if failure:
            return Statement.FAILURE
        if certain or likely:
            return Statement.SUCCESS if certain else Statement.LIKELY
        return Statement.NOTHING

    @property
    def _likely_code(self) -> bool:
        """A code that means success in some APIs: 0, "00", another 2xx, a word."""
        code = (self.code or "").casefold()
        return bool(re.fullmatch(r"0{1,6}|2[0-9]{2}|ok|success(ful)?|succeeded", code, re.ASCII))

    def _says_something(self, name: str) -> bool:
        member = self.fields.get(name)
        if isinstance(member, str):
            return member.strip().casefold() not in _NOTHING
        return bool(member)

    @cached_property
    def is_about_content(self) -> bool:
        """Whether a 403, 404 or 410 is from the API itself and about what was sent.

        A server, framework or gateway uses other messages for a path that does not exist.
        """
        message = self.api_message
        if not message or is_about_route(message) or is_system_error(message):
            return False
        if self.code is not None and self.code != "?":
            return not names_only_the_status(message)
        error = self.fields.get("error")
        from_framework = {"messagedetail", "path", "statuscode", "exception"} & self.fields.keys()
        if from_framework or (isinstance(error, str) and names_only_the_status(error)):
            return False
        return not names_only_the_status(message)

    @cached_property
    def api_message(self) -> str:
        """The API's own message, on one line; empty if there is none."""
        for name in ("mess", "message", "detail"):
            if words := _words(self.fields.get(name)):
                return " ".join(self._clean(words).split())
        return ""

    @cached_property
    def text(self) -> str:
        """The readable text, on one line: the API's own message, otherwise the body itself."""
        if self.api_message or self.data is None:
            return self.api_message
        if isinstance(self.data, str):
            text = self.data
        else:
            text = _without_tags(self.raw) if self.is_html else self._readable
        return " ".join(self._clean(text).split())

    @property
    def message(self) -> str:
        """`text`, shortened."""
        return shorten(self.text, _MESSAGE_LIMIT)

    def described(self) -> str:
        """`message` with its status."""
        origin = f"HTTP {self.status}"
        if 200 <= self.status < 300 and self.code not in (None, "200"):
            origin = f"code {self.code}"
        if self.message:
            return f"{origin}: {self.message}"
        return Phrase("{status} without a text", status=origin)

    def excerpt(self, limit: int) -> str:
        """The body for the record, at most `limit` characters."""
        return shorten(self._clean(self._readable), limit)

    def national_code(self, resource: str, local_id: str) -> str | None:
        """The document's national code; an echo of the local code does not count."""
        for members in (self.fields, self.nested):
            for name in code_names(resource):
                code = as_code(members.get(name))
                if code and not same_code(code, local_id):
                    return code
        return None

    def echoes(self, resource: str, local_id: str) -> bool:
        """Whether the body shows the document under its local code."""
        return any(
            same_code(as_code(members.get(name)) or "", local_id)
            for members in (self.fields, self.nested)
            for name in code_names(resource)
        )

    @property
    def token_value(self) -> str | None:
        """The token in an answer to a login."""
        members = [
            source.get(name)
            for name in ("token", "access_token")
            for source in (self.nested, self.fields)
        ]
        texts = [member.strip() for member in members if isinstance(member, str)]
        return next(filter(None, texts), None)

    @cached_property
    def retry_after(self) -> float | None:
        """Seconds the server asked to wait, at most an hour."""
        value = self.header("retry-after").strip()
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value, re.ASCII):
            return min(float(value), _RETRY_AFTER_MAX)
        until = _http_date(value)
        if until is None:
            return None
        since = _http_date(self.header("date")) or datetime.now(UTC)
        return min(max((until - since).total_seconds(), 0.0), _RETRY_AFTER_MAX)

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return next((v for key, v in self.reply.headers.items() if key.lower() == name), "")

    @cached_property
    def _readable(self) -> str:
        """The body as text, with escapes resolved, so that names written with escapes are found."""
        if self.is_json and "\\" in self.raw:
            try:
                text = json.dumps(self.data, ensure_ascii=False)
            except (ValueError, RecursionError):
                text = self.raw
            # Remaining escapes were escaped twice (JSON in JSON), or are a name that looks so.
            text = redact(text, self.names)
            return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
        return html.unescape(self.raw) if self.is_html else self.raw

    def _clean(self, text: str) -> str:
        return printable(redact(hide_secrets(text, self.secrets), self.names))


def _decoded(body: bytes, declared: str | None) -> str:
    """A body as text: UTF-8 if valid, else as declared, else as its zero bytes suggest."""
    if b"\x00" not in body and not body.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return body.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
    known = declared is not None and _CHARSET.fullmatch(declared)
    for name in (declared if known else None, json.detect_encoding(body)):
        try:
            # Windows-1258 writes accents as separate characters.
            text = unicodedata.normalize("NFC", body.decode(name)) if name else None
        except (UnicodeDecodeError, LookupError):
            continue
        if text is not None:
            return text.removeprefix("\ufeff")
    wide = body.startswith((b"\xff\xfe", b"\xfe\xff"))
    return body.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def lower_names(value: object) -> dict[str, object]:
    """Members of an object by lower-case name; if names collide, one with a value is used."""
    members: dict[str, object] = {}
    for name, member in value.items() if isinstance(value, dict) else ():
        if members.get(name.lower()) in (None, ""):
            members[name.lower()] = member
    return members


def code_names(resource: str) -> tuple[str, ...]:
    """Names of the member with the national code seen in practice, most certain first."""
    return f"ma_{resource}_quoc_gia", f"ma_{resource}", "ma_phieu"


def as_code(value: object) -> str | None:
    """A value as a code, None if it cannot be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    code = value.strip()
    return code if _NATIONAL_CODE.fullmatch(code) and code == printable(code) else None


def same_code(code: str, local_id: str) -> bool:
    return code.strip().casefold() == local_id.strip().casefold()


def _flag(value: object) -> bool | None:
    text = value.strip().casefold() if isinstance(value, str) else None
    if value is True or text == "true":
        return True
    return False if value is False or text == "false" else None


def _words(value: object, depth: int = 0) -> str:
    """Text of a message, also if it is nested in lists or objects."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and depth < 3:
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:20])))
    if isinstance(value, dict) and depth < 3:
        members = lower_names(value)
        place = members.get("loc")
        steps = place if isinstance(place, list) else []
        where = ".".join(str(step) for step in steps if isinstance(step, str | int))
        for name in ("msg", "mess", "message", "detail"):
            if words := _words(members.get(name), depth + 1):
                return f"{where}: {words}" if where else words
    return ""


def _without_tags(page: str) -> str:
    """The readable part of the beginning of an HTML page."""
    beginning = re.sub(r"(?is)<(script|style|!--).*?(</\1>|-->|$)", " ", page[:5000])
    return html.unescape(re.sub(r"<[^<>]*>", " ", beginning))


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
