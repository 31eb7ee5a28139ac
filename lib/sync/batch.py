"""The documents one run works on, and what has become of each so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from lib.pipelines import Pipeline
from lib.record import Record
from lib.services import Services
from lib.sync.lease import Lease


@dataclass(slots=True, eq=False)
class Batch:
    """The records of one claim, with the services and the lease they are worked on under."""

    pipeline: Pipeline
    token: str
    run_id: str
    services: Services
    lease: Lease
    records: dict[int, Record]

    def __getitem__(self, record_id: int) -> Record:
        return self.records[record_id]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def __len__(self) -> int:
        return len(self.records)

    def start(self, record: Record, run_id: str) -> None:
        """Notes which run works on a record."""
        record.run_id = run_id
        self.services.tracking.started(record, self.run_id)

    def counts(self) -> Counter[str]:
        """How many records have which outcome; `open` where none is saved."""
        return Counter(
            record.outcome.kind.value if record.outcome and record.saved else "open"
            for record in self
        )


_current: ContextVar[Batch] = ContextVar("current_batch")


@contextmanager
def working_on(batch: Batch) -> Iterator[Batch]:
    """Makes a batch the current one for everything started inside."""
    reset = _current.set(batch)
    try:
        yield batch
    finally:
        _current.reset(reset)


def find_batch() -> Batch | None:
    """The batch the caller works for, None where there is none."""
    return _current.get(None)


def current_batch() -> Batch:
    """The batch the caller works for.

    Raises:
        LookupError: called outside `working_on`.
    """
    return _current.get()
