"""`make audit`: a vulnerability fails it, an unreachable service is told and does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.maintenance.audit import classify

NO_ANSWERS = (
    "Traceback ...\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443)\n",
    "Traceback ...\npip_audit._service.interface.ServiceError\n",
    "ERROR:pip_audit._cli:no answer\nERROR: Tip: your network may be blocking this service.",
)


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


SOUND = {"name": "sound", "version": "1.0", "vulns": []}
FLAWED = {
    "name": "flawed",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": "..."}],
}
UNKNOWN = {"name": "private", "skip_reason": "not found"}


def test_no_vulnerability_is_a_success() -> None:
    assert classify(0, report(SOUND, SOUND), "") == (
        0,
        ["2 packages checked, 0 known vulnerabilities"],
    )


def test_a_vulnerability_fails_and_is_named_with_its_repair() -> None:
    status, lines = classify(1, report(SOUND, FLAWED), "Found 1 known vulnerability")
    assert status == 1
    assert lines[0] == "flawed 2.0: PYSEC-1, repaired in 2.1"


def test_what_the_service_does_not_know_is_not_passed_off_as_checked() -> None:
    status, lines = classify(0, report(SOUND, UNKNOWN), "")
    assert status == 0
    assert lines == [
        "NOT CHECKED, unknown to the service: private",
        "1 packages checked, 0 known vulnerabilities",
    ]


@pytest.mark.parametrize("said", NO_ANSWERS)
def test_an_unreachable_service_is_told_and_no_failure(said: str) -> None:
    status, (line,) = classify(1, "", said)
    assert status == 0
    assert "SKIPPED" in line


def test_any_other_end_without_a_report_is_a_failure() -> None:
    status, (line,) = classify(1, "", "ERROR:pip_audit._cli:requirements.txt: no such file")
    assert status == 1
    assert "no such file" in line
    assert classify(0, "", "")[0] == 1
