"""`dqg` in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from typer.testing import CliRunner, Result

from deployments.cli.__main__ import app


def dqg(*words: str, status: int = 0) -> str:
    """The output of a command; fails the test if the exit status is not `status`."""
    return _run(words, status).output


def dqg_json(*words: str, status: int = 0) -> Any:
    """The parsed JSON output of a command; fails the test like `dqg`."""
    # Prefect's own messages are on standard error.
    return json.loads(_run((*words, "--json"), status).stdout)


def _run(words: Sequence[str], status: int) -> Result:
    result = CliRunner().invoke(app, list(words))
    told = (words, result.output, result.exception)
    assert result.exit_code == status, told
    assert result.exception is None or isinstance(result.exception, SystemExit), told
    return result
