"""One scenario on the harness: its documents, the injected faults, and the results.

Each run has separate pipelines, with their workers and their part of the API. So several may run
in parallel if each injects faults only into its own part.
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
from tests.faults.assertions import (
    Rows,
    find_violations,
    is_settled,
    log_disagreements,
    untrue_successes,
    wrong_classes,
)
from tests.faults.harness import Harness, Overdue, wait
from tests.faults.report import Result
from tests.faults.watch import HoldUpWatch

#: Limit of one scenario; far more than it takes, so that only a hang reaches it.
SETTLE_LIMIT = 300.0
SECONDS_PER_DOCUMENT = 0.6
#: Rounds of reconcile after which Prefect and the logs must agree with the actual state: the round
#: in progress, if any, and two complete ones.
ROUNDS_TO_AGREE = 3


@dataclass(slots=True)
class ScenarioRun:
    """The state of a running scenario, which injects its faults, repairs them, and returns.

    Attributes:
        pipelines: of the scenario; it does not affect runs and calls of other ones.
        plan: required results of the documents so far.
        faults: how many were injected, by kind.
        problems: expectations that were not met.
        ids_known: whether the API returns the national id of every document.
        content_known: whether the content that the API has stored can be read.
        stored_before: documents that must fail although the API has them.
        check_hold_ups: whether no document may wait longer than some rounds; for scenarios in
            which only single documents are bad.
        classes: error class that a document must fail with, by pipeline and primary key.
        unfinished_before: rounds of reconcile that had failed when the last fault was repaired.
        ended_at: when the last fault began or ended, on the monotonic clock.
    """

    harness: Harness
    documents: int
    seed: int
    rng: random.Random
    pipelines: Sequence[Pipeline] = tuple(PIPELINES.values())
    plan: DemoPlan = field(default_factory=lambda: DemoPlan((), ()))
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    ids_known: bool = True
    content_known: bool = True
    check_hold_ups: bool = False
    stored_before: set[DocumentRef] = field(default_factory=set)
    classes: dict[tuple[str, int], str] = field(default_factory=dict)
    unfinished_before: int = 0
    watch: HoldUpWatch = field(default_factory=HoldUpWatch)
    ended_at: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    # -- documents --------------------------------------------------------------------------------

    def seed_documents(self, documents: int | None = None, faulty_share: float = 0) -> DemoPlan:
        """Insert new documents, by default as many as the run has; returns only these."""
        # A new seed for each call, so that no code is used twice.
        self.seed += 1
        added = self.harness.seed(
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
        return self.harness.rows(self.plan)

    def spent_attempts(self, ref: DocumentRef, rows: Rows) -> int:
        """Attempts that have ended; the row counts an attempt from its claim on, also a probe's."""
        row = rows[(ref.pipeline, ref.record_id)]
        return row.attempts - (row.claim_token is not None)

    def must_fail(self, ref: DocumentRef, error_class: str | None) -> None:
        """Require that a document of the plan ends SYNC_FAILED, with this class if one is given."""
        if error_class is not None:
            self.classes[(ref.pipeline, ref.record_id)] = error_class
        self.plan = DemoPlan(
            succeed=tuple(sound for sound in self.plan.succeed if sound != ref),
            fail=(*self.plan.fail, ref),
        )

    def forget(self, ref: DocumentRef) -> None:
        """Remove a document from the plan: nothing is expected of it."""
        self.plan = DemoPlan(
            succeed=tuple(sound for sound in self.plan.succeed if sound != ref),
            fail=self.plan.fail,
        )

    def is_done(self) -> bool:
        """Whether every document has a final status and none is claimed."""
        return is_settled(self.plan, self._look())

    def are_done(self, refs: Iterable[DocumentRef]) -> bool:
        """Whether these documents have a final status."""
        rows = self._look()
        return all(rows[(ref.pipeline, ref.record_id)].status != SyncStatus.PENDING for ref in refs)

    def _look(self) -> Rows:
        rows = self.rows()
        if self.check_hold_ups:
            self.watch.look(
                self.plan.succeed, rows, self.harness.orchestrator_rounds(), self.harness.now()
            )
        return rows

    # -- the national API -------------------------------------------------------------------------

    @property
    def sandbox(self) -> SandboxAdmin:
        return self.harness.system.sandbox

    def add_fault(self, effect: str, operation: str = "create", **fields: Any) -> list[str]:
        """Add a fault for the run's pipelines; returns the ids of its rules, one per pipeline."""
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
        """How often these faults fired."""
        counts = self.sandbox.summary()["faults_fired"]
        return sum(counts.get(fault_id, 0) for fault_id in ids)

    def slow_down(self, milliseconds: float) -> list[str]:
        """Make the API slow, so that faults can be injected in the middle of a batch."""
        return self.add_fault("latency", ms=milliseconds)

    def count(self, what: str) -> int:
        """A total of the run's own calls: `accepted`, `posts`, `lookups`, …"""
        totals = self.sandbox.summary()["by_resource"]
        return sum(totals.get(pipeline.resource, {}).get(what, 0) for pipeline in self.pipelines)

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The run's own submissions after this number, in the order of arrival."""
        resources = {pipeline.resource for pipeline in self.pipelines}
        return [
            call
            for call in self.sandbox.calls(since)
            if call["operation"] == "create" and call["resource"] in resources
        ]

    def wait_all_accepted(self) -> None:
        """Wait until the API has every valid document.

        Raises:
            Overdue.
        """
        total = len(self.plan.succeed)
        self.wait(lambda: self.count("accepted") >= total, "every sound document accepted")

    # -- workers ----------------------------------------------------------------------------------

    def busy(self) -> list[str]:
        """Workers of the run that have a flow-run process."""
        parts = [f"worker-{pipeline.name}" for pipeline in self.pipelines]
        return [
            part
            for part in self.harness.workers
            if part.startswith(tuple(parts)) and self.harness.engines(part)
        ]

    def start_slowly(self, milliseconds: float = 600) -> list[str]:
        """Seed, and return in the middle of a batch of each pipeline, with ids for `end_faults`.

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
        """Count faults, and restart the timing of the recovery."""
        self.faults[kind] += number
        self.faults_ended()

    def note_faults(self, kind: str, number: int) -> None:
        """Count faults that fired after they were added to the sandbox."""
        self.faults[kind] += number

    def faults_ended(self) -> None:
        """The faults are repaired: the timing of the recovery starts here."""
        self.ended_at = time.monotonic()
        # The round in progress may still be affected by the repaired fault.
        self.unfinished_before = len(self.harness.unfinished_reconciles()) + 1

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a problem unless the condition holds."""
        if not holds:
            self.problems.append(otherwise)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """As `harness.wait`, with the limit of a whole scenario.

        Raises:
            Overdue.
        """

        def holds() -> object:
            if self.harness.given_up.is_set():
                raise Overdue(f"given up while waiting: {what}")
            return condition()

        wait(holds, what, SETTLE_LIMIT + SECONDS_PER_DOCUMENT * self.documents)


Scenario = Callable[[ScenarioRun], None]


def carry_out(name: str, scenario: Scenario, run: ScenarioRun) -> Result:
    """Run one scenario on an emptied system and check its result.

    Raises:
        ServiceFailed, httpx.HTTPError: the stack itself is broken.
    """
    try:
        scenario(run)
        run.wait(run.is_done, "every document final and free")
        seconds = time.monotonic() - run.ended_at
        _wait_for_agreement(run)
    except (Overdue, SyncError, SQLAlchemyError) as problem:
        run.problems.append(str(problem))
        seconds = time.monotonic() - run.ended_at
    names = {pipeline.name for pipeline in run.pipelines}
    resources = {pipeline.resource for pipeline in run.pipelines}
    rows, failures = run.rows(), run.harness.failures()
    violations = find_violations(
        run.plan,
        rows,
        [c for c in run.sandbox.documents() if c["resource"] in resources],
        [log for log in run.harness.logs() if log["pipeline"] in names],
        failures,
        ids_known=run.ids_known,
        stored_before=run.stored_before,
    )
    violations.held_up += run.watch.held_up.values()
    if run.content_known:
        violations.untrue += untrue_successes(rows, *run.harness.contents(run.pipelines))
    violations.disagreements += wrong_classes(run.classes, failures)
    unfinished = run.harness.unfinished_reconciles()[run.unfinished_before :]
    violations.disagreements += [f"reconcile did not complete: {line}" for line in unfinished]
    return Result(
        name=name,
        documents=len(run.plan.documents),
        faults=dict(run.faults),
        violations=violations,
        seconds=seconds,
        problems=tuple(run.problems),
    )


def _wait_for_agreement(run: ScenarioRun) -> None:
    """Wait until Prefect shows no ended run as running, and no log is open.

    Counted in rounds of reconcile since the last flow-run process ended, not in seconds.
    """
    harness = run.harness
    names = {pipeline.name for pipeline in run.pipelines}
    flows = [*names, *(pipeline.noun for pipeline in run.pipelines)]
    calm_since = harness.rounds()

    def logs_closed() -> bool:
        logs = [log for log in harness.logs() if log["pipeline"] in names]
        return not any("still" in line for line in log_disagreements({}, logs))

    def agrees() -> bool:
        nonlocal calm_since
        if run.busy():
            calm_since = harness.rounds()
            return False
        runs = harness.runs(flows)
        if not runs:
            return logs_closed()
        if harness.rounds() - calm_since > ROUNDS_TO_AGREE:
            shown = ", ".join(
                f"{flow_run['name']} ({flow_run['state_name']})" for flow_run in runs[:5]
            )
            raise Overdue(f"after two rounds of reconcile Prefect still shows as running: {shown}")
        return False

    run.wait(agrees, "Prefect and the logs agree with the truth")
