"""One scenario on the bench: its documents, what was done to them, and how they ended.

A trial has pipelines of its own, with their workers and their part of the API. So several may run
side by side as long as each keeps its harm to what is its own.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from deployments.local.demo.documents import DemoPlan
from deployments.local.sandbox.client import SandboxAdmin
from lib.errors import SyncError
from lib.models import DocumentRef, SyncStatus
from lib.pipelines import PIPELINES, Pipeline
from tests.faults.bench import Bench, Overdue, wait
from tests.faults.judgement import (
    Rows,
    is_settled,
    judge,
    log_disagreements,
    untrue_successes,
    wrong_classes,
)
from tests.faults.report import Result
from tests.faults.watch import HoldUpWatch

#: Of one scenario; far more than it takes, so that only a hang meets it.
SETTLE_LIMIT = 300.0
SECONDS_PER_DOCUMENT = 0.6
#: Rounds of reconcile after which Prefect and the logs must agree with the truth: the round that
#: may be under way, and two whole ones.
ROUNDS_TO_AGREE = 3


@dataclass(slots=True)
class Trial:
    """What a scenario works with. It does its harm, heals it, and returns.

    Attributes:
        pipelines: those the scenario has; it touches no other one's runs and calls.
        plan: of the documents so far.
        faults: how many were injected, by kind.
        problems: what it expected and did not see.
        ids_known: whether the API tells the national id of every document.
        content_known: whether the API can be asked what it has stored.
        stored_before: documents that must fail although the API has them.
        unhindered: whether no document may wait for longer than some rounds; a scenario in which
            nothing but single documents is wrong sets it.
        classes: error class that a document must fail with, by pipeline and primary key.
        unfinished_before: rounds of reconcile that had failed when the last fault was healed.
        healed_at: when the last fault began or ended, on the monotonic clock.
    """

    bench: Bench
    documents: int
    seed: int
    rng: random.Random
    pipelines: Sequence[Pipeline] = tuple(PIPELINES.values())
    plan: DemoPlan = field(default_factory=lambda: DemoPlan((), ()))
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    ids_known: bool = True
    content_known: bool = True
    unhindered: bool = False
    stored_before: set[DocumentRef] = field(default_factory=set)
    classes: dict[tuple[str, int], str] = field(default_factory=dict)
    unfinished_before: int = 0
    watch: HoldUpWatch = field(default_factory=HoldUpWatch)
    healed_at: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    # -- documents --------------------------------------------------------------------------------

    def seed_documents(self, documents: int | None = None, faulty_share: float = 0) -> DemoPlan:
        """Insert new documents, by default as many as the trial has; returns these alone."""
        # A number of its own for each call, so that no code is used twice.
        self.seed += 1
        added = self.bench.seed(
            documents or self.documents,
            self.seed,
            faulty_share,
            [pipeline.name for pipeline in self.pipelines],
        )
        self.plan = DemoPlan(
            succeed=self.plan.succeed + added.succeed, fail=self.plan.fail + added.fail
        )
        return added

    def rows(self) -> Rows:
        return self.bench.rows(self.plan)

    def spent_attempts(self, ref: DocumentRef, rows: Rows) -> int:
        """Attempts that are over: a claim counts from its beginning on, also a probe's."""
        row = rows[(ref.pipeline, ref.record_id)]
        return row.attempts - (row.claim_token is not None)

    def must_fail(self, ref: DocumentRef, error_class: str | None) -> None:
        """A document of the plan has to end SYNC_FAILED, with this class where one is given."""
        if error_class is not None:
            self.classes[(ref.pipeline, ref.record_id)] = error_class
        self.plan = DemoPlan(
            succeed=tuple(sound for sound in self.plan.succeed if sound != ref),
            fail=(*self.plan.fail, ref),
        )

    def forget(self, ref: DocumentRef) -> None:
        """A document is none of ours any more: nothing is expected of it."""
        self.plan = DemoPlan(
            succeed=tuple(sound for sound in self.plan.succeed if sound != ref),
            fail=self.plan.fail,
        )

    def is_done(self) -> bool:
        """Whether every document has a final status and nobody holds any."""
        return is_settled(self.plan, self._look())

    def are_done(self, refs: Iterable[DocumentRef]) -> bool:
        """Whether these have a final status."""
        rows = self._look()
        return all(rows[(ref.pipeline, ref.record_id)].status != SyncStatus.PENDING for ref in refs)

    def _look(self) -> Rows:
        rows = self.rows()
        if self.unhindered:
            self.watch.look(self.plan.succeed, rows, self.bench.looks(), self.bench.now())
        return rows

    # -- the national API -------------------------------------------------------------------------

    @property
    def sandbox(self) -> SandboxAdmin:
        return self.bench.system.sandbox

    def add_fault(self, effect: str, operation: str = "create", **fields: Any) -> list[str]:
        """A fault for calls about the trial's own pipelines; ids of its rules, one a pipeline."""
        return [
            self.sandbox.add_fault(
                effect, operation=operation, resource=pipeline.resource, **fields
            )
            for pipeline in self.pipelines
        ]

    def end_faults(self, ids: Sequence[str]) -> None:
        for fault_id in ids:
            self.sandbox.clear_faults(fault_id)

    def fired(self, ids: Sequence[str]) -> int:
        """How often these faults met a call."""
        counts = self.sandbox.summary()["faults_fired"]
        return sum(counts.get(fault_id, 0) for fault_id in ids)

    def slow_down(self, milliseconds: float) -> list[str]:
        """Make the API slow, so that there is a middle of a batch to do harm in."""
        return self.add_fault("latency", ms=milliseconds)

    def count(self, what: str) -> int:
        """A total of the trial's own calls: `accepted`, `posts`, `lookups`, …"""
        totals = self.sandbox.summary()["by_resource"]
        return sum(totals.get(pipeline.resource, {}).get(what, 0) for pipeline in self.pipelines)

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The trial's own submissions after a number, in the order of arrival."""
        resources = {pipeline.resource for pipeline in self.pipelines}
        return [
            call
            for call in self.sandbox.calls(since)
            if call["operation"] == "create" and call["resource"] in resources
        ]

    def wait_all_accepted(self) -> None:
        """Wait until the API has every sound document.

        Raises:
            Overdue.
        """
        total = len(self.plan.succeed)
        self.wait(lambda: self.count("accepted") >= total, "every sound document accepted")

    # -- workers ----------------------------------------------------------------------------------

    def busy(self) -> list[str]:
        """Workers of the trial that have a flow-run process."""
        parts = [f"worker-{pipeline.name}" for pipeline in self.pipelines]
        return [
            part
            for part in self.bench.workers
            if part.startswith(tuple(parts)) and self.bench.engines(part)
        ]

    def start_slowly(self, milliseconds: float = 600) -> list[str]:
        """Seed, and return in the middle of a batch in each pipeline; ids for `end_faults`.

        Raises:
            Overdue.
        """
        ids = self.slow_down(milliseconds)
        plan = self.seed_documents()
        awaited = {ref.pipeline for ref in plan.documents}

        def all_begun() -> bool:
            totals = self.sandbox.summary()["by_resource"]
            return all(
                totals.get(pipeline.resource, {}).get("posts")
                for pipeline in self.pipelines
                if pipeline.name in awaited
            )

        self.wait(all_begun, "a batch under way in every pipeline")
        return ids

    # -- progress ---------------------------------------------------------------------------------

    def fault(self, kind: str, number: int = 1) -> None:
        """Count faults, and start the clock of the settling anew."""
        self.faults[kind] += number
        self.healed()

    def note_faults(self, kind: str, number: int) -> None:
        """Count faults that happened by themselves since they were set up."""
        self.faults[kind] += number

    def healed(self) -> None:
        """What was broken works again: from here on the settling is timed."""
        self.healed_at = time.monotonic()
        # The round that is under way may still meet what is healed now.
        self.unfinished_before = len(self.bench.unfinished_reconciles()) + 1

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a problem unless the condition holds."""
        if not holds:
            self.problems.append(otherwise)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """As `bench.wait`, with the limit of a whole scenario.

        Raises:
            Overdue.
        """

        def holds() -> object:
            if self.bench.given_up.is_set():
                raise Overdue(f"given up while waiting: {what}")
            return condition()

        wait(holds, what, SETTLE_LIMIT + SECONDS_PER_DOCUMENT * self.documents)


Scenario = Callable[[Trial], None]


def carry_out(name: str, scenario: Scenario, trial: Trial) -> Result:
    """Run one scenario on an emptied system and judge its end.

    Raises:
        PartFailed, httpx.HTTPError: the stack itself is broken.
    """
    try:
        scenario(trial)
        trial.wait(trial.is_done, "every document final and free")
        seconds = time.monotonic() - trial.healed_at
        _wait_for_agreement(trial)
    except (Overdue, SyncError, SQLAlchemyError) as problem:
        trial.problems.append(str(problem))
        seconds = time.monotonic() - trial.healed_at
    names = {pipeline.name for pipeline in trial.pipelines}
    resources = {pipeline.resource for pipeline in trial.pipelines}
    rows, failures = trial.rows(), trial.bench.failures()
    judgement = judge(
        trial.plan,
        rows,
        [c for c in trial.sandbox.documents() if c["resource"] in resources],
        [log for log in trial.bench.logs() if log["pipeline"] in names],
        failures,
        ids_known=trial.ids_known,
        stored_before=trial.stored_before,
    )
    judgement.held_up += trial.watch.held_up.values()
    if trial.content_known:
        judgement.untrue += untrue_successes(rows, *trial.bench.contents(trial.pipelines))
    judgement.disagreements += wrong_classes(trial.classes, failures)
    unfinished = trial.bench.unfinished_reconciles()[trial.unfinished_before :]
    judgement.disagreements += [f"reconcile did not complete: {line}" for line in unfinished]
    return Result(
        name=name,
        documents=len(trial.plan.documents),
        faults=dict(trial.faults),
        judgement=judgement,
        seconds=seconds,
        problems=tuple(trial.problems),
    )


def _wait_for_agreement(trial: Trial) -> None:
    """Wait until Prefect shows nothing as running that is not, and no log is open.

    Counted in rounds of reconcile since the last flow-run process ended, not in seconds.
    """
    bench = trial.bench
    names = {pipeline.name for pipeline in trial.pipelines}
    flows = [*names, *(pipeline.noun for pipeline in trial.pipelines)]
    calm_since = bench.rounds()

    def logs_closed() -> bool:
        logs = [log for log in bench.logs() if log["pipeline"] in names]
        return not any("still" in line for line in log_disagreements({}, logs))

    def agrees() -> bool:
        nonlocal calm_since
        if trial.busy():
            calm_since = bench.rounds()
            return False
        runs = bench.runs(flows)
        if not runs:
            return logs_closed()
        if bench.rounds() - calm_since > ROUNDS_TO_AGREE:
            shown = ", ".join(f"{run['name']} ({run['state_name']})" for run in runs[:5])
            raise Overdue(f"after two rounds of reconcile Prefect still shows as running: {shown}")
        return False

    trial.wait(agrees, "Prefect and the logs agree with the truth")
