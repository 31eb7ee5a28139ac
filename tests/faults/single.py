"""Scenarios in which single documents are bad: no other document may wait for them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, pairwise
from typing import Any

import psutil
from sqlalchemy import text, update

from lib.models import DocumentRef
from lib.pipelines import Pipeline, get_pipeline
from tests.faults.crashes import kill_all
from tests.faults.scenario import ScenarioRun

#: Earlier than every demo document, so that a bad one is claimed first.
LONG_AGO = datetime.fromisoformat("2026-09-01T09:30")
#: Crashes until a document is set aside: in a whole batch, in halves of it, and alone.
MOST_DEATHS = 12
#: Calls about one document within this time are retries within one run, s.
RUN_GAP = 3.0


@dataclass(frozen=True, slots=True)
class Misanswer:
    """Wrong answers to calls about one document, and the document's required final state.

    Attributes:
        faults: rules of the sandbox; those without `operation` apply to submissions.
        error_class: of its failure.
        fails: it must fail, with any class; if neither is given, it must be accepted.
    """

    faults: tuple[dict[str, Any], ...]
    error_class: str | None = None
    fails: bool = False


def _refused(status: int, words: str) -> dict[str, Any]:
    """An answer in the API's own envelope."""
    return {"effect": "status", "status": status, "body": {"code": status, "mess": words}}


#: Answers to every call about the document.
_ALWAYS = {
    "answered 500": Misanswer(({"effect": "status", "status": 500},), "attempts_exhausted"),
    "blocked by a firewall": Misanswer(
        ({"effect": "html", "status": 403, "text": "Request blocked by security policy"},),
        fails=True,
    ),
    "answered nothing": Misanswer(({"effect": "empty"},), "attempts_exhausted"),
}
_FAILED_WORDS = {"code": 200, "success": False, "mess": "Chưa ghi nhận"}
_ONCE = {"times": 1}
#: Refusals that look like something else, and acceptances that look like refusals.
_DECEPTIVE = {
    "404 about its content": Misanswer(
        (_refused(404, "Không tìm thấy thuốc DQG00019999 trong danh mục"),), "rejected"
    ),
    "409 about the stock": Misanswer((_refused(409, "Tồn kho không đủ"),), "rejected"),
    "400 about a line that is there twice": Misanswer(
        (_refused(400, "Mã thuốc bị trùng trong chi tiết"),), "rejected"
    ),
    "stored, 200 that says it failed": Misanswer(
        ({"effect": "status", "status": 200, "body": _FAILED_WORDS, "after_store": True} | _ONCE,)
    ),
    "not stored, 200 that says it failed": Misanswer(
        ({"effect": "status", "status": 200, "body": _FAILED_WORDS} | _ONCE,)
    ),
    "stored, 503 with a short wait": Misanswer(
        ({"effect": "status", "status": 503, "retry_after": 1, "after_store": True} | _ONCE,)
    ),
    "stored, 408 with a short wait": Misanswer(
        ({"effect": "status", "status": 408, "retry_after": 1, "after_store": True} | _ONCE,)
    ),
    "stored, no answer, look-up answered with a page": Misanswer(
        (
            {"effect": "reset", "after_store": True} | _ONCE,
            {"effect": "html", "status": 200, "operation": "lookup", "times": 2},
        )
    ),
    "stored, no answer, look-up redirected": Misanswer(
        (
            {"effect": "reset", "after_store": True} | _ONCE,
            {"effect": "status", "status": 302, "operation": "lookup", "times": 2},
        )
    ),
}


def one_bad_document(run: ScenarioRun) -> None:
    """The oldest document of each pipeline always gets a wrong answer."""
    run.check_hold_ups = True
    run.seed_documents()
    ids: list[str] = []
    for pipeline, (kind, wrong) in zip(run.pipelines, _ALWAYS.items(), strict=False):
        (ref,) = _of(run, pipeline, 1)
        _make_oldest(run, ref)
        ids += _spoil(run, ref, kind, wrong)
    bad = {ref.local_id for ref in run.plan.fail}
    run.wait(lambda: run.are_done(run.plan.succeed), "all others accepted")
    run.problems += _repeated_tries(run, bad)

    def bad_ones_ended() -> bool:
        if run.are_done(run.plan.fail):
            return True
        # The shops keep selling: while no call succeeds, a failure may be an outage and costs no
        # attempt.
        if run.are_done(run.plan.succeed):
            run.seed_documents(len(run.pipelines))
        return False

    run.wait(bad_ones_ended, "the bad ones ended as well")
    run.wait(run.is_done, "every document final and free")
    run.end_faults(ids)
    run.faults_ended()


def crash_poison(run: ScenarioRun) -> None:
    """Every process that sends a certain document dies before it can report anything."""
    run.check_hold_ups = True
    run.seed_documents()

    poison = {}
    ids = []
    for pipeline in run.pipelines:
        (ref,) = _of(run, pipeline, 1)
        poison[ref.local_id] = pipeline
        for operation in ("create", "lookup"):
            match = {"operation": operation, "code": ref.local_id}
            ids.append(run.sandbox.add_fault("latency", ms=8000, match=match))
            ids.append(run.sandbox.add_fault("status", status=500, match=match))
        run.must_fail(ref, "crashes_worker")
    seen, sending = run.sandbox.last_call(), set[str]()

    def all_done() -> bool:
        nonlocal seen
        for call in run.sandbox.calls(seen):
            seen = max(seen, call["seq"])
            if call["code"] in poison:
                sending.add(call["code"])
        for code in list(sending):
            if _kill_run_of(run, code, f"worker-{poison[code].name}"):
                sending.remove(code)
                run.fault("process killed by a document")
        return run.is_done()

    run.wait(all_done, "every document final, the deadly ones set aside")
    most = MOST_DEATHS * len(run.pipelines)
    run.expect(run.faults.total() <= most, f"{run.faults.total()} deaths, at most {most}")
    run.end_faults(ids)


def wrong_refusals(run: ScenarioRun) -> None:
    """Answers to single documents that mean something else than they seem to."""
    run.check_hold_ups = True
    run.seed_documents()
    ids: list[str] = []
    free = {pipeline.name: iter(_of(run, pipeline, len(_DECEPTIVE))) for pipeline in run.pipelines}
    # A small load may not have a document for each answer.
    for pipeline, (kind, wrong) in zip(cycle(run.pipelines), _DECEPTIVE.items(), strict=False):
        if ref := next(free[pipeline.name], None):
            ids += _spoil(run, ref, kind, wrong)
    run.wait(run.is_done, "every document final and free")
    run.end_faults(ids)
    run.faults_ended()


def foreign_values(run: ScenarioRun) -> None:
    """Rows left by other software over years: some cannot be sent, none may block another."""
    run.check_hold_ups = True
    run.seed_documents()
    harness = run.harness
    for pipeline in run.pipelines:
        unreadable, old, foreign = _of(run, pipeline, 3)
        details = harness.tables.details(pipeline)
        header = harness.tables.header(pipeline)
        with harness.engine.begin() as connection:
            # PostgreSQL accepts a year that Python's `date` cannot represent.
            connection.execute(
                update(details)
                .where(harness.tables.foreign_key(pipeline) == unreadable.record_id)
                .values(expiry_date=text("'20280-01-01'"))
            )
            # The value that '' becomes in a DATETIME column.
            connection.execute(
                update(header)
                .where(header.c.id == old.record_id)
                .values(created_at=datetime.fromisoformat("1900-01-01"))
            )
            connection.execute(
                update(header).where(header.c.id == foreign.record_id).values(status="CANCELLED")
            )
        run.must_fail(unreadable, "invalid")
        run.forget(foreign)
        run.fault("row of other software", 3)
    run.wait(run.is_done, "every document final and free")


def _spoil(run: ScenarioRun, ref: DocumentRef, kind: str, wrong: Misanswer) -> list[str]:
    run.fault(kind)
    if wrong.fails or wrong.error_class is not None:
        run.must_fail(ref, wrong.error_class)
    ids = []
    for fault in wrong.faults:
        fields = dict(fault)
        match = {
            "operation": fields.pop("operation", "create"),
            "resource": get_pipeline(ref.pipeline).resource,
            "code": ref.local_id,
        }
        ids.append(run.sandbox.add_fault(fields.pop("effect"), match=match, **fields))
    return ids


def _kill_run_of(run: ScenarioRun, code: str, worker: str) -> bool:
    """Kill only the run that holds a document now; False if that run is not known yet."""
    logs = [log for log in run.harness.logs() if log["local_id"] == code]
    latest = max(logs, key=lambda log: log["created_at"], default={})
    run_id = latest.get("flow_run_id")
    if latest.get("status") != "RUNNING" or run_id is None:
        return False
    for process in run.harness.engines(worker):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                kill_all([process])
                return True
    return False


def _of(run: ScenarioRun, pipeline: Pipeline, number: int) -> Sequence[DocumentRef]:
    """Some valid documents of a pipeline."""
    return [ref for ref in run.plan.succeed if ref.pipeline == pipeline.name][:number]


def _make_oldest(run: ScenarioRun, ref: DocumentRef) -> None:
    pipeline = get_pipeline(ref.pipeline)
    header = run.harness.tables.header(pipeline)
    with run.harness.engine.begin() as connection:
        connection.execute(
            update(header)
            .where(header.c.id == ref.record_id)
            .values({header.c[pipeline.date_column]: LONG_AGO, header.c.created_at: LONG_AGO})
        )


def _repeated_tries(run: ScenarioRun, bad: set[str]) -> list[str]:
    """Bad documents that were tried by two runs in a row while others waited."""
    by_resource: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for call in run.calls():
        by_resource[call["resource"]].append(call)
    lines = []
    for resource, calls in by_resource.items():
        good = [number for number, call in enumerate(calls) if call["code"] not in bad]
        waited_for = calls[: max(good, default=0)]
        tries = [(number, call) for number, call in enumerate(waited_for) if call["code"] in bad]
        lines += [
            f"{resource}: {call['code']} was tried twice in a row while others waited"
            for (first, _), (second, call) in pairwise(tries)
            # Within one run a call is retried at once; a second run starts after a pause.
            if second == first + 1 and call["at"] - calls[first]["at"] > RUN_GAP
        ]
    return lines
