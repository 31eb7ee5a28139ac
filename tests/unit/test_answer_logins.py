"""Every answer to a login, and what it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.errors import (
    AccountRefused,
    SyncError,
    Unavailable,
    WrongEndpoint,
)
from lib.platforms.dqg.interpret import parse_login
from lib.platforms.dqg.response import Reply
from tests.unit.answer_kit import HTML, as_bytes

# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("body", "expires_in"),
    [
        ({"token": "abc.def", "token_type": "bearer"}, None),
        ({"code": 200, "message": "ok", "data": {"token": "abc.def"}}, None),
        ({"code": "200", "message": "ok", "data": {"token": " abc.def\n"}}, None),
        ({"access_token": "abc.def", "expires_in": 1800}, 1800),
        ({"access_token": "abc.def", "expires_in": "1800"}, 1800),
        ({"data": {"token": "", "access_token": "abc.def", "expires_in": 60}}, 60),
        ({"token": "", "access_token": "abc.def", "expires_in": -1}, None),
        ({"Token": "abc.def", "expires_in": float("nan")}, None),
        ({"data": {"token": "abc.def"}, "token": "other"}, None),
    ],
)
def test_every_login_shape_gives_the_token(body: Any, expires_in: float | None) -> None:
    token = parse_login(Reply(200, {}, as_bytes(body)))

    assert (token.value, token.expires_in) == ("abc.def", expires_in)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"message": "Sai mật khẩu"}, AccountRefused),
        (400, b"", AccountRefused),
        (401, {"mess": "Sai mật khẩu"}, AccountRefused),
        (403, HTML.encode(), AccountRefused),
        (422, {"detail": "x"}, AccountRefused),
        (200, {"code": 400, "message": "Sai mật khẩu", "data": None}, AccountRefused),
        (200, {"code": 400, "data": {"token": "abc"}}, AccountRefused),
        (200, {"code": 401, "message": "Sai mật khẩu"}, AccountRefused),
        (200, {"message": "Sai mật khẩu"}, AccountRefused),
        (200, "Sai mật khẩu", AccountRefused),
        (200, {"code": 200, "data": {"token": ""}}, Unavailable),
        (200, {"code": 503, "message": "Bảo trì"}, Unavailable),
        (200, b"", Unavailable),
        (200, b"null", Unavailable),
        (200, HTML.encode(), Unavailable),
        (200, {"token": "two words"}, Unavailable),
        (200, {"token": "xuống\ndòng"}, Unavailable),
        (429, b"", Unavailable),
        (500, {"message": "x"}, Unavailable),
        (503, HTML.encode(), Unavailable),
        (404, b"", WrongEndpoint),
        (404, {"detail": "Not Found"}, WrongEndpoint),
        (404, {"code": 404, "mess": "Không tìm thấy tài khoản"}, AccountRefused),
        (200, {"code": 200, "success": False, "token": "abc"}, Unavailable),
        (200, {"code": {}, "token": "abc"}, Unavailable),
        (405, b"", WrongEndpoint),
        (302, b"", WrongEndpoint),
    ],
)
def test_a_login_that_fails_says_whose_fault_it_is(
    status: int, body: Any, kind: type[SyncError]
) -> None:
    with pytest.raises(kind) as caught:
        parse_login(Reply(status, {}, as_bytes(body)))

    assert type(caught.value) is kind
    assert caught.value.answer is None


def test_a_login_keeps_the_servers_words_but_never_the_password() -> None:
    body = {"message": "Sai mật khẩu 's3cret/\"x' của demo"}

    with pytest.raises(AccountRefused) as caught:
        parse_login(Reply(400, {}, as_bytes(body)), secrets=('s3cret/"x',))

    assert "Sai mật khẩu '***' của demo" in caught.value.message


def test_a_login_passes_on_how_long_to_wait() -> None:
    with pytest.raises(Unavailable) as caught:
        parse_login(Reply(503, {"retry-after": "12"}, b""))

    assert caught.value.retry_after == 12


SECRET = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.Zm9vYmFyYmF6"


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"success": True, "accessToken": SECRET, "expiresIn": 86400},
        {"jwt": SECRET},
        {"code": 400, "refresh_token": SECRET},
        {"message": f"token {SECRET} của demo"},
        {"code": SECRET},
        SECRET,
        f"Bearer {SECRET}",
        SECRET.encode(),
        f"<html>{SECRET}</html>".encode(),
        json.dumps({"result": {"id_token": SECRET}}),
    ],
)
def test_an_error_of_a_login_never_holds_a_token(status: int, body: Any) -> None:
    with pytest.raises(SyncError) as caught:
        parse_login(Reply(status, {}, as_bytes(body)))

    said = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert SECRET[:12] not in said
    assert str(status) in caught.value.message or "code" in caught.value.message


def test_a_login_that_succeeded_without_a_token_refuses_no_account() -> None:
    with pytest.raises(Unavailable, match="without a token"):
        parse_login(Reply(200, {}, as_bytes({"success": True, "accessToken": SECRET})))
