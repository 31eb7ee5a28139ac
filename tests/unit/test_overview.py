"""An overview that cannot be made is a warning, whatever the reason."""

from __future__ import annotations

import logging

import pytest

from lib.errors import StoreUnavailable
from tasks.overview import as_far_as_possible


@pytest.mark.anyio
@pytest.mark.parametrize("error", [StoreUnavailable("MongoDB", "x"), RuntimeError("secret")])
async def test_trouble_is_told_and_stops_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def show_it() -> None:
        raise error

    with caplog.at_level(logging.WARNING, "dqg.overview"):
        await as_far_as_possible(show_it)
    (record,) = caplog.records
    assert "show_it left as it was" in record.getMessage()
    assert "secret" not in record.getMessage()
