"""The benchmark's own arithmetic: options, ratios, tables, percentiles, profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.local.errors import LauncherError
from deployments.local.supervisor.stack import ROOT
from tests.benchmarks.goals import goals_of_costs, goals_of_waits, goals_of_ways, goals_table
from tests.benchmarks.options import LATENCIES, WAYS, read_options
from tests.benchmarks.profiling import variants_table
from tests.benchmarks.report import Figure, table, ways_table
from tests.benchmarks.runs import Result, percentile
from tests.benchmarks.samples import IMPORTS, OTHER, part_of, read_profile


def make_result(way: str, *, documents: int = 100, seconds: float = 10, **values: Any) -> Result:
    fields: dict[str, Any] = {
        "label": way,
        "latency_ms": 50,
        "first_seconds": 1.0,
        "steady_rate": 1.0,
        "settle_seconds": 0.0,
        "cpu": {
            "client": 0.01,
            "prefect server": 0.02,
            "prefect database": 0.001,
            **dict.fromkeys(("source database", "mongo", "redis", "sandbox"), 0.001),
        },
        "idle_cpu": {},
        "server_share": 0.95,
        "peak_mb": {"client": 200.0},
        "prefect_calls": 7.0,
        "events": 3.0,
        "statements": 1.0,
        "posts": 1.0,
        "prefect_kb": 1.0,
    }
    return Result(way=way, documents=documents, seconds=seconds, **(fields | values))


def test_without_variables_everything_is_measured() -> None:
    options = read_options({"DOCS": "", "WAYS": ""})
    assert (options.documents, options.latencies, options.ways) == (5000, LATENCIES, WAYS)
    assert options.state_dir == ROOT / ".state-bench"


def test_slow_ways_get_fewer_documents() -> None:
    options = read_options({"DOCS": "5000"})
    assert options.documents_for("stock", 0) == 8
    assert options.documents_for("prefork", 250) < options.documents_for("prefork", 0)
    assert options.documents_for("auto", 50) == 5000
    assert read_options({"DOCS": "5"}).documents_for("stock", 0) == 5


@pytest.mark.parametrize(
    "variables", [{"WAYS": "rocket"}, {"SMALL": "yes"}, {"DOCS": "many"}, {"LATENCY": "-1"}]
)
def test_a_variable_without_meaning_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(LauncherError):
        read_options(variables)


def test_goals_are_ratios_of_rates_at_one_latency() -> None:
    found = goals_of_ways(
        [
            make_result("auto", seconds=1),
            make_result("cold", seconds=2),
            make_result("bare", seconds=0.5),
            make_result("flow-cold", steady_rate=0.5),
            make_result("prefork", seconds=4, latency_ms=0),
            make_result("flow", seconds=2, server_share=0.5),
            make_result("stock", documents=8, seconds=10),
        ]
    )
    ratios = {goal.text: (goal.measured, goal.reached) for goal in found}
    assert ratios["at 50 ms: auto : bare"] == (0.5, False)
    assert [goal.before for goal in found if goal.text == "at 50 ms: auto : bare"] == [0.25]
    assert ratios["at 50 ms: flow, warm : cold, documents/s after start"] == (2.0, True)
    assert ratios["at 50 ms: flow : a deployment run a document"] == (62.5, True)
    assert ratios["at 50 ms: flow, of what the Prefect server's cost a subflow allows"] == (
        0.5,
        False,
    )
    assert not any("prefork" in text for text in ratios)


def test_goals_of_waits_and_costs_stand_beside_cold_starts() -> None:
    waits = [
        {"key": key, "rate": 1.0, "median": median, "p95": 9.0}
        for key, median in (("auto", 5.5), ("cold", 38.0))
    ]
    idle = {"auto": {"server": 0.03, "gb_per_day": 0.1}, "cold": {"server": 0.2, "gb_per_day": 0.3}}
    commands = {"--help": 0.1, "status": 1.0, "send": 2.0}
    found = goals_of_waits(waits)
    found += goals_of_costs({"auto": 0.5, "cold": 4.0}, idle, commands, {10: 2.0, 100: 2.0})
    assert [(goal.measured, goal.before, goal.reached) for goal in found] == [
        (5.5, 38.0, False),
        (9.0, 9.0, True),
        (0.125, None, True),
        (3.0, 20.0, True),
        (0.1, 0.3, False),
        (0.1, None, True),
        (1.0, None, False),
        (2.0, None, True),
        (1.0, None, True),
    ]
    assert len(goals_table(found).splitlines()) == 2 + len(found)


def test_costs_that_were_not_measured_have_no_goal() -> None:
    assert goals_of_costs({"auto": 0.5}, {}, {}, {}) == []


def test_the_table_of_ways_has_a_row_a_result_by_latency() -> None:
    lines = ways_table([make_result("late", latency_ms=250), make_result("early", latency_ms=0)])
    rows = lines.splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["early", "late"]


def test_cpu_is_added_up_by_what_it_is_for() -> None:
    result = make_result("x")
    assert result.cpu_prefect == pytest.approx(0.021)
    assert result.cpu_rest == pytest.approx(0.004)
    assert result.cpu_total == pytest.approx(0.035)


def test_tables_are_aligned_markdown() -> None:
    text = table(["what", "ms"], [["a", Figure(1.234)], ["bcd", Figure(123.4)]])
    assert text.splitlines() == [
        "| what |   ms |",
        "| ---- | ---: |",
        "| a    | 1.23 |",
        "| bcd  |  123 |",
    ]


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([4.0], 0.95) == 4.0
    assert percentile([float(n) for n in range(101)], 0.5) == pytest.approx(50)
    assert percentile([float(n) for n in range(101)], 0.95) == pytest.approx(95)


def test_a_stack_belongs_to_the_innermost_part_that_tells() -> None:
    site = "/somewhere/site-packages/"
    engine = (f"{site}prefect/task_engine.py", "run")
    client = (str(ROOT / "lib/platforms/dqg/client.py"), "create")
    http = (f"{site}httpx/_client.py", "send")
    assert part_of([http, client, engine]).startswith("API")
    assert part_of([("/usr/lib/python3/asyncio/events.py", "_run"), engine]).startswith("Prefect")
    assert part_of([("<frozen importlib._bootstrap>", "_load"), client]) == IMPORTS
    assert part_of([("/usr/lib/python3/asyncio/events.py", "_run")]) == OTHER


def test_a_profile_adds_up_the_processes_that_ran_a_file(tmp_path: Path) -> None:
    ours, theirs = str(ROOT / "lib/platforms/dqg/client.py"), "/usr/lib/python3/json/decoder.py"
    for number, file in enumerate((ours, theirs)):
        stacks = [[0.5, [[file, "work"]]], [0.25, [[file, "other"]]]]
        (tmp_path / f"{number}.json").write_text(json.dumps({"command": [], "stacks": stacks}))
    profile = read_profile(tmp_path, "lib/platforms/dqg/")
    assert profile.total == 0.75
    assert profile.functions == {"this project: work": 0.5, "this project: other": 0.25}
    assert profile.libraries == {"this project": 0.75}


def test_a_setting_is_shown_with_what_it_costs_and_what_is_lost_by_it() -> None:
    row = {"flow": make_result("flow", steady_rate=6.5), "task": make_result("task")}
    head, _, shown = variants_table([("no logs", "the logs", row)]).splitlines()
    values = [cell.strip() for cell in shown.strip("|").split("|")]
    assert len(values) == len(head.strip("|").split("|"))
    assert (values[0], values[-1]) == ("no logs", "the logs")
    assert values[1:6] == ["20.0", "1.00", "10.0", "1.00", "6.50"]
