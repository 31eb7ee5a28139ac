"""What is fuzzed; `tests.properties.fuzz` runs it.

    python -m tests.properties.fuzz_targets answers -max_total_time=60

`answers` takes bytes as they may come over the network; `documents` lets the fuzzer choose the
examples of a property. Any argument after the target is one of libFuzzer's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["lib.platforms.dqg", "lib.errors", "lib.sanitize"]):
    from lib.platforms.dqg.interpret import parse_login, parse_lookup, parse_submit
    from tests.unit import test_answer_properties as answer_properties
    from tests.unit import test_payload_properties as payload_properties

from lib.errors import SyncError
from lib.models import Acceptance
from lib.platforms.dqg.interpret import Token
from lib.platforms.dqg.response import Reply
from lib.platforms.platform import Lookup

API, LOCAL = answer_properties.API, answer_properties.LOCAL
STATUSES = (200, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 410, 422, 425, 429, 500, 503, 99)


def fuzz_answer(data: bytes) -> None:
    """One answer, read as that of a POST, of a look-up and of a login.

    Raises:
        AssertionError: it counts as more than it says.
        Exception: a parser failed on it.
    """
    if len(data) < 2:
        return
    status = STATUSES[data[0] % len(STATUSES)]
    headers = {"Retry-After": data[1:20].decode("latin-1")} if data[1] % 4 == 0 else {}
    body = data[2:]
    reply = Reply(status, headers, body)
    with contextlib.suppress(SyncError):
        accepted = parse_submit(reply, "hoa_don", LOCAL, API, names=("Mai", ""))
        assert isinstance(accepted, Acceptance)
        assert answer_properties.states_acceptance(status, body), "accepted, but it does not say so"
        assert accepted.duplicate or 200 <= status < 300
        assert accepted.duplicate or not answer_properties.contradicts(body), "contradicts itself"
        assert accepted.national_id != LOCAL
    with contextlib.suppress(SyncError):
        found = parse_lookup(reply, "hoa_don", LOCAL, API)
        assert isinstance(found, Acceptance | Lookup)
        if isinstance(found, Acceptance):
            assert 200 <= status < 300
            assert found.duplicate
            assert answer_properties.states_acceptance(status, body), "found, but not said so"
    with contextlib.suppress(SyncError):
        token = parse_login(reply, secrets=("Demo-1",))
        assert isinstance(token, Token)
        assert 200 <= status < 300
        assert token.value.strip()


def fuzz_document(data: bytes) -> None:
    """One document of any values, judged by the property that the unit tests hold it to."""
    judge: Any = payload_properties.test_a_document_becomes_a_proper_body_or_field_errors
    judge.hypothesis.fuzz_one_input(data)


TARGETS: dict[str, Callable[[bytes], None]] = {"answers": fuzz_answer, "documents": fuzz_document}


def main() -> None:
    target, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()  # ends this process


if __name__ == "__main__":
    main()
