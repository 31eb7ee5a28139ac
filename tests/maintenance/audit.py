"""`make audit`: do packages of requirements.txt have known vulnerabilities?

Ends with another status than 0 where one is found or the check itself fails. Where the advisory
service cannot be reached nothing was checked: that is said, and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--vulnerability-service=osv", "--format=json"),
    *("--progress-spinner=off", "--disable-pip", "--require-hashes", "--timeout=15"),
    "--requirement=requirements.txt",
)
#: Last words of pip-audit where it got no answer.
_NO_ANSWER = re.compile(
    r"^([\w.]+\.)?\w*(ConnectionError|Timeout|ProxyError|SSLError|ServiceError)\b"
    r"|network may be blocking"
)


def classify(status: int, output: str, errors: str) -> tuple[int, list[str]]:
    """The exit status and what to say about an ended pip-audit. Pure.

    Args:
        status: its own; it has no status of its own for a vulnerability.
        output: JSON where it could do its work.
        errors: what it said otherwise.
    """
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        if _NO_ANSWER.search(last):
            return 0, ["SKIPPED, nothing was checked: the advisory service cannot be reached"]
        return status or 1, [f"pip-audit failed: {last}"]
    found = [(package, flaw) for package in packages for flaw in package.get("vulns", [])]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = [_line(package, flaw) for package, flaw in found]
    if unknown:
        lines.append(f"NOT CHECKED, unknown to the service: {', '.join(unknown)}")
    checked = len(packages) - len(unknown)
    lines.append(f"{checked} packages checked, {len(found)} known vulnerabilities")
    return int(bool(found)), lines


def _line(package: dict[str, str], flaw: dict[str, Sequence[str]]) -> str:
    repaired = ", ".join(flaw.get("fix_versions", ())) or "no version yet"
    return f"{package['name']} {package['version']}: {flaw['id']}, repaired in {repaired}"


def main() -> None:
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    status, lines = classify(done.returncode, done.stdout, done.stderr)
    for line in lines:
        print(f"audit: {line}")
    sys.exit(status)


if __name__ == "__main__":
    main()
