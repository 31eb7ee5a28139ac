"""The fuzzer runs for a moment with every change, and notices what it is there to notice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lib.models import Acceptance
from tests.properties.fuzz import NAMES, executions, fuzz

atheris = pytest.importorskip("atheris", reason="there is no fuzzer for this platform")


@pytest.mark.parametrize("target", NAMES)
def test_a_moment_of_fuzzing_finds_nothing(target: str) -> None:
    done = fuzz(target, seconds=120, inputs_tried=150)
    assert done.returncode == 0, done.stdout
    assert executions(done) >= 150


def accept_everything(*arguments: object, **names: object) -> Acceptance:
    return Acceptance("QG-1", "ok")


def fail_on_everything(*arguments: object, **names: object) -> Acceptance:
    raise KeyError("code")


@pytest.mark.parametrize(
    ("defect", "noticed"), [(accept_everything, AssertionError), (fail_on_everything, KeyError)]
)
@pytest.mark.parametrize("parser", ["parse_submit", "parse_lookup", "parse_login"])
def test_a_defective_parser_is_noticed(
    parser: str,
    defect: Callable[..., Acceptance],
    noticed: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not at the top: where there is no fuzzer this cannot be imported.
    from tests.properties import fuzz_targets

    refusal = bytes([0, 1]) + json.dumps({"code": 400, "mess": "no such drug"}).encode()
    fuzz_targets.fuzz_answer(refusal)
    monkeypatch.setattr(fuzz_targets, parser, defect)
    with pytest.raises(noticed):
        fuzz_targets.fuzz_answer(refusal)
