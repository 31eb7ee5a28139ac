"""Tables for people, JSON for programs, and the goals as ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.meters import CLIENT
from tests.benchmarks.runs import Result

MS = 1000.0


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as Markdown, its columns aligned; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | Figure) for row in rows)
        for i in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        shown = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(shown) + " |"

    rule = ["-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with as many places as it deserves."""

    value: float

    def __str__(self) -> str:
        size = abs(self.value)
        places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        return f"{self.value:.{places}f}"


def ways_table(results: Sequence[Result]) -> str:
    """One row a way and latency. CPU is in milliseconds a document, memory in MB."""
    head = [
        *("API ms", "way", "documents", "docs/s", "after start", "start s"),
        *("CPU client", "Prefect", "rest", "peak MB", "API calls", "events", "DB KB", "SQL"),
    ]
    return table(
        head,
        [
            [
                *(Figure(r.latency_ms), r.label, r.documents),
                *(Figure(r.rate), Figure(r.steady_rate), Figure(r.first_seconds)),
                *(Figure(cpu * MS) for cpu in (r.cpu_client, r.cpu_prefect, r.cpu_rest)),
                Figure(r.peak_mb.get(CLIENT, 0.0)),
                *(Figure(r.prefect_calls), Figure(r.events), Figure(r.prefect_kb)),
                Figure(r.statements),
            ]
            for r in sorted(results, key=lambda r: r.latency_ms)
        ],
    )


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio and what it should be.

    Attributes:
        at_least: False for an upper bound.
    """

    text: str
    ratio: float
    bound: float
    at_least: bool = True

    @property
    def reached(self) -> bool:
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound


def goals(results: Sequence[Result]) -> list[Goal]:
    """The goals that these results can tell about, at each latency."""
    found = []
    by_latency: dict[float, dict[str, Result]] = {}
    for result in results:
        by_latency.setdefault(result.latency_ms, {})[result.way] = result
    for latency, ways in sorted(by_latency.items()):
        at = f"at {latency:.0f} ms: "
        pairs = [("auto", "prefork", 3.0), ("auto", "threads", 2.5), ("auto", "bare", 0.75)]
        if "flow" in ways and "stock" in ways:
            text = at + "flow : a deployment run a document"
            found.append(Goal(text, ways["flow"].rate / ways["stock"].rate, 25.0))
        if "flow" in ways:
            # One process serves the API: it allows one second of its CPU a second.
            text = at + "flow, of what the Prefect server's cost a subflow allows"
            found.append(Goal(text, ways["flow"].server_share, 0.9))
        for mine, other, bound in pairs:
            if mine in ways and other in ways:
                text = f"{at}{mine} : {ways[other].label}"
                found.append(Goal(text, ways[mine].rate / ways[other].rate, bound))
    return found


def cost_goals(
    steady: Sequence[Mapping[str, Any]],
    a_run: Mapping[str, float],
    idle: Mapping[str, Mapping[str, float]],
) -> list[Goal]:
    """What warm starts and looks every two seconds gain over cold starts once a minute."""
    found = []
    rows = {(row["key"], row["rate"]): row for row in steady}
    for (key, rate), row in rows.items():
        if key == "auto" and ("cold", rate) in rows:
            was = rows["cold", rate]
            at = f"{rate:g} documents/s, warm : cold, "
            found += [
                Goal(at + "median", row["median"] / was["median"], 0.13, at_least=False),
                Goal(at + "p95", row["p95"] / was["p95"], 0.15, at_least=False),
            ]
    if a_run:
        ratio = a_run["auto"] / a_run["cold"]
        found.append(Goal("CPU of a run, warm : cold", ratio, 0.2, at_least=False))
    if idle:
        share, growth = (_ratio(idle, sum_of) for sum_of in (_cores, _growth))
        found += [
            Goal("idle stack, cores, warm : cold", share, 0.27, at_least=False),
            Goal("idle stack, Prefect database, warm : cold", growth, 0.15, at_least=False),
        ]
    return found


def _ratio(
    idle: Mapping[str, Mapping[str, float]], value: Callable[[Mapping[str, float]], float]
) -> float:
    return value(idle["auto"]) / value(idle["cold"])


def _cores(idle: Mapping[str, float]) -> float:
    return sum(share for group, share in idle.items() if group != "gb_a_day")


def _growth(idle: Mapping[str, float]) -> float:
    return idle["gb_a_day"]


def idle_table(idle: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> str:
    """One row per way: percent of one core by group of parts, and the database's growth."""
    groups = sorted({group for shares in idle.values() for group in shares} - {"gb_a_day"})
    return table(
        ["way", *groups, "together", "Prefect DB, GB per day"],
        [
            [
                labels[key],
                *(Figure(100 * shares[group]) for group in groups),
                *(Figure(100 * _cores(shares)), Figure(shares["gb_a_day"])),
            ]
            for key, shares in idle.items()
        ],
    )


def goals_table(found: Sequence[Goal]) -> str:
    """One row a goal."""
    return table(
        ["goal", "measured", "wanted", "reached"],
        [
            [
                goal.text,
                Figure(goal.ratio),
                f"{'>=' if goal.at_least else '<='} {goal.bound:g}",
                "yes" if goal.reached else "no",
            ]
            for goal in found
        ],
    )


def steady_table(rows: Sequence[Mapping[str, object]]) -> str:
    """One row a way and rate: how long a document waited."""
    return table(
        ["way", "documents/s", "documents", "median s", "p95 s", "max s"],
        [
            [
                *(row["way"], row["rate"], row["documents"]),
                *(Figure(float(str(row[name]))) for name in ("median", "p95", "max")),
            ]
            for row in rows
        ],
    )
