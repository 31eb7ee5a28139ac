"""Reading a request body, strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import Request

from deployments.local.sandbox.answers import Refusal

#: Maximum size of an accepted body, bytes.
BODY_LIMIT = 1024 * 1024
#: Bytes that are read and discarded so that the client can read the reason of the refusal.
_DRAIN_LIMIT = 16 * BODY_LIMIT


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request body: a JSON object, or the reason why it is not one."""

    content: dict[str, Any] | None
    refusal: Refusal | None = None

    def require(self) -> dict[str, Any]:
        """The object.

        Raises:
            Refusal: the body is not an object.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.content is None:
            raise AssertionError("neither content nor refusal")
        return self.content

    def text(self, name: str) -> str | None:
        """A field if it is a valid text of at most 50 characters, otherwise None."""
        value = (self.content or {}).get(name)
        return value if isinstance(value, str) and len(value) <= 50 and _is_unicode(value) else None


async def read_json(request: Request) -> Incoming:
    """Read the whole body; its errors are reported later, by `Incoming.require`."""
    body = await _read(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return Incoming(None, Refusal(415, "Content-Type phải là application/json"))
    if body is None:
        return Incoming(None, Refusal(413, "Dữ liệu gửi lên quá lớn"))
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return Incoming(None, Refusal(400, "Dữ liệu không phải JSON hợp lệ", about_document=True))
    if not isinstance(content, dict):
        return Incoming(None, Refusal(400, "Dữ liệu phải là đối tượng JSON", about_document=True))
    return Incoming(content)


async def _read(request: Request) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        elif size > _DRAIN_LIMIT:
            break
    return b"".join(chunks) if size <= BODY_LIMIT else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
