"""Options of `make run`, read from the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from deployments.local.errors import LauncherError
from deployments.local.supervisor.stack import ROOT

Number = TypeVar("Number", int, float)

DEFAULT_STATE = ROOT / ".state"
DEFAULT_DEADLINE = 900.0
#: Far more than a document takes, so that only a hang reaches the deadline.
SECONDS_PER_DOCUMENT = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the local stack.

    Attributes:
        state_dir: logs and data, emptied at the start.
        source: SQLAlchemy URL of an empty database for the documents, None for one in the stack.
        documents: number of demo documents, None for the demo's default.
        seed: of the demo's random choices, None for the demo's default.
        exit_when_done: stop after the last document, with the result of the check as exit status.
        deadline: seconds after which an unfinished run with `exit_when_done` is aborted; None
            to derive it from the number of documents.
    """

    state_dir: Path
    documents: int | None
    seed: int | None
    exit_when_done: bool
    deadline: float | None
    source: str | None = field(default=None, repr=False)

    def deadline_for(self, documents: int) -> float:
        return self.deadline or DEFAULT_DEADLINE + SECONDS_PER_DOCUMENT * documents


def read_options(environment: Mapping[str, str]) -> Options:
    """Read STATE, SOURCE, DOCS, SEED, EXIT and DEADLINE; an empty one counts as absent.

    Raises:
        LauncherError: one of them is invalid.
    """
    exit_ = environment.get("EXIT", "")
    if exit_ not in ("", "0", "1"):
        raise LauncherError(f"EXIT={exit_}: must be 0 or 1")
    return Options(
        state_dir=(ROOT / (environment.get("STATE") or DEFAULT_STATE)).resolve(),
        documents=_number(environment, "DOCS", int, at_least=1),
        seed=_number(environment, "SEED", int, at_least=0),
        exit_when_done=exit_ == "1",
        deadline=_number(environment, "DEADLINE", float, at_least=1),
        source=environment.get("SOURCE") or None,
    )


def _number(
    environment: Mapping[str, str], name: str, kind: Callable[[str], Number], at_least: int
) -> Number | None:
    text = environment.get(name, "")
    if not text:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not at_least <= value < float("inf"):
        raise LauncherError(f"{name}={text}: must be a number, at least {at_least}")
    return value
