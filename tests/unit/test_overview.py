"""An overview that cannot be made is a warning, whatever the reason."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lib.errors import StoreUnavailable
from lib.services import Services
from tasks.artifacts import best_effort


@pytest.mark.anyio
@pytest.mark.parametrize("error", [StoreUnavailable("MongoDB", "x"), RuntimeError("secret")])
async def test_trouble_is_told_and_stops_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    unused: Any = None

    async def show_it(_: Services) -> None:
        raise error

    with caplog.at_level(logging.WARNING, "dqg.artifacts"):
        await best_effort(show_it, unused)
    (record,) = caplog.records
    assert "show_it not updated" in record.getMessage()
    assert "secret" not in record.getMessage()
