"""What is kept of the texts of an answer, and how long it asks to wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from lib.errors import (
    SyncError,
    Unavailable,
)
from tests.unit.answer_kit import failure, submitted

# ---------------------------------------------------------------- Retry-After


def waits(value: str, **headers: str) -> float | None:
    error = failure(b"", 503, headers={"retry-after": value, **headers})
    assert isinstance(error, Unavailable)
    return error.retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 2.5 ", 2.5),
        ("999999999", 3600),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("1e400", None),
        ("²", None),
        ("Wed, 99 Foo 2026", None),
    ],
)
def test_retry_after_in_seconds_is_read_and_bounded(value: str, seconds: float | None) -> None:
    assert waits(value) == seconds


def test_retry_after_as_a_date_counts_from_the_servers_own_clock() -> None:
    assert waits("Fri, 02 Jan 1970 00:00:30 GMT", Date="Fri, 02 Jan 1970 00:00:00 GMT") == 30
    assert waits("Fri, 02 Jan 1970 00:00:30 GMT", Date="Fri, 02 Jan 1970 00:01:00 GMT") == 0
    assert waits("Fri, 02 Jan 1970 00:00:30 -0000", Date="Fri, 02 Jan 1970 00:00:00 GMT") == 30


def test_retry_after_as_a_date_counts_from_now_where_the_server_says_no_time() -> None:
    assert waits(format_datetime(datetime(1999, 1, 1, tzinfo=UTC), usegmt=True)) == 0
    assert waits(format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True)) == 3600


def test_header_names_are_read_in_any_case() -> None:
    error = failure({"code": 429}, headers={"RETRY-AFTER": "4"})

    assert isinstance(error, Unavailable)
    assert error.retry_after == 4


# ---------------------------------------------------------------- texts


def test_an_answer_is_cut_to_the_limit_and_a_message_to_one_short_line() -> None:
    error = failure({"code": 400, "mess": "dài\n" * 3000}, answer_limit=100)

    assert len(error.answer or "") == 100
    assert len(error.message) < 330
    assert "\n" not in error.message


def test_control_characters_and_broken_unicode_are_removed() -> None:
    error = failure(
        b'{"code": 400, "mess": "Sai\\u0000 m\\u00e3\\u001b[31m \\ud800 thu\xe1\xbb\x91c"}'
    )

    assert error.message == "code 400: Sai mã[31m thuốc"
    for text in (error.message, error.answer or ""):
        assert text.encode().decode() == text
        assert "\x00" not in text


@pytest.mark.parametrize(
    "body",
    [
        {"code": 400, "mess": "Khách NGUYỄN THỊ  Mai không hợp lệ, bán bởi Lê Quốc Bảo."},
        "Khách Nguyễn Thị Mai không hợp lệ",
        b'{"code": 400, "mess": "Nguy\\u1ec5n Th\\u1ecb Mai"}',
        b"<p>Nguy&#7877;n Th&#7883; Mai</p>",
        {"code": 400, "mess": "Nguye\u0302\u0303n Thi\u0323 Mai"},
        {"code": 400, "echo": {"ho_ten_khach_hang": "Nguyễn Thị Mai"}},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 404, 409, 500])
def test_names_of_persons_appear_in_no_text(body: Any, status: int) -> None:
    names = ("Nguyễn Thị Mai", "Lê Quốc Bảo")
    try:
        acceptance = submitted(body, status, names=names)
        texts = [acceptance.message, acceptance.answer or ""]
    except SyncError as error:
        texts = [str(error), error.message, error.answer or "", repr(error)]

    for text in texts:
        assert "mai" not in text.casefold()
        assert "bảo" not in text.casefold()
    assert "***" in texts[-1]


def test_a_name_that_the_limit_would_cut_is_hidden_first() -> None:
    error = failure(
        {"code": 400, "mess": "x" * 80 + " Nguyễn Thị Mai"},
        answer_limit=110,
        names=("Nguyễn Thị Mai",),
    )

    assert "Nguy" not in (error.answer or "")


def test_a_short_name_does_not_shred_the_text() -> None:
    error = failure({"code": 400, "mess": "Mã An toàn của An sai"}, names=("An", " ", ""))

    assert error.message == "code 400: Mã *** toàn của *** sai"
    assert failure({"code": 400, "mess": "Thanh toán"}, names=("An",)).message.endswith(
        "Thanh toán"
    )


# ---------------------------------------------------------------- character sets

REASON = "Mã thuốc không hợp lệ: Ế ẵ đ"


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("utf-8", "utf-8"),
        (None, "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16le", "utf-16-le"),
        ("UTF-16BE", "utf-16-be"),
        (None, "utf-16-le"),
        (None, "utf-16-be"),
        (None, "utf-32"),
        ("utf-8", "utf-16-le"),
        ("iso-8859-1", "utf-8"),
        ("base64", "utf-8"),
        ("punycode", "utf-8"),
        ("no-such-thing", "utf-8"),
    ],
)
def test_a_reason_is_read_in_whatever_character_set_it_comes(
    charset: str | None, encoding: str
) -> None:
    body = json.dumps({"code": 400, "mess": REASON}, ensure_ascii=False).encode(encoding)
    declared = "application/json" + (f'; charset="{charset}"' if charset else "")

    error = failure(body, headers={"content-type": declared})

    assert error.message == f"code 400: {REASON}"


def test_windows_1258_is_read_where_utf_8_fails() -> None:
    # Its accents are characters of their own: a base letter, then a tone.
    body = '{"code": 400, "mess": "Ma\u0303 thu\u00f4\u0301c sai"}'.encode("cp1258")

    error = failure(body, headers={"Content-Type": "application/json; charset=windows-1258"})

    assert error.message == "code 400: Mã thuốc sai"


def test_a_body_in_no_character_set_is_still_an_answer() -> None:
    assert type(failure(b'\xff\xfe{"code"', headers={"content-type": "x; charset=utf-8"}))


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x1b"])
def test_no_text_turns_the_writing_direction(mark: str) -> None:
    error = failure({"code": 400, "mess": f"Sai {mark}mã"})

    assert error.message == "code 400: Sai mã"
    assert mark not in (error.answer or "")


def test_a_name_within_json_within_json_is_hidden_too() -> None:
    body = {"code": 400, "data": json.dumps({"ten": "Nguyễn Thị Mai"})}

    error = failure(body, names=("Nguyễn Thị Mai",))

    assert "Nguy" not in (error.answer or "")
