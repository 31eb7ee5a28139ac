"""Unforeseen errors: where they happened is told, what they quote is not."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from lib.errors import Rejected, UnexpectedError
from lib.sanitize import mask_personal_names, sanitize_exceptions

NAME = "Nguyễn Thị Mai"


def test_kind_and_place_are_told_without_the_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Our own code, given what its types forbid, so that it fails deep inside.
    with pytest.raises(UnexpectedError) as caught, sanitize_exceptions():
        mask_personal_names(NAME)  # type: ignore[arg-type]
    shown = "".join(traceback.format_exception(caught.value))
    assert "AttributeError in lib.sanitize.mask_personal_names, line " in shown
    assert "body.items()" in caplog.text
    with pytest.raises(UnexpectedError) as caught, sanitize_exceptions():
        raise ValueError(NAME)
    shown = "".join(traceback.format_exception(caught.value))
    assert "ValueError in " in shown
    assert NAME not in shown
    assert NAME not in caplog.text


@pytest.mark.parametrize("error", [Rejected("no such lot"), asyncio.CancelledError()])
def test_our_own_errors_and_cancellation_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, sanitize_exceptions():
        raise error
    assert caught.value is error
