"""The findings of `dqg doctor`, by check."""

from __future__ import annotations

from typing import Any

from tests.support.cli import dqg_json


def verdicts(found: Any) -> dict[str, set[str]]:
    """Verdicts of each check."""
    result: dict[str, set[str]] = {}
    for finding in found["findings"]:
        result.setdefault(finding["check"], set()).add(finding["verdict"])
    return result


def faults(found: Any, check: str) -> list[str]:
    """The faults that a check found, each with its recommended action."""
    return [
        f"{finding['what']} -> {finding['todo']}"
        for finding in found["findings"]
        if finding["check"] == check and finding["verdict"] == "fault"
    ]


def examine(*, status: int = 1) -> Any:
    """`dqg doctor` in this process; the test fails if its exit status is not `status`."""
    found = dqg_json("doctor", status=status)
    assert found["ok"] == (status == 0)
    return found
