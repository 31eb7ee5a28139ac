"""Texts that are put together before the language of their reader is known."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from lib.errors import AccountRefused, Forbidden, Unavailable
from lib.words.language import Language, Phrase, pack, translated, unpack

NESTED = Phrase(
    "{text} (the API does not have the document)",
    text=Phrase("{status} without a text", status="HTTP 409"),
)


def test_a_phrase_is_its_english_text_and_can_be_said_in_vietnamese() -> None:
    assert NESTED == "HTTP 409 without a text (the API does not have the document)"
    assert translated(NESTED, Language.ENGLISH) == NESTED
    assert translated(NESTED, Language.VIETNAMESE) == (
        "HTTP 409 không có nội dung (cơ sở dữ liệu quốc gia không có chứng từ này)"
    )


def test_the_words_of_others_stay_as_they_are() -> None:
    assert translated("Trùng mã {hóa đơn}", Language.VIETNAMESE) == "Trùng mã {hóa đơn}"
    error = Unavailable(Phrase("unclear answer: {text}", text="Lỗi {0} %s"))
    assert error.translated(Language.VIETNAMESE).endswith("Lỗi {0} %s")


def test_an_error_that_became_another_one_is_still_translated() -> None:
    refused = Forbidden(Phrase("login: {what}", what="HTTP 403")).as_rejection()
    assert refused.message.startswith("refused, although other documents")
    assert refused.translated(Language.VIETNAMESE).endswith("đăng nhập: HTTP 403")


@pytest.mark.parametrize("text", [NESTED, Phrase("login refused"), "plain {text}"])
def test_a_phrase_survives_copies_and_stores(text: str) -> None:
    vietnamese = translated(text, Language.VIETNAMESE)
    for again in (
        pickle.loads(pickle.dumps(text)),  # noqa: S301 - our own
        copy.deepcopy(text),
        unpack(json.loads(json.dumps(pack(text)))),
    ):
        assert (again, translated(again, Language.VIETNAMESE)) == (text, vietnamese)
    error = pickle.loads(pickle.dumps(AccountRefused(text)))  # noqa: S301 - our own
    assert error.translated(Language.VIETNAMESE) == vietnamese


@pytest.mark.parametrize("packed", [None, 7, [], ["{a}"], ["{a}", {}], ["{a}", 5], ["{0}", {}]])
def test_garbage_is_no_phrase(packed: object) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError)):
        unpack(packed)
