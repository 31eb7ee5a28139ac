"""The lines the suite prints. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.assertions import Violations

#: Maximum number of items listed of each kind.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a scenario.

    Attributes:
        faults: how many were injected, by kind.
        seconds: from the last fault, or its removal, until the last document was final.
        problems: other expectations of the scenario that were not met.
    """

    name: str
    documents: int
    faults: dict[str, int]
    violations: Violations
    seconds: float
    problems: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return self.violations.clean and not self.problems


def result_lines(result: Result) -> list[str]:
    """The scenario's line, followed by what was wrong."""
    violations = result.violations
    kinds = ", ".join(f"{number} {kind}" for kind, number in result.faults.items())
    lines = [
        f"{result.name:<20} {result.documents:>6} documents  "
        f"{sum(result.faults.values()):>5} faults  lost {len(violations.lost)}  "
        f"twice {len(violations.twice)}  wrongly failed {len(violations.wrongly_failed)}  "
        f"held up {len(violations.held_up)}  untrue {len(violations.untrue)}  "
        f"settled in {result.seconds:.0f} s  ({kinds})"
    ]
    for kind, items in (
        ("lost", violations.lost),
        ("twice", violations.twice),
        ("wrongly failed", violations.wrongly_failed),
        ("held up", violations.held_up),
        ("untrue", violations.untrue),
        ("disagreement", violations.disagreements),
        ("not as expected", result.problems),
    ):
        lines += [f"  {kind}: {item}" for item in items[:SHOWN]]
        if len(items) > SHOWN:
            lines.append(f"  {kind}: and {len(items) - SHOWN} more")
    return lines


def final_line(results: Sequence[Result]) -> str:
    """The last line: sums over all scenarios."""
    violations = [result.violations for result in results]
    line = (
        f"faults: {len(results)} scenarios, "
        f"lost {sum(len(j.lost) for j in violations)}, "
        f"twice {sum(len(j.twice) for j in violations)}, "
        f"wrongly failed {sum(len(j.wrongly_failed) for j in violations)}, "
        f"held up {sum(len(j.held_up) for j in violations)}, "
        f"untrue {sum(len(j.untrue) for j in violations)}"
    )
    others = sum(len(r.violations.disagreements) + len(r.problems) for r in results)
    return f"{line}, other problems {others}" if others else line
