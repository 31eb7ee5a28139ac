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
from tests.faults.bench import BREAKER_PAUSE
from tests.faults.judgement import order_violations
from tests.faults.trial import Trial

#: Each with what it does to a call; most hide that the document was stored.
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
#: Places of a half-open breaker after its first openings, and calls of one probe within its run.
MOST_PROBES, TRIES = 6, 3
#: Documents that open a breaker; with one more, for those of a single shop.
OPENS_AT = BreakerSettings().documents + 1
#: Longer than a call waits on the spot, so that the account's other calls wait as well.
_LONG_RETRY_AFTER = 6


def answers(trial: Trial) -> None:
    """Answers that are missing, cut off or senseless, before and after a document is stored."""
    each = trial.documents // len(trial.pipelines)
    # Some apart, where there are enough documents, so that few of them wait for a breaker.
    most = max(0, each - len(_MISBEHAVIOUR))
    rules = {
        kind: trial.add_fault(times=max(1, each // 40), skip=min(number, most), **fault)
        for number, (kind, fault) in enumerate(_MISBEHAVIOUR.items())
    }
    trial.seed_documents()
    trial.wait(lambda: all(map(trial.fired, rules.values())), "every fault has met a call")
    trial.healed()
    trial.wait(trial.is_done, "every document final and free")
    for kind, ids in rules.items():
        trial.note_faults(kind, trial.fired(ids))


def no_look_up(trial: Trial) -> None:
    """The API has no look-up: what it may have is sent again, and it says that it has it."""
    own = [pipeline.resource for pipeline in trial.pipelines]
    trial.sandbox.set_options(no_lookup_for=own, reject_duplicates_for=own)
    trial.ids_known = False
    unanswered = trial.add_fault(
        "accept_then_hang", seconds=10, times=max(1, trial.documents // (50 * len(trial.pipelines)))
    )
    trial.seed_documents()
    trial.wait(lambda: trial.fired(unanswered), "a document stored and not answered")
    trial.healed()
    trial.wait(trial.is_done, "every document final and free")
    trial.note_faults("stored, no answer", trial.fired(unanswered))
    trial.expect(trial.count("duplicates"), "no document was sent a second time")


def outage(trial: Trial) -> None:
    """Every call is answered 503 for a while: calls stop but for few probes; then it is over."""
    down = trial.add_fault("status", status=503)
    trial.seed_documents(max(trial.documents // 3, 8 * len(trial.pipelines)))
    # A pipeline of fewer documents opens no breaker, and yet none of them may be given up.
    seeded = Counter(ref.pipeline for ref in trial.plan.documents)
    breakers = [f"dqg:breaker:pipeline:{p}" for p, n in seeded.items() if n >= OPENS_AT]
    trial.wait(
        lambda: all(b'"open_until"' in (trial.bench.redis.get(name) or b"") for name in breakers),
        "every breaker open",
    )
    # Those that come now were never tried, so their order shows in what age they are claimed.
    backlog = trial.seed_documents(trial.documents - len(trial.plan.documents))
    _spread_ages(trial, backlog)
    trial.wait(lambda: not trial.busy(), "calls have stopped")
    opened, began = trial.sandbox.last_call(), time.monotonic()
    trial.wait(lambda: _probed_again(trial, opened), "a second round of probes")
    _check_probes(trial, trial.calls(opened), time.monotonic() - began)
    trial.note_faults("answer 503", trial.fired(down))
    accepted = trial.count("accepted")
    trial.expect(accepted == 0, f"{accepted} documents accepted in the outage")
    trial.end_faults(down)
    trial.healed()
    trial.wait_all_accepted()
    for pipeline in trial.pipelines:
        trial.problems += _order_problems(trial, pipeline, backlog)


def throttled(trial: Trial) -> None:
    """The API answers 429 with a Retry-After: the pace drops to what it asks."""
    short = trial.add_fault(
        "status",
        status=429,
        retry_after=1,
        probability=0.4,
        times=max(4, trial.documents // (5 * len(trial.pipelines))),
    )
    long = trial.add_fault("status", status=429, retry_after=_LONG_RETRY_AFTER, times=1)
    trial.seed_documents()
    trial.wait(lambda: trial.fired(short) and trial.fired(long), "somebody throttled")
    trial.healed()
    trial.wait_all_accepted()
    trial.note_faults("answer 429", trial.fired(short))
    trial.note_faults("answer 429 with a long wait", trial.fired(long))
    calls = trial.calls()
    for fault_id in long:
        told = next(call for call in calls if fault_id in call["faults"])
        # What was under way when the answer came could not know of it.
        after = [
            call
            for call in calls
            if call["usr"] == told["usr"]
            and told["at"] + 2.5 < call["at"] < told["at"] + _LONG_RETRY_AFTER
        ]
        trial.expect(
            not after,
            f"{len(after)} calls of {told['usr']} while it was told to wait",
        )


def _probed_again(trial: Trial, since: int) -> bool:
    """Whether a pipeline was probed, and once more after a cool-down."""
    times: dict[str, list[float]] = defaultdict(list)
    for call in trial.calls(since):
        times[call["resource"]].append(call["at"])
    return any(max(found) - min(found) >= BREAKER_PAUSE for found in times.values())


def _check_probes(trial: Trial, probes: list[dict[str, Any]], seconds: float) -> None:
    """Per cool-down no more documents are tried than the breaker has places for."""
    tried: dict[str, int] = defaultdict(int)
    for probe in probes:
        tried[probe["resource"]] += 1
    most = (seconds / BREAKER_PAUSE + 1) * MOST_PROBES * TRIES
    for resource, number in tried.items():
        trial.expect(
            number <= most,
            f"{resource}: {number} calls in {seconds:.0f} s while the breaker was open",
        )


def _spread_ages(trial: Trial, plan: DemoPlan) -> None:
    """Give documents of one date an order unlike that of the ids."""
    refs = list(plan.documents)
    trial.rng.shuffle(refs)
    with trial.bench.engine.begin() as connection:
        for minutes, ref in enumerate(refs, start=1):
            header = trial.bench.tables.header(get_pipeline(ref.pipeline))
            connection.execute(
                update(header)
                .where(header.c.id == ref.record_id)
                .values(created_at=func.now() - timedelta(minutes=minutes))
            )


def _order_problems(trial: Trial, pipeline: Pipeline, backlog: DemoPlan) -> list[str]:
    """Whether each shop's documents that were never tried before were claimed oldest first."""
    header = trial.bench.tables.header(pipeline)
    with trial.bench.engine.connect() as connection:
        by_age = connection.execute(
            select(header.c.id).order_by(
                header.c[pipeline.date_column], header.c.created_at, header.c.id
            )
        ).scalars()
        rank = {record_id: number for number, record_id in enumerate(by_age)}
    tries: dict[int, int] = defaultdict(int)
    claims: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ours = {ref.record_id for ref in backlog.documents if ref.pipeline == pipeline.name}
    for log in trial.bench.logs():
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
