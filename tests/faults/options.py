"""Options of `make faults`, read from the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.local.errors import LauncherError
from deployments.local.options import read_options

DEFAULT_DOCUMENTS = 1000
DEFAULT_SEED = 1
#: Fewer documents could not cover three pipelines, three shops and every kind of fault.
FEWEST_DOCUMENTS = 30


@dataclass(frozen=True, slots=True)
class FaultOptions:
    """How to run the suite.

    Attributes:
        documents: number of documents per scenario.
        seed: of documents, moments and choices.
        scenarios: names of the scenarios to run, in the suite's order.
    """

    state_dir: Path
    documents: int
    seed: int
    scenarios: tuple[str, ...]


def read_fault_options(environment: Mapping[str, str], known: Sequence[str]) -> FaultOptions:
    """Read STATE, DOCS, SEED and SCENARIO; an empty one counts as absent.

    Raises:
        LauncherError: one of them is invalid.
    """
    common = read_options({**environment, "EXIT": "", "DEADLINE": ""})
    wanted = [name for name in environment.get("SCENARIO", "").split(",") if name]
    if unknown := [name for name in wanted if name not in known]:
        raise LauncherError(f"SCENARIO={','.join(unknown)}: unknown; there are {', '.join(known)}")
    options = FaultOptions(
        state_dir=common.state_dir,
        documents=common.documents or DEFAULT_DOCUMENTS,
        seed=DEFAULT_SEED if common.seed is None else common.seed,
        scenarios=tuple(name for name in known if not wanted or name in wanted),
    )
    if options.documents < FEWEST_DOCUMENTS:
        raise LauncherError(f"DOCS={options.documents}: at least {FEWEST_DOCUMENTS} are needed")
    return options
