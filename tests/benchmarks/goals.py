"""Goals for the measured figures, next to the same figures with cold starts once per minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.report import GROWTH, Figure, cores_of, table
from tests.benchmarks.runs import Result

#: Seconds from insertion to SYNC_SUCCESS by documents/s: median, 95th percentile.
WAITS = {1.0: (5.0, 10.0), 5.0: (6.0, 12.0)}
#: Ratio of documents/s of `auto` to those of other ways: at `GOAL_LATENCY_MS`, at other latencies.
GOAL_LATENCY_MS = 50
AUTO = {"prefork": (3.0, 3.0), "threads": (2.5, 1.0), "bare": (0.75, 0.5)}
#: By command: what is measured, and its upper bound.
COMMANDS = {
    "send": ("dqg send, s", 3.0),
    "--help": ("CPU of dqg --help, s", 0.2),
    "status": ("CPU of dqg status, s", 0.9),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A measured figure and its bound.

    Attributes:
        at_least: False for an upper bound.
        before: the figure with cold starts once per minute, in the same run; None if there is none.
    """

    text: str
    measured: float
    bound: float
    at_least: bool = True
    before: float | None = None

    @property
    def reached(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"reached": self.reached}


def at_most(text: str, measured: float, bound: float, before: float | None = None) -> Goal:
    """A goal with an upper bound."""
    return Goal(text, measured, bound, at_least=False, before=before)


def goals_of_ways(results: Sequence[Result]) -> list[Goal]:
    """The goals for documents that wait, at each latency."""
    found = []
    by_latency: dict[float, dict[str, Result]] = {}
    for result in results:
        by_latency.setdefault(result.latency_ms, {})[result.way] = result
    for latency, ways in sorted(by_latency.items()):
        at = f"at {latency:.0f} ms: "
        if "flow" in ways and "stock" in ways:
            text = at + "flow : a deployment run a document"
            found.append(Goal(text, ways["flow"].rate / ways["stock"].rate, 25.0))
        if "flow" in ways:
            # One process serves the API, so it has at most one CPU second per second.
            text = at + "flow, of what the Prefect server's cost a subflow allows"
            found.append(Goal(text, ways["flow"].server_share, 0.9))
        if "flow" in ways and "flow-cold" in ways:
            text = at + "flow, warm : cold, documents/s after start"
            ratio = ways["flow"].steady_rate / max(ways["flow-cold"].steady_rate, 1e-9)
            found.append(Goal(text, ratio, 1.3))
        for other, bounds in AUTO.items():
            if "auto" in ways and other in ways:
                cold = ways["cold"].rate / ways[other].rate if "cold" in ways else None
                found.append(
                    Goal(
                        f"{at}auto : {ways[other].label}",
                        ways["auto"].rate / ways[other].rate,
                        bounds[latency != GOAL_LATENCY_MS],
                        before=cold,
                    )
                )
    return found


def goals_of_waits(steady: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """The goals for documents that appear one by one."""
    rows = {(row["key"], row["rate"]): row for row in steady}
    return [
        at_most(
            f"{rate:g} documents/s: row to SYNC_SUCCESS, {name}, s",
            rows["auto", rate][name],
            bound,
            rows["cold", rate][name] if ("cold", rate) in rows else None,
        )
        for rate, bounds in WAITS.items()
        if ("auto", rate) in rows
        for name, bound in zip(("median", "p95"), bounds, strict=True)
    ]


def goals_of_costs(
    a_run: Mapping[str, float],
    idle: Mapping[str, Mapping[str, float]],
    commands: Mapping[str, float],
    claims: Mapping[int, float],
) -> list[Goal]:
    """The goals for costs that do not depend on the number of documents.

    Args:
        a_run: CPU seconds of a batch run, by way.
        idle: shares of an idle stack and its growth, by way.
        commands: seconds of the commands of `COMMANDS`.
        claims: milliseconds of a claim by the number of pending documents.
    """
    found = []
    if {"auto", "cold"} <= a_run.keys():
        found.append(at_most("CPU of a run, warm : stock", a_run["auto"] / a_run["cold"], 0.2))
    if "auto" in idle:
        cold = idle.get("cold")
        shares = 100 * cores_of(idle["auto"]), cold and 100 * cores_of(cold)
        growth = idle["auto"][GROWTH], cold and cold[GROWTH]
        found += [
            at_most("idle stack, % of one core", shares[0], 6, shares[1]),
            at_most("idle stack, Prefect database, GB per day", growth[0], 0.05, growth[1]),
        ]
    found += [at_most(COMMANDS[name][0], commands[name], COMMANDS[name][1]) for name in commands]
    if claims:
        few, many = min(claims), max(claims)
        text = f"claim, {many:,} : {few:,} pending"
        found.append(at_most(text, claims[many] / claims[few], 1.5))
    return found


def goals_table(found: Sequence[Goal]) -> str:
    """One row per goal."""
    compared = any(goal.before is not None for goal in found)
    head = ["goal", *(["cold, once a minute"] if compared else []), "measured", "wanted", "reached"]
    return table(head, [_row(goal, compared) for goal in found])


def _row(goal: Goal, compared: bool) -> list[object]:
    before = "" if goal.before is None else Figure(goal.before)
    return [
        goal.text,
        *([before] if compared else []),
        Figure(goal.measured),
        f"{'>=' if goal.at_least else '<='} {goal.bound:g}",
        "yes" if goal.reached else "no",
    ]
