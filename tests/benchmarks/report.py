"""Tables of the measured values, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.meters import CLIENT
from tests.benchmarks.runs import Result

MS = 1000.0
#: Key in the shares of an idle stack: growth of its Prefect database, GB per day.
GROWTH = "gb_per_day"


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
    """A number whose decimal places depend on its size."""

    value: float

    def __str__(self) -> str:
        size = abs(self.value)
        places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        return f"{self.value:.{places}f}"


def ways_table(results: Sequence[Result]) -> str:
    """One row per way and latency. CPU is in milliseconds per document, memory in MB."""
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


def cores_of(idle: Mapping[str, float]) -> float:
    """Share of one core that all groups of an idle stack use together."""
    return sum(share for group, share in idle.items() if group != GROWTH)


def idle_table(idle: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> str:
    """One row per way: percent of one core by group of parts, and the database's growth."""
    groups = sorted({group for shares in idle.values() for group in shares} - {GROWTH})
    return table(
        ["way", *groups, "together", "Prefect DB, GB per day"],
        [
            [
                labels[key],
                *(Figure(100 * shares[group]) for group in groups),
                *(Figure(100 * cores_of(shares)), Figure(shares[GROWTH])),
            ]
            for key, shares in idle.items()
        ],
    )


def steady_table(rows: Sequence[Mapping[str, object]]) -> str:
    """One row per way and rate: how long a document waited."""
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
