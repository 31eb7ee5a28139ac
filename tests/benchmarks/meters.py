"""Costs of a way: CPU time and memory of process trees, calls, statements, events."""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

from deployments.local.supervisor.stack import Stack
from tests.support.warm_start import FORK_SERVER

#: Group of the processes that differ from way to way; also commands that this process starts.
CLIENT = "client"
RSS_PERIOD = 0.5


@dataclass(frozen=True, slots=True)
class Process:
    """System data of a process; CPU time includes children that it has waited for."""

    parent: int
    cpu: float
    rss: int


@dataclass(slots=True)
class Reading:
    """CPU seconds so far and resident memory now, by group of parts."""

    at: float = field(default_factory=time.monotonic)
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    rss: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def since(self, earlier: Reading) -> dict[str, float]:
        """CPU seconds of each group since another reading."""
        return {group: cpu - earlier.cpu.get(group, 0.0) for group, cpu in self.cpu.items()}


class Meter:
    """Measures groups of parts.

    Args:
        groups: names of parts by group.
    """

    def __init__(self, stack: Stack, groups: Mapping[str, Sequence[str]]) -> None:
        self._stack = stack
        self._roots = {
            pid: group
            for group, parts in groups.items()
            for part in parts
            if (pid := stack.pid(part)) is not None
        }
        self._known: set[int] = set()

    def watch(self, pid: int, group: str = CLIENT) -> None:
        """Also count a process that is not a part of the stack."""
        self._roots[pid] = group

    def read(self) -> Reading:
        reading = Reading()
        processes = _processes()
        self._find_fork_servers(processes.keys() - self._known)
        self._known |= processes.keys()
        for pid, process in processes.items():
            group = self._group_of(pid, processes)
            if group is not None:
                reading.cpu[group] += process.cpu
                reading.rss[group] += process.rss
        # Commands this process has started and waited for.
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        reading.cpu[CLIENT] += used.ru_utime + used.ru_stime
        return reading

    def _find_fork_servers(self, pids: Iterable[int]) -> None:
        """Count the preloaded processes of this stack: they outlive the run that started them."""
        for pid in pids:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if FORK_SERVER in process.cmdline():
                    home = process.environ().get("PREFECT_HOME", "")
                    if home.startswith(str(self._stack.state_dir)):
                        self._roots[pid] = CLIENT

    def rate(self, seconds: float) -> dict[str, float]:
        """CPU seconds per second of each group, measured over this time."""
        before = self.read()
        time.sleep(seconds)
        after = self.read()
        return {g: cpu / (after.at - before.at) for g, cpu in after.since(before).items()}

    def _group_of(self, pid: int, processes: Mapping[int, Process]) -> str | None:
        while pid in processes:
            if pid in self._roots:
                return self._roots[pid]
            pid = processes[pid].parent
        return None


def _processes() -> dict[int, Process]:
    found = {}
    for process in psutil.process_iter(["ppid", "cpu_times", "memory_info"]):
        info = process.info
        if info["cpu_times"] is None or info["memory_info"] is None:
            continue
        times = info["cpu_times"]
        cpu = times.user + times.system + times.children_user + times.children_system
        found[process.pid] = Process(info["ppid"], cpu, info["memory_info"].rss)
    return found


class PeakMemory:
    """The largest resident memory of each group, sampled twice per second in the `with` block."""

    def __init__(self, meter: Meter) -> None:
        self.peak: dict[str, int] = defaultdict(int)
        self._meter = meter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(RSS_PERIOD):
            for group, rss in self._meter.read().rss.items():
                self.peak[group] = max(self.peak[group], rss)
