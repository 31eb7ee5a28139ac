"""Exports the metrics of the runs on this machine for Prometheus.

`python -m deployments.containers.metrics`: reads the folder DQG_METRICS__DIR at each request, adds
up the values of all processes, and merges the files of ended processes. It serves nothing else.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from lib.errors import ConfigurationError
from lib.metrics.families import FAMILIES, Family, Key, Kind
from lib.metrics.files import Reading, read
from lib.settings import load_settings

#: `orchestrate` sets the gauges every minute; an older value is out of date.
STALE_SECONDS = 300.0

_TYPES = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}


class FolderCollector(Collector):
    """All metrics of a folder, read again at each request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        reading = read(self._folder)
        yield GaugeMetricFamily(
            "dqg_runs", "Runs in progress on this machine, of all flows", value=reading.live
        )
        yield from metrics_of(reading, time.time())

    def describe(self) -> Iterable[Metric]:
        return []


def metrics_of(reading: Reading, now: float) -> Iterator[Metric]:
    """The values in the form of Prometheus, without those that this version does not know."""
    by_family: dict[str, list[Key]] = {}
    for key in sorted(reading.values, key=lambda key: (key.name, key.labels)):
        family = FAMILIES.get(key.name)
        if family is None or family.kind != key.kind or len(family.labels) != len(key.labels):
            continue
        set_at = reading.values[key][1]
        if family.kind is Kind.GAUGE and not family.lasting and now - set_at > STALE_SECONDS:
            continue
        by_family.setdefault(key.name, []).append(key)
    for name, family in FAMILIES.items():
        keys = by_family.get(name, [])
        values = {key: reading.values[key][0] for key in keys}
        if family.kind is Kind.HISTOGRAM:
            yield _histogram(family, values)
        else:
            metric = _TYPES[family.kind](name, family.help, labels=family.labels)
            for key, value in values.items():
                metric.add_metric(key.labels, value)
            yield metric


def _histogram(family: Family, values: dict[Key, float]) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels in dict.fromkeys(key.labels for key in values):
        bounds = [str(float(bound)) for bound in (*family.buckets, float("inf"))]
        counts = [values.get(Key(family.kind, family.name, labels, b), 0.0) for b in bounds]
        names = [*bounds[:-1], "+Inf"]
        metric.add_metric(
            labels,
            buckets=list(zip(names, accumulate(counts), strict=True)),
            sum_value=values.get(Key(family.kind, family.name, labels, "sum"), 0.0),
        )
    return metric


@contextmanager
def serving(folder: Path, host: str, port: int) -> Iterator[int]:
    """Answers requests in the background; yields the port, a free one for 0.

    Raises:
        OSError: the folder cannot be used, or the address is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    read(folder)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FolderCollector(folder))
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.containers.metrics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        settings = load_settings().metrics
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if settings.dir is None:
        print("error: DQG_METRICS__DIR is not set", file=sys.stderr)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serving(settings.dir, settings.host, settings.port) as port:
            print(f"{settings.dir}: http://{settings.host}:{port}/metrics", flush=True)
            stop.wait()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
