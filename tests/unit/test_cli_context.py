"""What every command of `dqg` does around its own work."""

from __future__ import annotations

import logging

import pytest
import typer

from deployments.cli.context import ATTENTION, run
from lib.errors import StoreUnavailable

LOGGER = logging.getLogger("dqg")


def test_warnings_of_the_stores_are_hidden_while_a_command_works_and_not_after() -> None:
    seen: list[bool] = []

    async def work() -> int:
        seen.append(LOGGER.isEnabledFor(logging.WARNING))
        return 0

    with pytest.raises(typer.Exit) as end:
        run(work(), as_json=False)
    assert end.value.exit_code == 0
    assert seen == [False]
    assert LOGGER.isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_of_ours_is_told_in_words(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> int:
        raise StoreUnavailable("MongoDB", "no answer")

    with pytest.raises(typer.Exit) as end:
        run(work(), as_json=as_json)
    assert end.value.exit_code == ATTENTION
    told = capsys.readouterr()
    assert "MongoDB" in (told.out if as_json else told.err)
