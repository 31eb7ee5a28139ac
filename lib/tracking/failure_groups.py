"""Failure records folded by reason, the drug codes taken from where they are known."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lib.pipelines import get_pipeline
from lib.source.store import Source
from lib.tracking.failures import FailureFilter, FailureGroup, FailureLog, group_failures

#: Records whose lines are read at once.
_AT_ONCE = 500


async def failure_groups(
    failures: FailureLog, source: Source, wanted: FailureFilter, *, limit: int = 0
) -> list[FailureGroup]:
    """Failures folded by reason; where no payload was kept, the lines tell the drug codes.

    Args:
        limit: number of records to look at, the newest; 0 for all of them.

    Raises:
        StoreUnavailable.
    """
    rows = await failures.find(wanted, limit=limit)
    return group_failures(rows, await drug_codes_of(source, without_drug_codes(rows)))


def without_drug_codes(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Records by pipeline of whose failures no drug code was kept."""
    missing: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if not row["drug_codes"]:
            missing[row["pipeline"]].add(row["record_id"])
    return {name: sorted(ids) for name, ids in missing.items()}


async def drug_codes_of(
    source: Source,
    records: Mapping[str, Sequence[int]],
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> dict[tuple[str, int], list[str | None]]:
    """Drug codes of these records' lines, by pipeline and record.

    Args:
        seen: receives the number of records read since its last call.

    Raises:
        StoreUnavailable.
    """
    found: dict[tuple[str, int], list[str | None]] = {}
    for name, ids in records.items():
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            codes = await asyncio.to_thread(source.documents.drug_codes, get_pipeline(name), some)
            found.update({(name, record_id): of_lines for record_id, of_lines in codes.items()})
            seen(len(some))
    return found
