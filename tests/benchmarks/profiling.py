"""CPU time per document, by part of the work, and the effect of Prefect server settings on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.pipelines import PIPELINES
from tests.benchmarks import report
from tests.benchmarks.options import Options
from tests.benchmarks.parts import Parts, restart_prefect
from tests.benchmarks.runs import Result, measure
from tests.benchmarks.samples import Profile, largest, read_profile
from tests.benchmarks.site import PROBE
from tests.benchmarks.ways import ALL_WAYS

LATENCY_MS = 50
SHOWN = 25
#: Files whose code only the sampled processes run.
BATCH_FILE = "flows/pipelines.py"
SERVER_FILE = "prefect/server/orchestration/"
#: Which processes are sampled, by their command lines.
BATCH_COMMAND = "prefect.engine"
SERVER_COMMAND = "server start"

Say = Callable[[str], None]

#: Settings that may lower the server's cost per run: name, settings, what is lost by them.
VARIANTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("as it is", {}, "-"),
    (
        "no logs to the API",
        {"PREFECT_LOGGING_TO_API_ENABLED": "false"},
        "logs of runs in the UI; they stay in the workers' output",
    ),
    (
        "only warnings to the API",
        {"PREFECT_LOGGING_LEVEL": "WARNING"},
        "lines about begin and end of each run; states and times tell the same",
    ),
    (
        "events read and stored in batches",
        {
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
        },
        "nothing; events appear up to 2 s later",
    ),
    (
        "task runs recorded in batches",
        {
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "2",
        },
        "nothing; task runs appear up to 2 s later",
    ),
    (
        "no triggers",
        {"PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false"},
        "automations, hence alerts and the detection of zombies",
    ),
    (
        "triggers read in batches",
        {"PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100"},
        "nothing",
    ),
    (
        "no live events",
        {"PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false"},
        "the live feed of events in the UI; the page loads them still",
    ),
    (
        "events not stored",
        {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false"},
        "the history of events",
    ),
    (
        "no check of versions, no CSRF tokens",
        {
            "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        },
        "a warning where client and server differ; CSRF protection must be off at the server",
    ),
)


def run(parts: Parts, options: Options, say: Say) -> dict[str, Any]:
    """Profile batch run and server, then compare settings; prints both, returns both for JSON."""
    subflows = min(options.documents, 200)
    # The last entry has one document of each pipeline: its cost is the fixed cost of a run.
    counts = (("task", options.documents), ("flow", subflows), ("task", len(PIPELINES)))
    samples = parts.stack.state_dir / "samples"
    batches = {
        f"{documents} documents at granularity {way}": (
            documents,
            _batch_profile(parts, samples, way, documents, say),
        )
        for way, documents in counts
    }
    server, parts = _server_profile(parts, samples, subflows, say)
    for what, (documents, profile) in batches.items():
        _show(f"batch runs, {what}", profile, documents)
    _show("Prefect server at granularity flow", server, subflows)
    compared = {"flow": min(subflows, 100), "task": min(options.documents, 500)}
    rows = []
    for number, (name, settings, lost) in enumerate(VARIANTS if not options.small else ()):
        parts = restart_prefect(parts, f"prefect-{number}", settings)
        row = {
            key: measure(
                parts, key, ALL_WAYS[key], documents=count, latency_ms=LATENCY_MS, name=name
            )
            for key, count in compared.items()
        }
        rows.append((name, lost, row))
        say(f"{name}: {row['flow'].cpu_prefect * 1000:.0f} ms a subflow")
    if rows:
        print("\n" + variants_table(rows))
    return {
        "batches": {
            what: _as_json(profile, documents) for what, (documents, profile) in batches.items()
        },
        "server": _as_json(server, subflows),
        "settings": [
            {"name": name, "lost": lost, **{k: r.as_json() for k, r in row.items()}}
            for name, lost, row in rows
        ],
    }


def _batch_profile(parts: Parts, samples: Path, way: str, documents: int, say: Say) -> Profile:
    """Profile of the batch runs' processes."""
    folder = samples / f"{way}-{documents}"
    with _sampled(parts, folder, BATCH_COMMAND):
        measure(parts, way, ALL_WAYS[way], documents=documents, latency_ms=LATENCY_MS)
    say(f"batch runs of {documents} documents at granularity {way} are sampled")
    return read_profile(folder, BATCH_FILE)


def _server_profile(parts: Parts, samples: Path, subflows: int, say: Say) -> tuple[Profile, Parts]:
    """Profile of a server, and the parts with this server, which keeps running."""
    with _sampled(parts, samples / "server", SERVER_COMMAND):
        parts = restart_prefect(parts, "prefect-sampled", {})
    measure(parts, "flow", ALL_WAYS["flow"], documents=subflows, latency_ms=LATENCY_MS)
    say("the server is sampled")
    return read_profile(samples / "server", SERVER_FILE), parts


@contextmanager
def _sampled(parts: Parts, folder: Path, command: str) -> Iterator[None]:
    """Processes of this command that are started in the block write their samples."""
    folder.mkdir(parents=True)
    sampling = {
        "PYTHONPATH": str(PROBE),
        "BENCH_SAMPLES": str(folder),
        "BENCH_SAMPLED_COMMAND": command,
    }
    environment = parts.stack.environment
    environment.update(sampling)
    try:
        yield
    finally:
        for name in sampling:
            del environment[name]


def _show(what: str, profile: Profile, documents: int) -> None:
    print(f"\n{what}: {profile.total * 1000 / documents:.1f} ms of CPU a document\n")
    for name in ("parts", "libraries", "functions"):
        values: dict[str, float] = getattr(profile, name)
        print(
            report.table(
                [name[:-1] if name != "libraries" else "library", "ms a document", "%"],
                [
                    [
                        key,
                        report.Figure(seconds * 1000 / documents),
                        report.Figure(100 * seconds / profile.total),
                    ]
                    for key, seconds in largest(values, SHOWN)
                ],
            )
            + "\n"
        )


def _as_json(profile: Profile, documents: int) -> dict[str, Any]:
    def per_document(values: dict[str, float]) -> dict[str, float]:
        return {key: seconds * 1000 / documents for key, seconds in largest(values, 200)}

    return {
        "documents": documents,
        "parts_ms": per_document(profile.parts),
        "libraries_ms": per_document(profile.libraries),
        "functions_ms": per_document(profile.functions),
    }


def variants_table(rows: list[tuple[str, str, dict[str, Result]]]) -> str:
    """One row per setting: its name, what is lost by it, and the results by granularity."""
    return report.table(
        [
            *("setting", "server ms a subflow", "database", "client", "KB", "subflows/s"),
            *("server ms a task run", "database", "client", "KB", "what is lost"),
        ],
        [
            [
                name,
                *_costs(row["flow"]),
                report.Figure(row["flow"].steady_rate),
                *_costs(row["task"]),
                lost,
            ]
            for name, lost, row in rows
        ],
    )


def _costs(result: Result) -> list[report.Figure]:
    groups = ("prefect server", "prefect database", "client")
    costs = [result.cpu[group] * 1000 for group in groups]
    return [report.Figure(cost) for cost in (*costs, result.prefect_kb)]
