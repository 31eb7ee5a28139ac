"""Finds and erases names of persons in stored payloads."""

from __future__ import annotations

import unicodedata
from typing import Any

from lib.models import DocumentRef
from lib.sanitize import MASK, PERSONAL_FIELDS
from lib.tracking.failures import ref_of
from lib.tracking.log_collections import SYNC_FAILURES
from lib.tracking.mongo import Database, any_case, mongo_errors


class Persons:
    """The names of buyers and sellers in failure records.

    No other stored record contains a name. Case and surrounding blanks are ignored.
    """

    def __init__(self, database: Database) -> None:
        self._failures = database[SYNC_FAILURES]

    async def find(self, name: str) -> list[DocumentRef]:
        """Documents whose failure record names the person, by pipeline and local id.

        Raises:
            StoreUnavailable.
        """
        anywhere = {"$or": [_named(field, name) for field in PERSONAL_FIELDS]}
        with mongo_errors():
            rows = await self._failures.find(anywhere).to_list()
        return sorted({ref_of(row) for row in rows}, key=lambda ref: (ref.pipeline, ref.local_id))

    async def erase(self, name: str) -> int:
        """Replace the name with a mask; returns the number of changed fields. Idempotent.

        Raises:
            StoreUnavailable.
        """
        erased = 0
        for field in PERSONAL_FIELDS:
            mask = {"$set": {f"payload.{field}": MASK}}
            with mongo_errors():
                result = await self._failures.update_many(_named(field, name), mask)
            erased += result.modified_count
        return erased


def _named(field: str, name: str) -> dict[str, Any]:
    return {f"payload.{field}": any_case(unicodedata.normalize("NFC", name))}
