"""One measurement: documents that wait, or documents that keep appearing."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lib.models import SyncStatus
from tests.benchmarks.meters import CLIENT, Meter, PeakMemory, Reading
from tests.benchmarks.parts import Parts
from tests.benchmarks.site import Site, new_site
from tests.benchmarks.ways import Running, Way

LOOK_SECONDS = 0.2
NUDGE_SECONDS = 15.0
IDLE_SECONDS = 4.0
IDLE_TRIES = 15
#: Cores that idle parts may use together; a starting worker uses more.
IDLE_LIMIT = 0.25
#: How long the Prefect server may take to process its backlog of events afterwards.
SETTLE_SECONDS = 900.0
#: A part is busy from this load on, as a share of one core above its idle load.
BUSY = 0.06
DEADLINE = 1800.0

PREFECT = ("prefect server", "prefect database")
REST = ("source database", "mongo", "redis", "sandbox")


class BenchmarkFailed(Exception):
    """A way did not complete the job, so its figures would have no meaning."""


@dataclass
class Result:
    """The cost of one way for a number of documents.

    Attributes:
        seconds: from the dispatch until the last document is final in the source database.
        first_seconds: from the dispatch until the first document is final.
        steady_rate: documents per second between these two.
        settle_seconds: how much longer the Prefect server was busy with events.
        cpu: CPU seconds per document by group of parts, until all are idle again, minus the idle
            load.
        idle_cpu: the idle load, CPU seconds per second.
        server_share: cores the Prefect server used between the first and the last final document.
        peak_mb: largest resident memory by group.
        prefect_calls, events, statements, posts: numbers per document.
        prefect_kb: growth of the Prefect server's database per document, indexes included.
        calls_by_path: number of calls to the Prefect API, by method and path.
    """

    way: str
    label: str
    latency_ms: float
    documents: int
    seconds: float
    first_seconds: float
    steady_rate: float
    settle_seconds: float
    cpu: dict[str, float]
    idle_cpu: dict[str, float]
    server_share: float
    peak_mb: dict[str, float]
    prefect_calls: float
    events: float
    statements: float
    posts: float
    prefect_kb: float
    calls_by_path: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Documents per second, the start included."""
        return self.documents / self.seconds

    @property
    def cpu_client(self) -> float:
        return self.cpu[CLIENT]

    @property
    def cpu_prefect(self) -> float:
        return sum(self.cpu[group] for group in PREFECT)

    @property
    def cpu_rest(self) -> float:
        return sum(self.cpu[group] for group in REST)

    @property
    def cpu_total(self) -> float:
        return self.cpu_client + self.cpu_prefect + self.cpu_rest

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"rate": self.rate, "cpu_total": self.cpu_total}


def measure(
    parts: Parts, key: str, way: Way, *, documents: int, latency_ms: float, name: str = ""
) -> Result:
    """Let a way send a number of waiting documents.

    Raises:
        BenchmarkFailed: not every document was accepted exactly once, or not in time.
    """
    site = new_site(parts, documents=documents, latency_ms=latency_ms, settings=way.settings)
    with way.start(site, False) as running:
        meter = Meter(parts.stack, parts.groups | {CLIENT: running.parts})
        idle = _idle(meter)
        calls, events, size = len(site.calls()), parts.events(), parts.prefect_bytes()
        statements = parts.statements(site.database)
        with PeakMemory(meter) as memory:
            before = meter.read()
            process = running.dispatch()
            if process is not None:
                meter.watch(process.pid)
            first, last, seen_first = _until_final(site, running, meter, before.at)
            if process is not None:
                process.wait()
        final_statements = parts.statements(site.database)
        quiet = _until_quiet(meter, idle)
        all_calls = site.calls()[calls:]
        result = Result(
            way=key,
            label=name or way.label,
            latency_ms=latency_ms,
            documents=documents,
            seconds=last.at - before.at,
            first_seconds=first.at - before.at,
            steady_rate=_rate_between(first, last, documents - seen_first),
            settle_seconds=quiet.at - last.at,
            cpu=_per_document(before, quiet, idle, documents),
            idle_cpu=dict(idle),
            server_share=_share(first, last),
            peak_mb={group: rss / 1e6 for group, rss in memory.peak.items()},
            prefect_calls=len(all_calls) / documents,
            events=(parts.events() - events) / documents,
            statements=(final_statements - statements) / documents,
            posts=parts.sandbox.summary()["posts"] / documents,
            prefect_kb=(parts.prefect_bytes() - size) / 1000 / documents,
            calls_by_path=_by_kind(all_calls),
        )
    _check(site, documents)
    site.close()
    return result


def latencies(
    parts: Parts, way: Way, *, rate: float, seconds: float, latency_ms: float
) -> list[float]:
    """Seconds from insertion to acceptance of documents that appear one by one.

    Raises:
        BenchmarkFailed: as `measure`.
    """
    count = max(1, round(rate * seconds))
    site = new_site(parts, documents=count, latency_ms=latency_ms, settings=way.settings)
    waiting = site.take_out()
    with way.start(site, True) as running:
        running.dispatch()
        begin = time.monotonic()
        for number, row in enumerate(waiting):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            site.put_in(row)
        _wait(lambda: not site.pending(), "every document is final", lambda: None)
    _check(site, count)
    ages = site.ages()
    site.close()
    return ages


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies, with linear interpolation."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def _until_final(
    site: Site, running: Running, meter: Meter, begin: float
) -> tuple[Reading, Reading, int]:
    """Readings at the first and the last final document, and the number final at the first."""
    total = sum(site.statuses().values())
    first: tuple[Reading, int] | None = None
    nudged = begin

    def done() -> bool:
        nonlocal first
        final = total - site.pending()
        if final and first is None:
            first = meter.read(), final
        return final == total

    def nudge() -> None:
        nonlocal nudged
        if time.monotonic() - nudged > NUDGE_SECONDS:
            nudged = time.monotonic()
            running.nudge()

    _wait(done, "every document is final", nudge)
    if first is None:
        raise BenchmarkFailed("there was no document")
    return first[0], meter.read(), first[1]


def _wait(done: Callable[[], bool], what: str, meanwhile: Callable[[], None]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"not within {DEADLINE:.0f} s: {what}")
        meanwhile()
        time.sleep(LOOK_SECONDS)


def _idle(meter: Meter) -> dict[str, float]:
    """The load of the started parts while they have nothing to do.

    Raises:
        BenchmarkFailed: they do not become idle.
    """
    for _ in range(IDLE_TRIES):
        idle = meter.rate(IDLE_SECONDS)
        if sum(idle.values()) < IDLE_LIMIT:
            return idle
    raise BenchmarkFailed(f"busy although there is nothing to do: {idle}")


def _until_quiet(meter: Meter, idle: dict[str, float]) -> Reading:
    """The reading when all parts have returned to their idle load.

    Raises:
        BenchmarkFailed: the Prefect server is busy for too long.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        quiet = meter.read()
        busy = {g: r - idle.get(g, 0.0) for g, r in meter.rate(3).items()}
        if max(busy.values()) < BUSY:
            return quiet
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"still busy after {SETTLE_SECONDS:.0f} s: {busy}")


def _per_document(
    before: Reading, after: Reading, idle: dict[str, float], documents: int
) -> dict[str, float]:
    seconds = after.at - before.at
    used = after.since(before)
    return {g: max(0.0, cpu - idle.get(g, 0.0) * seconds) / documents for g, cpu in used.items()}


def _rate_between(first: Reading, last: Reading, documents: int) -> float:
    """Documents per second; 0 if all were final at the first reading."""
    return documents / (last.at - first.at) if documents else 0.0


def _share(first: Reading, last: Reading) -> float:
    server = PREFECT[0]
    return last.since(first)[server] / max(last.at - first.at, LOOK_SECONDS)


def _by_kind(calls: list[str]) -> dict[str, int]:
    """Number of calls by method and path, without ids."""

    def kind(call: str) -> str:
        parts = [part for part in call.split("/") if len(part) != 36]
        return "/".join(parts)

    return dict(Counter(map(kind, calls)).most_common())


def _check(site: Site, documents: int) -> None:
    statuses = site.statuses()
    if statuses != {SyncStatus.SUCCESS.value: documents}:
        raise BenchmarkFailed(f"of {documents} documents not all were accepted: {statuses}")
    summary = site.parts.sandbox.summary()
    if summary["accepted_total"] != documents or summary["accepted_twice"]:
        raise BenchmarkFailed(f"the API accepted {summary['accepted_total']} of {documents}")
