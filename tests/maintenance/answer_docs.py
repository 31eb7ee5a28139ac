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
applies decides; the program reads the same rows. An answer that contradicts itself or states
nothing is never the final outcome of a document: the document is looked up.

- **Status** is the HTTP status. If it is 2xx and the code in the body is 401, 403, 408, 409, 425,
  429 or 5xx, it is that code.
- **The API's own text** is the text in `mess`, `message` or `detail` of a JSON object, if it
  contains more than the name of the status and is not about a path, route or method. Any other text
  comes from a server, framework, firewall or gateway in front of the API.
- **Look-ups are available** if `DQG_API__LOOKUP` is on and no answer showed that the API does not
  support them. After the API has answered one look-up, they always count as available.
- JSON within a JSON text is unpacked. Bodies are UTF-8, or what they declare, or UTF-16 and UTF-32
  by their zero bytes.

## No answer

| what happened | class | may be stored |
| --- | --- | --- |
| no connection, no TLS, the proxy refuses, no free connection in time | unavailable | no |
| POST sent, no complete answer received: reset, timeout, broken HTTP or redirect | unknown | yes |
| look-up or login sent, no complete answer received | unavailable | as before |
"""

#: What a class leads to, for a document.
FOLLOWS = {
    Meaning.ACCEPTED: "`SYNC_SUCCESS`",
    Meaning.DUPLICATE: "a look-up fetches the national code; if it does not find the document, the "
    "document is refused. Without look-ups it counts as accepted if this content was sent before, "
    "otherwise `conflict`",
    Meaning.POSSIBLE_DUPLICATE: "a look-up decides: found: as above; absent: refused; "
    "no answer: unknown",
    Meaning.REJECTED: "`SYNC_FAILED`",
    Meaning.UNAVAILABLE: "sent again later; after 425 and 429 with a short `Retry-After` in the "
    "same run",
    Meaning.UNKNOWN: "looked up before it is sent again",
    Meaning.UNAUTHORIZED: "a new login and one repetition after a pause; then it costs an attempt, "
    "and the account pauses if it happens to other documents too",
    Meaning.FORBIDDEN: "concerns the account, or only this document if others of the account are "
    "accepted",
    Meaning.FIREWALL: "the same, reported as blocked by a firewall, proxy or gateway",
    Meaning.WRONG_ADDRESS: "costs an attempt; the pipeline pauses, at no cost, if it happens to "
    "other documents too",
    Meaning.FOUND: "accepted if the content agrees or was sent before, otherwise `conflict`",
    Meaning.ABSENT: "sent",
    Meaning.UNSUPPORTED: "sent again; if an earlier look-up was answered: looked up later",
    Meaning.LOGGED_IN: "the token is used",
}
_FOLLOWS_LOOKUP = {Meaning.UNAVAILABLE: "looked up later; counts as an outage"}
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
            "The error of a login contains the status and the API's own text, never the body: "
            "it may contain a token.",
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
