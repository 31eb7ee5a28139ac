"""Options of the benchmark, read from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.local.errors import LauncherError
from deployments.local.supervisor.stack import ROOT

WAYS = (
    *("stock", "prefork", "threads", "bare"),
    *("flow", "flow-cold", "task", "auto", "cold"),
)
STEADY_WAYS = ("threads", "auto", "cold")

DOCUMENTS = 5000
SMALL_DOCUMENTS = 60
LATENCIES = (0, 50, 250)
STEADY_RATES = (1.0, 5.0)
STEADY_SECONDS = 180.0
SMALL_STEADY_SECONDS = 20.0
IDLE_SECONDS = 300.0
#: As long as one run of `orchestrate`.
SMALL_IDLE_SECONDS = 60.0
#: Documents that wait in a table while claims are timed.
PENDING = (1_000, 1_000_000)
SMALL_PENDING = (1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the benchmark.

    Attributes:
        state_dir: logs and results, emptied at the start.
        documents: number of documents for a fast way; slow ways get fewer, see `documents_for`.
        latencies: milliseconds each answer of the API takes.
        ways: names of the compared ways.
        steady_rates: documents per second that appear one by one; an empty tuple skips this part.
        steady_seconds: how long documents appear.
        idle_seconds: how long the stack is measured with nothing to do; 0 skips this part.
        growth: measure the growth with the backlog instead of the ways.
        console: measure the web console instead of the ways.
        small: everything as short as possible.
        pending: documents that wait in a table while claims are timed.
    """

    state_dir: Path
    documents: int
    latencies: tuple[int, ...]
    ways: tuple[str, ...]
    steady_rates: tuple[float, ...]
    steady_seconds: float
    idle_seconds: float
    growth: bool
    console: bool
    small: bool
    pending: tuple[int, ...]

    def documents_for(self, way: str, latency_ms: int) -> int:
        """Enough for a stable rate, few enough to end within minutes."""
        limits = {
            "stock": 8,
            "flow": 300,
            "flow-cold": 300,
            "prefork": 400 if latency_ms >= 200 else 1000,
        }
        return min(self.documents, limits.get(way, self.documents))


def read_options(environment: Mapping[str, str]) -> Options:
    """Read the variables named in the Makefile; an empty one counts as absent.

    Raises:
        LauncherError: one of them is invalid.
    """
    small = _flag(environment, "SMALL")
    ways = _list(environment, "WAYS", WAYS)
    if unknown := set(ways) - set(WAYS):
        raise LauncherError(f"WAYS: no {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    return Options(
        state_dir=(ROOT / (environment.get("STATE") or ".state-bench")).resolve(),
        documents=int(_numbers(environment, "DOCS", (SMALL_DOCUMENTS if small else DOCUMENTS,))[0]),
        latencies=tuple(
            int(n) for n in _numbers(environment, "LATENCY", (50,) if small else LATENCIES)
        ),
        ways=ways,
        steady_rates=tuple(n for n in _numbers(environment, "STEADY", STEADY_RATES) if n > 0),
        steady_seconds=_numbers(
            environment, "STEADY_SECONDS", (SMALL_STEADY_SECONDS if small else STEADY_SECONDS,)
        )[0],
        idle_seconds=_numbers(
            environment, "IDLE", (SMALL_IDLE_SECONDS if small else IDLE_SECONDS,)
        )[0],
        growth=_flag(environment, "GROWTH"),
        console=_flag(environment, "CONSOLE"),
        small=small,
        pending=SMALL_PENDING if small else PENDING,
    )


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "")
    if text not in ("", "0", "1"):
        raise LauncherError(f"{name}={text}: must be 0 or 1")
    return text == "1"


def _list(environment: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    text = environment.get(name, "")
    return tuple(part.strip() for part in text.split(",") if part.strip()) or default


def _numbers(
    environment: Mapping[str, str], name: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    parts = _list(environment, name, ())
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        raise LauncherError(f"{name}={environment[name]}: must be numbers") from None
    if any(not 0 <= number < float("inf") for number in numbers):
        raise LauncherError(f"{name}={environment[name]}: must be numbers from 0 on")
    return numbers or default
