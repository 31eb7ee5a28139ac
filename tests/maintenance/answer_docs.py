"""Writes `docs/answers.md` from the tables by which answers of the API are read.

python -m tests.maintenance.answer_docs --write     after a change of the tables
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lib.platforms.dqg.answer_tables import LOGIN_TABLE, LOOKUP_TABLE, POST_TABLE, Meaning, Row

ROOT = Path(__file__).resolve().parents[2]
FILE = "docs/answers.md"

_TOP = """\
# Answers of the API

<!-- Written by `make docs` from lib/platforms/dqg/answer_tables.py; do not edit. -->

What each answer of the national API means. The rows are read from the top, and the first one that
applies decides; the program reads the same rows. Clear is clear, unclear is unclear: an answer
that contradicts itself or says nothing never ends a document, it is looked up.

- **Status** is the HTTP status, or the code of the body where that mirrors one under a 2xx: 401,
  403, 408, 409, 425, 429, 5xx.
- **The API's own words** are the text in `mess`, `message` or `detail` of a JSON object, where it
  says more than the name of the status and does not speak of a path, route or method. Everything
  else comes from a server, framework, firewall or gateway in front.
- **The API can be asked** where `DQG_API__LOOKUP` is on and no route of it said otherwise. An API
  that has answered a look-up can be asked, whatever it says later.
- JSON within a JSON text is unpacked. Bodies are UTF-8, or what they declare, or UTF-16 and UTF-32
  by their zero bytes.

## No answer

| what happened | class | may be stored |
| --- | --- | --- |
| no connection, no TLS, the proxy refuses, no free connection in time | unavailable | no |
| a POST left, no complete answer came: reset, timeout, broken HTTP or redirect | unknown | yes |
| a look-up or a login left, and no complete answer came | unavailable | as before |
"""

#: What a class leads to, for a document.
FOLLOWS = {
    Meaning.ACCEPTED: "`SYNC_SUCCESS`",
    Meaning.DUPLICATE: "a look-up fetches the national code. What the look-up denies is refused; "
    "without one it counts as accepted where this content was sent before, else `conflict`",
    Meaning.POSSIBLE_DUPLICATE: "a look-up decides: found as above, absent refused, "
    "no answer unknown",
    Meaning.REJECTED: "`SYNC_FAILED`",
    Meaning.UNAVAILABLE: "sent again later; 425 and 429 with a short `Retry-After` on the spot",
    Meaning.UNKNOWN: "looked up before it is sent again",
    Meaning.ACCOUNT: "a new login and one repetition; then the account pauses",
    Meaning.FORBIDDEN: "the account's, or this document's where others of the account pass",
    Meaning.FIREWALL: "the same, reported as blocked by a firewall, proxy or gateway",
    Meaning.WRONG_ADDRESS: "the pipeline pauses, costs no attempt",
    Meaning.FOUND: "accepted where the content agrees or was sent before, else `conflict`",
    Meaning.ABSENT: "sent",
    Meaning.UNSUPPORTED: "sent again; where a look-up was answered before: asked later",
    Meaning.LOGGED_IN: "the token is used",
}
_FOLLOWS_LOOKUP = {Meaning.UNAVAILABLE: "asked later; counts as an outage"}
_FOLLOWS_LOGIN = {
    Meaning.ACCOUNT: "the account pauses, costs no attempt",
    Meaning.UNAVAILABLE: "tried again later",
}


def page() -> str:
    """Text of `docs/answers.md`."""
    return "\n".join(
        [
            _TOP,
            "## To a POST of a document",
            "",
            *_table(POST_TABLE, FOLLOWS, with_stored=True),
            "",
            "## To a look-up (GET)",
            "",
            *_table(LOOKUP_TABLE, FOLLOWS | _FOLLOWS_LOOKUP),
            "",
            "## To a login",
            "",
            "An error of a login holds the status and the API's own words, never the body: "
            "that may hold a token.",
            "",
            *_table(LOGIN_TABLE, FOLLOWS | _FOLLOWS_LOGIN),
            "",
        ]
    )


def _table(
    rows: tuple[Row, ...], follows: dict[Meaning, str], *, with_stored: bool = False
) -> list[str]:
    names = ["", "answer", "class", *(["may be stored"] if with_stored else []), "what follows"]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for number, row in enumerate(rows, start=1):
        stored = ["yes" if row.maybe_stored else "no"]
        if row.meaning in (Meaning.ACCEPTED, Meaning.DUPLICATE):
            stored = ["is stored"]
        cells = [
            str(number),
            row.answer,
            row.meaning.value,
            *(stored if with_stored else []),
            follows[row.meaning],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    (ROOT / FILE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
