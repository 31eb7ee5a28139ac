"""The tables of answers: each row decides on something, and the page shows what is done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lib.platforms.dqg import answer_tables
from lib.platforms.dqg.answer_tables import LOGIN_TABLE, LOOKUP_TABLE, POST_TABLE, Row, Seen
from lib.platforms.dqg.response import Answer, Reply
from lib.settings import ApiSettings
from tests.maintenance import answer_docs
from tests.unit.answer_kit import LOCAL, NATIONAL, ROUTES, as_bytes

ROOT = Path(__file__).resolve().parents[2]
API = ApiSettings()
WORDS = ("", "Sai mã", "đã tồn tại", "Thuốc đã tồn tại", "Dòng 1 trùng", "Conflict")
STATUSES = (0, 200, 201, 302, 400, 401, 403, 404, 405, 408, 409, 418, 422, 429, 451, 500, 501, 503)
BODIES: list[Any] = [
    *ROUTES,
    "vài lời",
    NATIONAL,
    {"token": "abc"},
    {"code": {}},
    {"code": 200, "success": False},
    *(
        {"code": code, "mess": words, **more}
        for code in (None, 0, 17, 200, 404, 409, 500)
        for words in WORDS
        for more in ({}, {"ma_hoa_don_quoc_gia": NATIONAL}, {"ma_hoa_don": LOCAL})
    ),
]


def seen_answers() -> list[Seen]:
    return [
        Seen(
            Answer(Reply(status, {}, as_bytes(body))),
            "hoa_don",
            LOCAL,
            API,
            has_look_up=has_look_up,
            unconfirmed=unconfirmed,
        )
        for status in STATUSES
        for body in BODIES
        for has_look_up in (True, False)
        for unconfirmed in (True, False)
    ]


@pytest.mark.parametrize("table", [POST_TABLE, LOOKUP_TABLE, LOGIN_TABLE])
def test_each_row_decides_on_some_answer_and_each_answer_has_one(table: tuple[Row, ...]) -> None:
    decided = Counter(answer_tables.first_row(table, seen).answer for seen in seen_answers())

    assert [row.answer for row in table if not decided[row.answer]] == []


def test_the_page_shows_the_tables() -> None:
    written = (ROOT / answer_docs.FILE).read_text(encoding="utf-8")

    assert written == answer_docs.page(), "`make docs` writes it"
