"""Scenarios in which the national API misbehaves."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from deployments.local.demo.documents import DemoPlan
from lib.pipelines import Pipeline, get_pipeline
from lib.settings import BreakerSettings
from tests.faults.assertions import order_violations
from tests.faults.harness import BREAKER_PAUSE
from tests.faults.scenario import ScenarioRun

#: Faults, each with its effect on a call; most hide that the document was stored.
_MISBEHAVIOUR: dict[str, dict[str, Any]] = {
    "stored, no answer": {"effect": "accept_then_hang", "seconds": 10},
    "200 with code 500": {"effect": "body200", "code": 500},
    "stored, 200 with code 503": {"effect": "body200", "code": "503", "after_store": True},
    "reset": {"effect": "reset"},
    "stored, reset": {"effect": "reset", "after_store": True},
    "stored, hung up": {"effect": "reset", "after_store": True, "clean": True},
    "stored, HTML": {"effect": "html", "status": 200, "after_store": True},
    "HTML with 502": {"effect": "html", "status": 502},
    "stored, half a JSON": {"effect": "not_json", "after_store": True},
    "stored, empty answer": {"effect": "empty", "after_store": True},
}
#: Maximum probes of a half-open breaker after its first openings, and calls per probe in its run.
MOST_PROBES, TRIES = 6, 3
#: Failing documents that open a breaker, plus one in case all are of a single shop.
OPENS_AT = BreakerSettings().documents + 1
#: Longer than a call waits before its own retry, so that the account's other calls wait as well.
_LONG_RETRY_AFTER = 6


def answers(run: ScenarioRun) -> None:
    """Missing, truncated or meaningless answers, before and after a document is stored."""
    each = run.documents // len(run.pipelines)
    # With enough documents the faults start at different calls, so that few calls wait for a
    # breaker.
    most = max(0, each - len(_MISBEHAVIOUR))
    rules = {
        kind: run.add_fault(times=max(1, each // 40), skip=min(number, most), **fault)
        for number, (kind, fault) in enumerate(_MISBEHAVIOUR.items())
    }
    run.seed_documents()
    run.wait(lambda: all(map(run.fired, rules.values())), "every fault has met a call")
    run.faults_ended()
    run.wait(run.is_done, "every document final and free")
    for kind, ids in rules.items():
        run.note_faults(kind, run.fired(ids))


def no_look_up(run: ScenarioRun) -> None:
    """The API has no look-up: unconfirmed documents are sent again, and it reports duplicates."""
    own = [pipeline.resource for pipeline in run.pipelines]
    run.sandbox.set_options(no_lookup_for=own, reject_duplicates_for=own)
    run.ids_known = False
    unanswered = run.add_fault(
        "accept_then_hang", seconds=10, times=max(1, run.documents // (50 * len(run.pipelines)))
    )
    run.seed_documents()
    run.wait(lambda: run.fired(unanswered), "a document stored and not answered")
    run.faults_ended()
    run.wait(run.is_done, "every document final and free")
    run.note_faults("stored, no answer", run.fired(unanswered))
    run.expect(run.count("duplicates"), "no document was sent a second time")


def outage(run: ScenarioRun) -> None:
    """Every call gets 503 for a while: calls stop, except for a few probes; then it recovers."""
    down = run.add_fault("status", status=503)
    run.seed_documents(max(run.documents // 3, 8 * len(run.pipelines)))
    # A pipeline with fewer documents opens no breaker; its documents must not fail for good either.
    seeded = Counter(ref.pipeline for ref in run.plan.documents)
    breakers = [f"dqg:breaker:pipeline:{p}" for p, n in seeded.items() if n >= OPENS_AT]
    run.wait(
        lambda: all(b'"open_until"' in (run.harness.redis.get(name) or b"") for name in breakers),
        "every breaker open",
    )
    # These new documents were never tried, so they show whether the oldest is claimed first.
    backlog = run.seed_documents(run.documents - len(run.plan.documents))
    _spread_ages(run, backlog)
    run.wait(lambda: not run.busy(), "calls have stopped")
    opened, began = run.sandbox.last_call(), time.monotonic()
    run.wait(lambda: _probed_again(run, opened), "a second round of probes")
    _check_probes(run, run.calls(opened), time.monotonic() - began)
    run.note_faults("answer 503", run.fired(down))
    accepted = run.count("accepted")
    run.expect(accepted == 0, f"{accepted} documents accepted in the outage")
    run.end_faults(down)
    run.faults_ended()
    run.wait_all_accepted()
    for pipeline in run.pipelines:
        run.problems += _order_problems(run, pipeline, backlog)


def throttled(run: ScenarioRun) -> None:
    """The API answers 429 with a Retry-After: the rate drops to the requested one."""
    short = run.add_fault(
        "status",
        status=429,
        retry_after=1,
        probability=0.4,
        times=max(4, run.documents // (5 * len(run.pipelines))),
    )
    long = run.add_fault("status", status=429, retry_after=_LONG_RETRY_AFTER, times=1)
    run.seed_documents()
    run.wait(lambda: run.fired(short) and run.fired(long), "somebody throttled")
    run.faults_ended()
    run.wait_all_accepted()
    run.note_faults("answer 429", run.fired(short))
    run.note_faults("answer 429 with a long wait", run.fired(long))
    calls = run.calls()
    for fault_id in long:
        told = next(call for call in calls if fault_id in call["faults"])
        # Calls in progress when the answer arrived could not take it into account.
        after = [
            call
            for call in calls
            if call["usr"] == told["usr"]
            and told["at"] + 2.5 < call["at"] < told["at"] + _LONG_RETRY_AFTER
        ]
        run.expect(
            not after,
            f"{len(after)} calls of {told['usr']} while it was told to wait",
        )


def _probed_again(run: ScenarioRun, since: int) -> bool:
    """Whether a pipeline was probed, and probed again after a cool-down."""
    times: dict[str, list[float]] = defaultdict(list)
    for call in run.calls(since):
        times[call["resource"]].append(call["at"])
    return any(max(found) - min(found) >= BREAKER_PAUSE for found in times.values())


def _check_probes(run: ScenarioRun, probes: list[dict[str, Any]], seconds: float) -> None:
    """Check that per cool-down no more documents are tried than the breaker allows."""
    tried: dict[str, int] = defaultdict(int)
    for probe in probes:
        tried[probe["resource"]] += 1
    most = (seconds / BREAKER_PAUSE + 1) * MOST_PROBES * TRIES
    for resource, number in tried.items():
        run.expect(
            number <= most,
            f"{resource}: {number} calls in {seconds:.0f} s while the breaker was open",
        )


def _spread_ages(run: ScenarioRun, plan: DemoPlan) -> None:
    """Give documents of the same date an order that differs from that of their ids."""
    refs = list(plan.documents)
    run.rng.shuffle(refs)
    with run.harness.engine.begin() as connection:
        for minutes, ref in enumerate(refs, start=1):
            header = run.harness.tables.header(get_pipeline(ref.pipeline))
            connection.execute(
                update(header)
                .where(header.c.id == ref.record_id)
                .values(created_at=func.now() - timedelta(minutes=minutes))
            )


def _order_problems(run: ScenarioRun, pipeline: Pipeline, backlog: DemoPlan) -> list[str]:
    """Check that each shop's documents that were never tried before were claimed oldest first."""
    header = run.harness.tables.header(pipeline)
    with run.harness.engine.connect() as connection:
        by_age = connection.execute(
            select(header.c.id).order_by(
                header.c[pipeline.date_column], header.c.created_at, header.c.id
            )
        ).scalars()
        rank = {record_id: number for number, record_id in enumerate(by_age)}
    tries: dict[int, int] = defaultdict(int)
    claims: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ours = {ref.record_id for ref in backlog.documents if ref.pipeline == pipeline.name}
    for log in run.harness.logs():
        if log["pipeline"] == pipeline.name and log["record_id"] in ours:
            tries[log["record_id"]] += 1
            claims[log["claim_token"]].append(log)
    in_order = sorted(claims.values(), key=lambda logs: min(log["created_at"] for log in logs))
    lines = []
    for shop in sorted({ref.shop_pharmacy_code for ref in backlog.documents}):
        ranks = [
            [
                rank[log["record_id"]]
                for log in logs
                if log["shop_pharmacy_code"] == shop and tries[log["record_id"]] == 1
            ]
            for logs in in_order
        ]
        lines += [f"{pipeline.name}, {shop}: {line}" for line in order_violations(ranks)]
    return lines
