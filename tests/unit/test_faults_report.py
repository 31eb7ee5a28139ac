"""The fault suite's options and its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.local.errors import LauncherError
from tests.faults.assertions import Violations
from tests.faults.options import read_fault_options
from tests.faults.report import SHOWN, Result, final_line, result_lines

KNOWN = ("kills", "answers", "outage")


def result(**fields: object) -> Result:
    values = {
        "name": "kills",
        "documents": 60,
        "faults": {"kill of run": 2, "kill of worker": 1},
        "violations": Violations(),
        "seconds": 12.4,
    }
    return Result(**(values | fields))  # type: ignore[arg-type]


def test_by_default_every_scenario_runs_with_a_thousand_documents() -> None:
    options = read_fault_options({}, KNOWN)
    assert (options.documents, options.seed, options.scenarios) == (1000, 1, KNOWN)


def test_scenarios_run_in_the_order_of_the_suite(tmp_path: Path) -> None:
    options = read_fault_options(
        {"STATE": str(tmp_path), "DOCS": "60", "SEED": "7", "SCENARIO": "outage,kills"}, KNOWN
    )
    assert options.scenarios == ("kills", "outage")
    assert (options.documents, options.seed, options.state_dir) == (60, 7, tmp_path)


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"SCENARIO": "kills,fire"}, "fire"),
        ({"DOCS": "29"}, "DOCS=29"),
        ({"DOCS": "many"}, "DOCS=many"),
    ],
)
def test_what_has_no_meaning_is_named(environment: dict[str, str], names: str) -> None:
    with pytest.raises(LauncherError, match=names):
        read_fault_options(environment, KNOWN)


def test_settings_of_the_launcher_that_mean_nothing_here_are_left_alone() -> None:
    assert read_fault_options({"EXIT": "x", "DEADLINE": "y"}, KNOWN).seed == 1


def test_a_line_tells_everything() -> None:
    (line,) = result_lines(result())
    for part in ("kills", "60 documents", "3 faults", "lost 0", "twice 0", "wrongly failed 0"):
        assert part in line
    assert "settled in 12 s" in line
    assert "2 kill of run, 1 kill of worker" in line


def test_what_was_wrong_is_named_but_not_endlessly() -> None:
    lost = [f"sale HD-{number}: PENDING_SYNC" for number in range(SHOWN + 3)]
    lines = result_lines(result(violations=Violations(lost=lost), problems=("no look-up",)))
    assert f"lost {SHOWN + 3}" in lines[0]
    assert lines[1] == "  lost: sale HD-0: PENDING_SYNC"
    assert lines[SHOWN + 1] == "  lost: and 3 more"
    assert lines[-1] == "  not as expected: no look-up"


def test_the_last_line_sums_up() -> None:
    assert final_line([result(), result()]) == (
        "faults: 2 scenarios, lost 0, twice 0, wrongly failed 0, held up 0, untrue 0"
    )


def test_the_last_line_tells_of_anything_else() -> None:
    bad = result(violations=Violations(twice=["a"], disagreements=["b"]), problems=("c",))
    assert final_line([result(), bad]) == (
        "faults: 2 scenarios, lost 0, twice 1, wrongly failed 0, held up 0, untrue 0, "
        "other problems 2"
    )


@pytest.mark.parametrize(
    "bad",
    [
        result(problems=("x",)),
        result(violations=Violations(lost=["x"])),
        result(violations=Violations(twice=["x"])),
        result(violations=Violations(wrongly_failed=["x"])),
        result(violations=Violations(held_up=["x"])),
        result(violations=Violations(untrue=["x"])),
        result(violations=Violations(disagreements=["x"])),
    ],
)
def test_anything_wrong_makes_a_result_unclean(bad: Result) -> None:
    assert not bad.clean
    assert result().clean
