"""An answer of the API as it came, and a view of it that knows every shape seen in the field."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final

from lib.platforms.dqg.redaction import hide_secrets, printable, redact, shorten

#: Statuses that some servers send within the body under HTTP 200.
_MIRRORED = frozenset({401, 408, 409, 425, 429, *range(500, 600)})
_MESSAGE_LIMIT = 300
#: National codes are stored in NVARCHAR(100).
_NATIONAL_CODE = re.compile(r"[^\s<>{}\[\]\"\\]{1,100}")
_RETRY_AFTER_MAX = 3600.0
_NOT_JSON: Final = object()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered, unread."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A reply that has been read. No input makes one of its properties raise.

    Attributes:
        names: persons whose names must not appear in `message` and `excerpt`.
        secrets: other texts that must not appear there.
    """

    reply: Reply
    names: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @cached_property
    def raw(self) -> str:
        body = self.reply.body
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            return body.decode("utf-16", errors="replace")
        return body.decode("utf-8-sig", errors="replace")

    @cached_property
    def data(self) -> object:
        """The parsed body; use `is_json` to tell `null` from a body that is no JSON."""
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError):
            return _NOT_JSON

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
        return lower_names(data[0] if isinstance(data, list) and len(data) == 1 else data)

    @cached_property
    def code(self) -> str | None:
        """The body's own status code; None where it says nothing, "?" where it makes no sense."""
        code = self.fields.get("code")
        if isinstance(code, float) and code.is_integer():
            code = int(code)
        if isinstance(code, str | int | float) and not isinstance(code, bool):
            return printable(str(code)).strip()[:20] or None
        return None if code is None else "?"

    @cached_property
    def status(self) -> int:
        """The HTTP status, or the one that the body mirrors under a 2xx."""
        status = self.reply.status
        code = self.code or ""
        if 200 <= status < 300 and re.fullmatch(r"[0-9]{3}", code) and int(code) in _MIRRORED:
            return int(code)
        return status

    @property
    def says_success(self) -> bool:
        """The body states it: code 200, or no code and the status "success"."""
        if self.code is not None:
            return self.code == "200"
        return self._word == "success"

    @property
    def says_failure(self) -> bool:
        if self.code is not None:
            return self.code not in ("200", "?")
        return self._word in ("error", "fail", "failed", "failure")

    @property
    def _word(self) -> str:
        status = self.fields.get("status")
        return status.strip().casefold() if isinstance(status, str) else ""

    @cached_property
    def said(self) -> str:
        """The API's own words, on one line; empty where it said nothing."""
        for name in ("mess", "message", "detail"):
            if words := _words(self.fields.get(name)):
                return " ".join(self._clean(words).split())
        return ""

    @cached_property
    def text(self) -> str:
        """What there is to read on one line: the API's own words, else the body itself."""
        if self.said or self.data is None:
            return self.said
        if isinstance(self.data, str):
            text = self.data
        else:
            text = _without_tags(self.raw) if self.is_html else self._readable
        return " ".join(self._clean(text).split())

    @property
    def message(self) -> str:
        """`text`, short."""
        return shorten(self.text, _MESSAGE_LIMIT)

    def described(self) -> str:
        """`message` with the status it came under."""
        origin = f"HTTP {self.status}"
        if 200 <= self.status < 300 and self.code not in (None, "200"):
            origin = f"code {self.code}"
        return f"{origin}: {self.message}" if self.message else f"{origin} without a text"

    def excerpt(self, limit: int) -> str:
        """The body for the record, at most `limit` characters."""
        return shorten(self._clean(self._readable), limit)

    def national_code(self, resource: str, local_id: str) -> str | None:
        """The document's national code; an echo of the local code is none."""
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

    @cached_property
    def retry_after(self) -> float | None:
        """Seconds the server asked to wait, at most an hour."""
        headers = {name.lower(): value for name, value in self.reply.headers.items()}
        value = headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value, re.ASCII):
            return min(float(value), _RETRY_AFTER_MAX)
        until = _http_date(value)
        if until is None:
            return None
        since = _http_date(headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - since).total_seconds(), 0.0), _RETRY_AFTER_MAX)

    @cached_property
    def _readable(self) -> str:
        """The body as text, with escapes resolved: a name hidden in them must be found."""
        if self.is_json and "\\u" in self.raw:
            try:
                return json.dumps(self.data, ensure_ascii=False)
            except (ValueError, RecursionError):
                return self.raw
        return html.unescape(self.raw) if self.is_html else self.raw

    def _clean(self, text: str) -> str:
        return printable(redact(hide_secrets(text, self.secrets), self.names))


def lower_names(value: object) -> dict[str, object]:
    """Members of an object by lower-case name; where names collide, one with a value wins."""
    members: dict[str, object] = {}
    for name, member in value.items() if isinstance(value, dict) else ():
        if members.get(name.lower()) in (None, ""):
            members[name.lower()] = member
    return members


def code_names(resource: str) -> tuple[str, ...]:
    """Names under which the national code has been seen, most certain first."""
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


def _words(value: object, depth: int = 0) -> str:
    """Text of a message, whatever it is wrapped in."""
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
