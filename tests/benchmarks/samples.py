"""Reads the sampler's files and sums them by part of the work, library and function."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.local.supervisor.stack import ROOT

Frame = tuple[str, str]

IMPORTS = "imports: the start of the process"
OTHER = "event loop and the rest"

#: Parts of the work by the beginning of a file's path; the innermost frame with a match decides.
_PARTS = (
    ("lib/platforms/dqg/", "API: payload, httpx, reading the answer"),
    ("lib/source/", "source database: SQLAlchemy, driver"),
    ("lib/tracking/writer.py", "logs: MongoDB"),
    ("lib/tracking/mongo.py", "logs: MongoDB"),
    ("pymongo/", "logs: MongoDB"),
    ("lib/resilience/breaker.py", "breakers and limits: Redis"),
    ("lib/resilience/breaker_rules.py", "breakers and limits: Redis"),
    ("lib/resilience/rate_limiter.py", "breakers and limits: Redis"),
    ("lib/resilience/redis_fallback.py", "breakers and limits: Redis"),
    ("lib/write_batcher.py", "batching of writes"),
    ("lib/", "the rest of lib"),
    ("prefect/events/", "Prefect: events"),
    ("prefect/logging/", "Prefect: logs"),
    ("prefect/client/schemas/", "Prefect: schemas and types"),
    ("prefect/client/", "Prefect: REST client"),
    ("prefect/server/events/", "server: events and triggers"),
    ("prefect/server/services/", "server: services, task run recorder"),
    ("prefect/server/orchestration/", "server: orchestration rules of states"),
    ("prefect/server/database/", "server: models and database"),
    ("prefect/server/models/", "server: models and database"),
    ("prefect/server/api/", "server: REST API"),
    ("prefect/server/utilities/messaging/", "server: events and triggers"),
    ("prefect/server/", "server: the rest"),
    ("docket/", "server: Docket"),
    ("prefect/settings/", "Prefect: settings"),
    ("prefect/flow_engine.py", "Prefect: flow and task engine"),
    ("prefect/task_engine.py", "Prefect: flow and task engine"),
    ("prefect/_internal/schemas/", "Prefect: schemas and types"),
    ("prefect/types/", "Prefect: schemas and types"),
    ("prefect/", "Prefect: the rest of its core"),
    ("tasks/", "tasks and flows"),
    ("flows/", "tasks and flows"),
)
#: For stacks that do not show the caller: SQLAlchemy's async part runs on separate stacks.
_DRIVERS = (
    ("sqlalchemy/", "SQLAlchemy and asyncpg"),
    ("asyncpg/", "SQLAlchemy and asyncpg"),
    ("uvicorn/", "HTTP: uvicorn, starlette, fastapi"),
    ("starlette/", "HTTP: uvicorn, starlette, fastapi"),
    ("fastapi/", "HTTP: uvicorn, starlette, fastapi"),
)


@dataclass(frozen=True)
class Profile:
    """CPU seconds by name.

    Attributes:
        functions: self time, by library and function.
    """

    total: float
    parts: dict[str, float]
    libraries: dict[str, float]
    functions: dict[str, float]


def read_profile(folder: Path, file: str) -> Profile:
    """The samples of all processes that have run code of a file whose path contains this text."""
    parts: dict[str, float] = defaultdict(float)
    libraries: dict[str, float] = defaultdict(float)
    functions: dict[str, float] = defaultdict(float)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not any(file in frame[0] for _, stack in content["stacks"] for frame in stack):
            continue
        for seconds, stack in content["stacks"]:
            library = library_of(stack[0][0])
            parts[part_of(stack)] += seconds
            libraries[library] += seconds
            functions[f"{library}: {stack[0][1]}"] += seconds
    return Profile(sum(parts.values()), parts, libraries, functions)


def part_of(stack: Sequence[Frame]) -> str:
    """The part of the work a stack belongs to, innermost frame first."""
    if any(file.startswith("<frozen importlib") for file, _ in stack):
        return IMPORTS
    for parts in (_PARTS, _DRIVERS):
        for file, _ in stack:
            path = _short(file)
            for text, part in parts:
                if path.startswith(text):
                    return part
    return OTHER


def library_of(file: str) -> str:
    """The package of a file; this project and the standard library count as one package each."""
    path = _short(file)
    if "/" not in path or path.startswith("<"):
        return "standard library"
    first = path.split("/", 1)[0]
    return "this project" if first in ("lib", "tasks", "flows", "tests") else first


def largest(values: dict[str, float], count: int) -> Iterable[tuple[str, float]]:
    """The largest values, in descending order."""
    return sorted(values.items(), key=lambda item: -item[1])[:count]


def _short(file: str) -> str:
    """A path that starts with its package; only the file name for the standard library."""
    if "site-packages/" in file:
        return file.rsplit("site-packages/", 1)[1]
    if file.startswith(f"{ROOT}/"):
        return file[len(f"{ROOT}/") :]
    return file.rsplit("/", 1)[-1]
