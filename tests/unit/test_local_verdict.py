"""The launcher's verdict: silent when all is as planned, one line for whatever is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deployments.local.launcher import summary_lines
from deployments.local.progress import Snapshot
from deployments.local.sandbox.store import DocumentCounters
from deployments.local.verdict import disagreements
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.pipelines import get_pipeline


def ref(number: int, pipeline: str = "sale") -> DocumentRef:
    return DocumentRef(pipeline, number, f"HD-{number}", "790760001234", "S01")


def row(document: DocumentRef, status: SyncStatus) -> StoredDocument:
    succeeded = status is SyncStatus.SUCCESS
    return StoredDocument(
        ref=document,
        status=status,
        national_id=f"QG-{document.record_id}" if succeeded else None,
        message=None if succeeded else "so_lo: is empty",
        claim_token=None,
        lease_expires_at=None,
        lease_live=False,
        attempts=1,
        next_attempt_at=None,
        unconfirmed=False,
        created_at=datetime(2026, 1, 5, tzinfo=UTC),
    )


def counters(document: DocumentRef, accepted: int = 1) -> DocumentCounters:
    return DocumentCounters(
        resource=get_pipeline(document.pipeline).resource,
        ma_co_so=document.pharmacy_code,
        code=document.local_id,
        national_id=None,
        stored=accepted > 0,
        accepted=accepted,
        posts=accepted,
        duplicates=0,
        refused=0,
        updates=0,
        lookups=0,
        deletes=0,
        sequence=None,
        accepted_at=None,
    )


GOOD = [ref(1), ref(2, "import")]
FAULTY = [ref(3)]


def verdict(
    changes: dict[int, StoredDocument | None] | None = None,
    arrived: list[DocumentCounters] | None = None,
) -> list[str]:
    """The lines for a run as planned, but for some changed rows and other counters."""
    rows = [row(r, SyncStatus.SUCCESS) for r in GOOD] + [row(r, SyncStatus.FAILED) for r in FAULTY]
    changed = [(changes or {}).get(r.ref.record_id, r) for r in rows]
    return disagreements(
        succeed=GOOD,
        fail=FAULTY,
        stored={(r.ref.pipeline, r.ref.record_id): r for r in changed if r is not None},
        counters=[counters(r) for r in GOOD] if arrived is None else arrived,
    )


def test_a_run_as_planned_has_no_disagreement() -> None:
    assert verdict() == []


def test_a_refused_document_among_the_counters_is_no_disagreement() -> None:
    assert verdict(arrived=[*map(counters, GOOD), counters(FAULTY[0], accepted=0)]) == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            row(GOOD[0], SyncStatus.FAILED),
            "sale HD-1 of 790760001234: SYNC_FAILED, must be SYNC_SUCCESS (so_lo: is empty)",
        ),
        (
            replace(row(GOOD[0], SyncStatus.SUCCESS), national_id=None),
            "sale HD-1 of 790760001234: SYNC_SUCCESS without a national id",
        ),
        (
            replace(row(FAULTY[0], SyncStatus.FAILED), message=None),
            "sale HD-3 of 790760001234: SYNC_FAILED without a reason",
        ),
        (
            row(FAULTY[0], SyncStatus.SUCCESS),
            "sale HD-3 of 790760001234: SYNC_SUCCESS, must be SYNC_FAILED",
        ),
    ],
)
def test_a_row_that_differs_is_named(changed: StoredDocument, line: str) -> None:
    assert verdict({changed.ref.record_id: changed}) == [line]


def test_a_row_that_is_gone_is_named() -> None:
    assert verdict({1: None}) == ["sale HD-1 of 790760001234: is no longer in the source"]


@pytest.mark.parametrize("times", [0, 2])
def test_a_document_that_was_not_accepted_exactly_once_is_named(times: int) -> None:
    lines = verdict(arrived=[counters(GOOD[0], times), counters(GOOD[1])])
    assert lines == [
        f"sale HD-1 of 790760001234: accepted {times} times by the national API, expected: once"
    ]


def test_a_faulty_or_unknown_document_that_was_accepted_is_named() -> None:
    lines = verdict(arrived=[*map(counters, GOOD), counters(FAULTY[0]), counters(ref(9))])
    assert [line.split(":")[0] for line in lines] == [
        "hoa_don/790760001234/HD-3",
        "hoa_don/790760001234/HD-9",
    ]


def test_the_summary_shows_some_disagreements_and_counts_the_rest() -> None:
    lines = summary_lines(Snapshot(10, [], 0), [f"wrong {n}" for n in range(25)])
    assert lines[1] == "25 differences from the plan:"
    assert lines[2:4] == ["  wrong 0", "  wrong 1"]
    assert lines[-1] == "  and 5 more"
