"""`make lint`: finds idioms that readers who learned English as a second language stumble over.

    python -m tests.maintenance.words

Checked are the documentation, the texts of the code (docstrings, comments, messages) and of the
configuration. The plain word to write instead is beside each idiom.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: A regular expression, and what to write instead.
IDIOMS = {
    r"(?:is|are|was|were|be|been) told": "is notified, receives",
    r"(?<!\")nobody|whoever": "a plain subject: no user, the process that",
    r"by (?:it|them)self|by themselves": "automatically, alone",
    r"of (?:its|their) own": "separate, own",
    r"anew": "again",
    r"alike": "similar, the same",
    r"may be repeated": "idempotent",
    r"all the same": "leave it out, or: nevertheless",
    r"for ever|forever": "without end, until it is ended",
    r"so many|so long": "a number",
    r"kin|kindred": "similar",
    r"ere|whence|thence|hither|whither|lest": "before, from where, so that not",
    r"a slip of the pen": "a typing error",
    r"no place of ours": "none of our stores",
    r"what (?:one|you) sees?": "symptom",
    r"as (?:\w+) likes it": "in the format of",
    r"parted by": "separated by",
    r"stands? (?:still|in|here|there|beside|before|between)": "is, stops",
}
_FOUND = re.compile(
    r"\b(?:" + "|".join(f"(?P<i{n}>{idiom})" for n, idiom in enumerate(IDIOMS)) + r")\b",
    re.IGNORECASE,
)
_FOLDERS = ("flows", "tasks", "lib", "deployments", "docs")
_TEXTS = {".md", ".py", ".sql", ".yaml", ".yml", ".lua"}


def checked_files(root: Path = ROOT) -> list[Path]:
    """Files whose texts are for people. Vietnamese texts are not checked."""
    inside = (path for folder in _FOLDERS for path in (root / folder).rglob("*"))
    files = [*root.glob("*.md"), root / "Makefile", root / "prefect.yaml", *inside]
    return sorted(p for p in files if p.suffix in _TEXTS or p.name == "Makefile")


def idioms_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the line, idiom, and what to write instead."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _FOUND.finditer(line):
            instead = list(IDIOMS.values())[int((match.lastgroup or "i0")[1:])]
            yield number, match.group(), instead


def main() -> int:
    """Returns the exit status."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {idiom!r}; write: {instead}"
        for path in checked_files()
        for number, idiom, instead in idioms_in(path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
