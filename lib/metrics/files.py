"""Storage of metrics: one memory-mapped file per process, added to a total after the process ends.

A run is a short-lived process and may be killed at any moment. Its counts are in its file, which
remains when the process dies. A lock on the file shows whether the process is alive; unlike a
process id, a lock is never reused, and it works across containers that share the folder. To fold
the file of a dead process means to add it to `total.json` and remove it: nothing is lost, nothing
is counted twice, and the folder does not grow.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from lib.metrics.families import Key, Kind

logger = logging.getLogger("dqg.metrics")

TOTAL = "total.json"
_LOCK = "fold.lock"
#: Allocated in advance: a full disk must not kill a process that counts.
_SIZE = 64 * 1024
#: This number of keys fits into that size; more would mean that a label has unbounded values.
_MAX_KEYS = 400
#: From this number of files on, the next process folds them, in case no exporter does.
_MANY_FILES = 50
#: Seconds within which a new file is complete.
_BEING_MADE = 60.0


@dataclass(slots=True)
class Reading:
    """All values of a folder.

    Attributes:
        values: each with the time at which a gauge was set.
        live: number of processes that are counting now.
    """

    values: dict[Key, tuple[float, float]] = field(default_factory=dict)
    live: int = 0

    def add(self, entries: Iterable[tuple[Key, float, float]]) -> None:
        for key, value, at in entries:
            before, set_at = self.values.get(key, (0.0, 0.0))
            if key.kind != Kind.GAUGE:
                self.values[key] = (before + value, 0.0)
            elif at >= set_at:
                self.values[key] = (value, at)


class ProcessFile:
    """The values of this process. Thread-safe.

    Raises (when made):
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        from prometheus_client.mmap_dict import MmapedDict

        folder.mkdir(parents=True, exist_ok=True)
        fold_many(folder)
        name = f"{os.getpid()}-{uuid4().hex[:12]}"
        # Under another name until it is locked: an unlocked file counts as that of a dead process.
        making = folder / f"{name}.new"
        self._descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(self._descriptor, bytes(_SIZE))
            self._values: Any = MmapedDict(str(making))  # type: ignore[no-untyped-call]
            making.rename(folder / f"{name}.db")
        except BaseException:
            os.close(self._descriptor)
            making.unlink(missing_ok=True)
            raise
        self._lock = threading.Lock()
        self._known: dict[Key, str] = {}
        self._is_full = False

    def add(self, key: Key, amount: float) -> None:
        with self._lock:
            if (text := self._text(key)) is not None:
                value, _ = self._values.read_value(text)
                self._values.write_value(text, value + amount, 0.0)

    def set(self, key: Key, value: float) -> None:
        with self._lock:
            if (text := self._text(key)) is not None:
                self._values.write_value(text, value, time.time())

    def close(self) -> None:
        """From now on the file counts as that of a dead process. Idempotent."""
        with self._lock:
            if self._descriptor >= 0:
                self._values.close()
                os.close(self._descriptor)
                self._descriptor = -1

    def _text(self, key: Key) -> str | None:
        """The key as stored in the file; None if the file is full or closed."""
        if self._descriptor < 0:
            return None
        if (text := self._known.get(key)) is None and len(self._known) < _MAX_KEYS:
            text = self._known[key] = key.as_text()
        if text is None and not self._is_full:
            self._is_full = True
            logger.error("more than %d metric values, the others are not recorded", _MAX_KEYS)
        return text


def read(folder: Path) -> Reading:
    """All values of all processes, dead and alive; folds the files of dead ones.

    Idempotent, also when run by several processes at once.

    Raises:
        OSError: the folder cannot be used.
    """
    with _exclusive(folder, wait=True):
        reading = _fold(folder)
        for path in _files(folder):
            reading.add(_entries(path))
            reading.live += 1
        return reading


def fold_many(folder: Path) -> None:
    """Fold the files of dead processes if there are many, unless another process is doing it.

    Raises:
        OSError: the folder cannot be used.
    """
    if sum(1 for _ in _files(folder)) < _MANY_FILES:
        return
    with _exclusive(folder, wait=False) as mine:
        if mine:
            _fold(folder)


def _fold(folder: Path) -> Reading:
    """Fold the files of dead processes; returns the total. The caller must hold the lock."""
    total, included = _load_total(folder)
    for path in _files(folder):
        if path.name in included:  # the last process to fold ended before it removed the file
            path.unlink()
    dead = [path for path in _files(folder) if _is_dead(path)]
    if dead:
        for path in dead:
            total.add(_entries(path))
        # Names and values are saved in one step, so that no file is counted twice.
        _save_total(folder, total, [path.name for path in dead])
        for path in dead:
            path.unlink()
    for path in folder.glob("*.new"):
        _remove_if_never_made(path)
    return total


def _remove_if_never_made(path: Path) -> None:
    """Remove a file whose process ended between creating and renaming it."""
    try:
        if time.time() - path.stat().st_mtime > _BEING_MADE and _is_dead(path):
            path.unlink()
    except FileNotFoundError:
        pass  # renamed meanwhile


def _load_total(folder: Path) -> tuple[Reading, set[str]]:
    path, total = folder / TOTAL, Reading()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        total.add((Key.from_text(key), value, at) for key, value, at in stored["values"])
        return total, set(stored["included"])
    except FileNotFoundError:
        return Reading(), set()
    except (ValueError, TypeError, KeyError) as error:
        path.rename(folder / f"{TOTAL}.broken")
        logger.error(  # noqa: TRY400 - the text of the error adds nothing
            "%s cannot be read, all counters restart at 0: %s", path, type(error).__name__
        )
        return Reading(), set()


def _save_total(folder: Path, total: Reading, included: list[str]) -> None:
    values = [[key.as_text(), value, at] for key, (value, at) in total.values.items()]
    temporary = folder / f"{TOTAL}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"values": values, "included": included}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / TOTAL)


def _entries(path: Path) -> list[tuple[Key, float, float]]:
    """Values of one process; empty, with a warning, if its file is damaged."""
    from prometheus_client.mmap_dict import MmapedDict

    try:
        found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        return [(Key.from_text(text), value, at) for text, value, at, _ in found]
    except (ValueError, RuntimeError, IndexError, TypeError, struct.error) as error:
        logger.warning("%s cannot be read: %s", path, type(error).__name__)
        return []


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.db"))


def _is_dead(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


@contextmanager
def _exclusive(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lets one process at a time fold or read; yields False if another one holds the lock."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
