"""Compares the final state of a scenario's documents with the required one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.local.demo.documents import DemoPlan
from deployments.local.sandbox.store import DocumentCounters
from deployments.local.verdict import Key, key_of
from lib.models import DocumentRef, LogStatus, StoredDocument, SyncStatus
from tests.faults.content import Content

Rows = Mapping[tuple[str, int], StoredDocument]

_OPEN = {status.value for status in LogStatus if status.is_open}
_FINAL = {
    SyncStatus.SUCCESS: LogStatus.SUCCESS.value,
    SyncStatus.FAILED: LogStatus.FAILED.value,
}


@dataclass(slots=True)
class Violations:
    """The violations that were found, by kind.

    Attributes:
        lost: valid documents that were not accepted, or whose row does not show it; faulty ones
            that are not reported.
        twice: documents the national API accepted more than once.
        wrongly_failed: valid documents that were marked failed.
        held_up: documents that waited although they were due.
        untrue: documents in SYNC_SUCCESS whose content the national API does not have.
        disagreements: anything else that must not happen.
    """

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrongly_failed: list[str] = field(default_factory=list)
    held_up: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (
            self.lost
            or self.twice
            or self.wrongly_failed
            or self.held_up
            or self.untrue
            or self.disagreements
        )


def find_violations(
    plan: DemoPlan,
    rows: Rows,
    counters: Iterable[DocumentCounters],
    logs: Iterable[Mapping[str, Any]],
    failures: Iterable[Mapping[str, Any]],
    *,
    ids_known: bool = True,
    stored_before: Collection[DocumentRef] = (),
) -> Violations:
    """Compare source rows, the API's own counts and the logs with the plan.

    Args:
        counters: of every document the API accepted at any time.
        logs, failures: all of `task_logs` and `sync_failures`.
        ids_known: False if the API may not have returned every national id.
        stored_before: documents that must fail although the API has them.
    """
    violations = Violations()
    accepted = {(c["resource"], c["ma_co_so"], c["code"]): c for c in counters if c["accepted"]}
    for ref in plan.succeed:
        counts = accepted.pop(key_of(ref), None)
        row = rows.get((ref.pipeline, ref.record_id))
        _check_sound(violations, ref, row, counts, ids_known=ids_known)
    reported = {(row["pipeline"], row["record_id"]) for row in failures}
    for ref in plan.fail:
        if ref in stored_before:
            accepted.pop(key_of(ref), None)
        row = rows.get((ref.pipeline, ref.record_id))
        if row is None or row.status is not SyncStatus.FAILED or not row.message:
            violations.lost.append(f"{_name(ref)}: faulty, and is {_state(row)}")
        elif (ref.pipeline, ref.record_id) not in reported:
            violations.disagreements.append(f"{_name(ref)}: failed without a failure record")
    violations.disagreements += [
        f"{'/'.join(key)}: accepted, but must not be" for key in sorted(accepted)
    ]
    earlier = {(ref.pipeline, ref.record_id) for ref in stored_before}
    # A document that was accepted first and refused later has one log for each.
    now = {key: row for key, row in rows.items() if key not in earlier}
    violations.disagreements += log_disagreements(now, logs)
    return violations


def wrong_classes(
    wanted: Mapping[tuple[str, int], str], failures: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Documents whose latest failure does not have the required class."""
    found = {(row["pipeline"], row["record_id"]): row["error_class"] for row in failures}
    return [
        f"{pipeline} {record_id}: failed as {found.get((pipeline, record_id))}, not as {kind}"
        for (pipeline, record_id), kind in wanted.items()
        if found.get((pipeline, record_id)) != kind
    ]


def untrue_successes(
    rows: Rows, source: Mapping[Key, Content], api: Mapping[Key, Content]
) -> list[str]:
    """Documents that are SYNC_SUCCESS with a content that the API does not have.

    Args:
        source, api: content by resource, facility and code.
    """
    lines = []
    for row in rows.values():
        key = key_of(row.ref)
        if row.status != SyncStatus.SUCCESS or key not in source:
            continue
        if key not in api:
            lines.append(f"{_name(row.ref)}: {row.status}, but the API does not have it")
        elif source[key] != api[key]:
            lines.append(f"{_name(row.ref)}: {row.status}, but the API has another content")
    return lines


def _check_sound(
    violations: Violations,
    ref: DocumentRef,
    row: StoredDocument | None,
    counts: DocumentCounters | None,
    *,
    ids_known: bool,
) -> None:
    if counts is not None and counts["accepted"] > 1:
        violations.twice.append(f"{_name(ref)}: accepted {counts['accepted']} times")
    if row is not None and row.status is SyncStatus.FAILED:
        violations.wrongly_failed.append(f"{_name(ref)}: {row.message}")
    elif row is None or row.status is not SyncStatus.SUCCESS:
        violations.lost.append(f"{_name(ref)}: {_state(row)}")
    elif counts is None:
        violations.lost.append(f"{_name(ref)}: {row.status}, but the API never accepted it")
    elif row.national_id != counts["national_id"] and (ids_known or row.national_id):
        violations.lost.append(
            f"{_name(ref)}: has the national id {row.national_id}, not {counts['national_id']}"
        )


def log_disagreements(rows: Rows, logs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Log entries that are still open, or that differ from the source database."""
    lines = []
    for log in logs:
        row = rows.get((log["pipeline"], log["record_id"]))
        label = f"log of {log['pipeline']} {log['local_id']}"
        if log["status"] in _OPEN:
            lines.append(f"{label}: still {log['status']}")
        elif row is not None and log["status"] in _FINAL.values():
            if _FINAL.get(row.status) != log["status"]:
                lines.append(f"{label}: {log['status']}, the document is {row.status}")
            elif log.get("national_id") not in (None, row.national_id):
                lines.append(f"{label}: another national id than the document")
    return lines


def is_settled(plan: DemoPlan, rows: Rows) -> bool:
    """Whether every document has a final status and none is claimed."""
    wanted = {(ref.pipeline, ref.record_id) for ref in plan.documents}
    return wanted <= rows.keys() and all(
        row.status is not SyncStatus.PENDING and row.claim_token is None for row in rows.values()
    )


def order_violations(claims: Sequence[Sequence[int]]) -> list[str]:
    """Claims that hold an older document than an earlier claim did.

    Args:
        claims: age ranks of the documents of each claim of one pipeline (0 is the oldest), in
            the order of the claims.
    """
    lines = []
    youngest = -1
    for number, ranks in enumerate(claims, start=1):
        if not ranks:
            continue
        if min(ranks) < youngest:
            lines.append(
                f"claim {number} holds document {min(ranks)} by age, "
                f"an earlier claim already held {youngest}"
            )
        youngest = max(youngest, *ranks)
    return lines


def _state(row: StoredDocument | None) -> str:
    if row is None:
        return "not in the source any more"
    return f"{row.status}" + (f" ({row.message})" if row.message else "")


def _name(ref: DocumentRef) -> str:
    return f"{ref.pipeline} {ref.local_id}"
