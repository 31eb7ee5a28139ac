"""Checks the result: every document is accepted once, and the source has the correct status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployments.local.sandbox.store import DocumentCounters
from deployments.local.system import System
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.pipelines import PIPELINES, get_pipeline

#: Maximum number of disagreements that are listed.
SHOWN = 20

Key = tuple[str, str, str]


def find_problems(system: System) -> list[str]:
    """Compare source database and sandbox with the plan; every disagreement is one line.

    Raises:
        StoreUnavailable, httpx.HTTPError: one of them does not answer.
    """
    return disagreements(
        succeed=system.plan.succeed,
        fail=system.plan.fail,
        stored=read_stored(system, (*system.plan.succeed, *system.plan.fail)),
        counters=system.sandbox.documents(),
    )


def read_stored(
    system: System, refs: Iterable[DocumentRef]
) -> dict[tuple[str, int], StoredDocument]:
    """The current rows of the documents in the source, by pipeline and primary key."""
    ids: dict[str, list[int]] = {name: [] for name in PIPELINES}
    for ref in refs:
        ids[ref.pipeline].append(ref.record_id)
    return {
        (name, found.ref.record_id): found
        for name, record_ids in ids.items()
        for found in system.source.documents.get(get_pipeline(name), record_ids)
    }


def disagreements(
    *,
    succeed: Sequence[DocumentRef],
    fail: Sequence[DocumentRef],
    stored: Mapping[tuple[str, int], StoredDocument],
    counters: Sequence[DocumentCounters],
) -> list[str]:
    """One line per disagreement with the plan. Pure.

    Args:
        succeed, fail: documents that must succeed, and documents that must fail.
        stored: the source's rows by pipeline and primary key.
        counters: documents that the sandbox has accepted at any time.
    """
    accepted = {
        (item["resource"], item["ma_co_so"], item["code"]): item["accepted"]
        for item in counters
        if item["accepted"]
    }
    lines: list[str] = []
    for ref in succeed:
        lines += _check_row(ref, stored.get((ref.pipeline, ref.record_id)), SyncStatus.SUCCESS)
        times = accepted.get(key_of(ref), 0)
        if times != 1:
            lines.append(
                f"{_name(ref)}: accepted {times} times by the national API, expected: once"
            )
    for ref in fail:
        lines += _check_row(ref, stored.get((ref.pipeline, ref.record_id)), SyncStatus.FAILED)
    planned = {key_of(ref) for ref in succeed}
    lines += [
        f"{'/'.join(key)}: accepted {times} times by the national API, expected: never"
        for key, times in accepted.items()
        if key not in planned
    ]
    return lines


def key_of(ref: DocumentRef) -> Key:
    """The key of a document at the national API."""
    return (get_pipeline(ref.pipeline).resource, ref.pharmacy_code, ref.local_id)


def _check_row(ref: DocumentRef, row: StoredDocument | None, wanted: SyncStatus) -> list[str]:
    if row is None:
        return [f"{_name(ref)}: is no longer in the source"]
    if row.status != wanted:
        reason = f" ({row.message})" if row.message else ""
        return [f"{_name(ref)}: {row.status}, must be {wanted}{reason}"]
    if wanted is SyncStatus.SUCCESS and not row.national_id:
        return [f"{_name(ref)}: {row.status} without a national id"]
    if wanted is SyncStatus.FAILED and not row.message:
        return [f"{_name(ref)}: {row.status} without a reason"]
    return []


def _name(ref: DocumentRef) -> str:
    return f"{ref.pipeline} {ref.local_id} of {ref.pharmacy_code}"
