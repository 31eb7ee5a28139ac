"""Records events as metrics; records nothing if no folder is set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lib.metrics import families
from lib.metrics.families import Family, Key
from lib.models import Attempt, Outcome, PipelineSummary
from lib.settings import MetricsSettings

if TYPE_CHECKING:
    from lib.metrics.files import ProcessFile
    from lib.resilience.breaker_rules import Transition

logger = logging.getLogger("dqg.metrics")

_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 3}


class Metrics:
    """The metrics of one process. No method raises, and none waits for I/O.

    Args:
        file: where values are counted; None: nothing is counted.
    """

    def __init__(self, file: ProcessFile | None = None) -> None:
        self._file = file

    def document_ended(self, outcome: Outcome) -> None:
        """An outcome is saved in the source database."""
        labels = (outcome.ref.pipeline, outcome.kind.value, outcome.error_class or "none")
        self._add(families.DOCUMENTS, labels)

    def accepted_with_warnings(self, pipeline: str) -> None:
        """A document was accepted with doubtful values."""
        self._add(families.WARNINGS, (pipeline,))

    def called(self, pipeline: str, attempt: Attempt) -> None:
        """A call of the national API has ended."""
        status = "none" if attempt.http_status is None else f"{attempt.http_status // 100}xx"
        self._add(
            families.API_CALLS, (pipeline, attempt.action, status, attempt.error_class or "ok")
        )
        self._observe(families.API_SECONDS, (pipeline, attempt.action), attempt.duration_ms / 1000)

    def retried(self, pipeline: str) -> None:
        """A document will be sent again within its run."""
        self._add(families.RETRIES, (pipeline,))

    def claim_lost(self, pipeline: str) -> None:
        """A document was not sent or its outcome not written: another run has claimed it."""
        self._add(families.CLAIMS_LOST, (pipeline,))

    def saved(self, size: int, seconds: float) -> None:
        """A batch of outcomes is written."""
        self._observe(families.SAVED_SIZE, (), size)
        self._observe(families.SAVE_SECONDS, (), seconds)

    def save_failed(self) -> None:
        """A batch of outcomes could not be written this time."""
        self._add(families.SAVE_FAILURES, ())

    def breakers_changed(self, *transitions: Transition | None) -> None:
        """A call changed the states of breakers; None: no change."""
        for change in transitions:
            if change is not None:
                kind = "pipeline" if change.name.startswith("pipeline:") else "account"
                self._add(families.BREAKER_CHANGES, (kind, change.new.value))

    def breakers_read(self, pipeline: str, state: str, paused_shops: int) -> None:
        """The current states of a pipeline's breaker and of its shops' breakers were read."""
        self._set(families.BREAKER_STATE, (pipeline,), _STATES[state])
        self._set(families.PAUSED_SHOPS, (pipeline,), paused_shops)

    def backlog_read(self, backlog: Sequence[PipelineSummary]) -> None:
        """The backlog was read from the source database."""
        for summary in backlog:
            name = summary.pipeline
            for state, documents in (
                ("ready", summary.ready),
                ("waiting", summary.waiting),
                ("in_flight", summary.in_flight),
                ("unconfirmed", summary.unconfirmed),
            ):
                self._set(families.QUEUE, (name, state), documents)
            self._set(families.QUEUE_BATCHES, (name,), summary.batches)
            self._set(families.QUEUE_OLDEST, (name,), summary.oldest_pending_seconds or 0.0)
        self._set(families.QUEUE_READ, (), time.time())

    def _add(self, family: Family, labels: tuple[str, ...], part: str = "", by: float = 1) -> None:
        if self._file is not None:
            self._file.add(_key(family, labels, part), by)

    def _set(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        if self._file is not None:
            self._file.set(_key(family, labels), value)

    def _observe(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        bound = next((bound for bound in family.buckets if value <= bound), float("inf"))
        self._add(family, labels, str(float(bound)))
        self._add(family, labels, "sum", value)


def _key(family: Family, labels: tuple[str, ...], part: str = "") -> Key:
    return Key(family.kind.value, family.name, labels, part)


@contextmanager
def open_metrics(settings: MetricsSettings) -> Iterator[Metrics]:
    """The metrics of this process, for the duration of a run.

    If the folder cannot be used, a warning is logged and nothing is counted; the run continues.
    """
    if settings.dir is None:
        yield Metrics()
        return
    # Imported here, because only a process that counts needs it.
    from lib.metrics.files import ProcessFile

    try:
        file = ProcessFile(settings.dir)
    except OSError as error:
        logger.warning(
            "no metrics are recorded: DQG_METRICS__DIR cannot be used: %s",
            error.strerror or type(error).__name__,
            extra={"action": "metrics_off"},
        )
        yield Metrics()
        return
    try:
        yield Metrics(file)
    finally:
        file.close()
