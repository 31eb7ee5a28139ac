"""Failure records folded by reason, the drug codes taken from where they are known."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lib.failures import FailureFilter, FailureGroup, FailureLog, group_failures
from lib.pipelines import get_pipeline
from lib.source.store import SourceStore


async def failure_groups(
    failures: FailureLog, source: SourceStore, wanted: FailureFilter, *, limit: int = 0
) -> list[FailureGroup]:
    """Failures folded by reason; where no payload was kept, the lines tell the drug codes.

    Args:
        limit: look at so many records only, the newest; 0 for all of them.

    Raises:
        StoreUnavailable.
    """
    rows = await failures.find(wanted, limit=limit)
    return group_failures(rows, await _drug_codes(source, rows))


async def _drug_codes(
    source: SourceStore, rows: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, int], list[str | None]]:
    missing: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if not row["drug_codes"]:
            missing[row["pipeline"]].add(row["record_id"])
    found: dict[tuple[str, int], list[str | None]] = {}
    for name, ids in missing.items():
        codes = await asyncio.to_thread(source.drug_codes, get_pipeline(name), sorted(ids))
        found.update({(name, record_id): of_lines for record_id, of_lines in codes.items()})
    return found
