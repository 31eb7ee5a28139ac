"""Answers as a test gives them, and what they are read as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.errors import SyncError
from lib.models import Acceptance
from lib.platforms.dqg.interpret import parse_lookup, parse_submit
from lib.platforms.dqg.response import Reply
from lib.platforms.platform import Lookup
from lib.settings import ApiSettings

LOCAL = "HD-S01-000101"
NATIONAL = "DQG-2026-000777"
HTML = "<!DOCTYPE html><html><head><title>Bảo trì</title></head><body>hệ thống</body></html>"

#: How servers, frameworks and gateways say that a path does not exist.
ROUTES: list[Any] = [
    b"",
    b"null",
    HTML.encode(),
    b"404 page not found",
    "Không tìm thấy thuốc".encode(),
    {"detail": "Not Found"},
    {"detail": "Not found."},
    {"message": "Not Found"},
    {"code": 404, "message": "Not Found"},
    {"code": 404, "mess": ""},
    {"message": "no Route matched with those values"},
    {"statusCode": 404, "message": "Resource not found"},
    {"statusCode": 404, "message": "Cannot POST /api/lien_thong/hoa_don", "error": "Not Found"},
    {"message": "Route POST:/api/x not found", "error": "Not Found"},
    {"message": "The route api/lien_thong could not be found."},
    {"status": 404, "error": "Not Found", "message": "", "path": "/x"},
    {"status": 404, "error": "Not Found", "message": "Không có", "path": "/x"},
    {"Message": "No HTTP resource was found that matches the request URI 'x'."},
    {"Message": "Không có", "MessageDetail": "No type was found"},
    {"type": "https://tools.ietf.org/html/rfc9110", "title": "Not Found", "status": 404},
    {"message": "Đường dẫn không tồn tại"},
]


def as_bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return json.dumps(body, ensure_ascii=False).encode()


def submitted(
    body: Any,
    status: int = 200,
    *,
    resource: str = "hoa_don",
    headers: dict[str, str] | None = None,
    names: tuple[str, ...] = (),
    has_look_up: bool = True,
    unconfirmed: bool = False,
    **settings: Any,
) -> Acceptance:
    """What an answer to a POST means."""
    return parse_submit(
        Reply(status, headers or {}, as_bytes(body)),
        resource,
        LOCAL,
        ApiSettings(**settings),
        names=names,
        has_look_up=has_look_up,
        unconfirmed=unconfirmed,
    )


def failure(body: Any, status: int = 200, **options: Any) -> SyncError:
    """The error that an answer to a POST means."""
    with pytest.raises(SyncError) as caught:
        submitted(body, status, **options)
    return caught.value


def looked_up(body: Any, status: int = 200, **options: Any) -> Acceptance | Lookup:
    resource = options.pop("resource", "hoa_don")
    headers = options.pop("headers", {})
    reply = Reply(status, headers, as_bytes(body))
    return parse_lookup(reply, resource, LOCAL, ApiSettings(), **options)
