"""`dqg` in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from typer.testing import CliRunner, Result

from deployments.cli.__main__ import app


def dqg(*words: str, status: int = 0) -> str:
    """What a command prints; fails the test where its exit status is another one."""
    return _run(words, status).output


def dqg_json(*words: str, status: int = 0) -> Any:
    """The same, as the values of its JSON."""
    # What Prefect says of itself is on standard error.
    return json.loads(_run((*words, "--json"), status).stdout)


def _run(words: Sequence[str], status: int) -> Result:
    result = CliRunner().invoke(app, list(words))
    told = (words, result.output, result.exception)
    assert result.exit_code == status, told
    assert result.exception is None or isinstance(result.exception, SystemExit), told
    return result
