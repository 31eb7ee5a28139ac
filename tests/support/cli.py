"""`dqg` in this process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from deployments.cli.__main__ import app


def dqg(*words: str, status: int = 0) -> str:
    """What a command prints; fails the test where its exit status is another one."""
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == status, (words, result.output, result.exception)
    return result.output


def dqg_json(*words: str, status: int = 0) -> Any:
    """The same, as the values of its JSON."""
    return json.loads(dqg(*words, "--json", status=status))
