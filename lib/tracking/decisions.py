"""What people, and `reconcile`, decide about failure records: who, when and why is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from lib.models import DocumentRef

#: Stands for the claim where a document failed and no record of that was kept.
_NO_CLAIM = "no record"


async def record_decision(
    failures: AsyncCollection[dict[str, Any]],
    refs: Iterable[DocumentRef],
    *,
    state: str,
    by: str,
    why: str,
    at: datetime,
) -> int:
    """Moves records that are not resolved to another state, and adds to their `history`.

    A document without any record gets one that holds the decision alone. Returns how many records
    were changed. Raises what the driver raises.
    """
    by_pipeline: dict[str, dict[int, DocumentRef]] = defaultdict(dict)
    for ref in refs:
        by_pipeline[ref.pipeline][ref.record_id] = ref
    change = {
        "$set": {
            "state": state,
            "settled_by": by,
            "settled_why": why,
            # By its moment and not in a list: the same decision may be written again.
            f"history.{at:%Y%m%dT%H%M%S%f}": {"state": state, "by": by, "why": why, "at": at},
        },
        "$currentDate": {"updated_at": True, "settled_at": True},
    }
    changed = 0
    for pipeline, documents in by_pipeline.items():
        theirs = {"pipeline": pipeline, "record_id": {"$in": sorted(documents)}}
        unsettled = theirs | {"state": {"$in": ["open", "requeued"]}}
        changed += (await failures.update_many(unsettled, change)).modified_count
        known = set(await failures.distinct("record_id", theirs))
        for record_id, ref in documents.items():
            if record_id not in known:
                await failures.update_one(*_record_of_decision(ref, change, at), upsert=True)
    return changed


def _record_of_decision(
    ref: DocumentRef, change: Mapping[str, Any], at: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Key and contents of a record where the failure itself was never recorded."""
    identity = {
        "claim_token": f"{_NO_CLAIM}/{ref.pipeline}",
        "record_id": ref.record_id,
        "pipeline": ref.pipeline,
        "local_id": ref.local_id,
        "pharmacy_code": ref.pharmacy_code,
        "shop_pharmacy_code": ref.shop_pharmacy_code,
        "created_at": at,
    }
    key = {"_id": f"{_NO_CLAIM}/{ref.pipeline}/{ref.record_id}"}
    return key, {**change, "$setOnInsert": identity}
