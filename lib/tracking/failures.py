"""Failure records: queries for people, groups by reason, and decisions about failures.

Every read raises `StoreUnavailable` while MongoDB is unavailable.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from lib.errors import InvalidDocument
from lib.models import DocumentRef
from lib.pipelines import get_pipeline
from lib.source.store import Source
from lib.tracking.log_collections import SYNC_FAILURES
from lib.tracking.mongo import Database, any_case, mongo_errors

#: Fields of a `DocumentRef`, stored in every record.
IDENTITY = ("pipeline", "record_id", "local_id", "pharmacy_code", "shop_pharmacy_code")
#: The fields of a failure record for lists: no payload, which may contain names of persons.
_SUMMARY_FIELDS = (
    *IDENTITY,
    *("state", "error_class", "error", "http_status", "field_errors", "record_run_id"),
    *("created_at", "updated_at", "settled_at", "settled_by", "settled_why", "history"),
)
#: Possible names of a payload's array of lines, and the name of a line's drug code.
_LINES = ("hoa_don_chi_tiet", "chi_tiet")
_DRUG_CODE = "ma_thuoc"
#: Records read at once, and reported as one step of progress.
_PAGE = 1000
#: Records whose lines are read at once.
_AT_ONCE = 500
#: In place of the claim token, if a document has no failure record.
_NO_CLAIM = "no record"

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|‘[^’]*’|`[^`]*`")
_WORD_WITH_DIGIT = re.compile(r"[\w./-]*\d[\w./-]*")
#: How an answer names the line that it rejects.
_LINE_NUMBER = re.compile(r"\b(?:dòng|line)\s+(\d{1,4})\b", re.IGNORECASE)
_FIELD_NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


class FailureState(StrEnum):
    """State of a failure record."""

    OPEN = "open"
    REQUEUED = "requeued"
    RESOLVED = "resolved"
    #: A later failure of the same document replaces it.
    SUPERSEDED = "superseded"


#: No decision yet, or one that has had no effect yet.
_UNSETTLED = {"$in": [FailureState.OPEN.value, FailureState.REQUEUED.value]}


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Selects failure records; None leaves a condition out.

    Attributes:
        states: `open`, `requeued`, `resolved`, `superseded` by a later failure of the document.
        reason: part of the error's text, ignoring case.
        shops: any of these shops; `shop`: exactly this one.
        since, until: limits of the time of the failure.
    """

    states: tuple[FailureState, ...] | None = (FailureState.OPEN,)
    pipeline: str | None = None
    shop: str | None = None
    error_class: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    local_id: str | None = None
    shops: frozenset[str] | None = None

    def query(self) -> dict[str, Any]:
        """The filter as a MongoDB query."""
        equal = {"pipeline": self.pipeline, "error_class": self.error_class}
        query: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
        if self.local_id is not None:
            query["local_id"] = any_case(self.local_id)
        if self.shop is not None:
            query["shop_pharmacy_code"] = any_case(self.shop)
        if self.states is not None:
            query["state"] = {"$in": [state.value for state in self.states]}
        if self.shops is not None:
            query["shop_pharmacy_code"] = any_case(*self.shops)
        if self.reason is not None:
            query["error"] = {"$regex": re.escape(self.reason), "$options": "i"}
        bounds = {"$gte": self.since, "$lt": self.until}
        if bounds := {name: moment for name, moment in bounds.items() if moment is not None}:
            query["created_at"] = bounds
        return query


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a document failed, without the values that differ from document to document."""

    error_class: str
    field: str
    text: str
    drug_code: str

    @property
    def key(self) -> str:
        """Short name of the group, the same in every process."""
        parts = "\0".join((self.error_class, self.field, self.text, self.drug_code))
        return hashlib.sha256(parts.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures with one reason.

    Attributes:
        failures: their records, newest first; the first is shown as an example.
    """

    reason: Reason
    failures: tuple[Mapping[str, Any], ...]

    @property
    def refs(self) -> frozenset[DocumentRef]:
        return frozenset(ref_of(row) for row in self.failures)


class FailureLog:
    """Reads `sync_failures`."""

    def __init__(self, database: Database) -> None:
        self._failures = database[SYNC_FAILURES]

    async def find(
        self,
        wanted: FailureFilter,
        *,
        limit: int = 0,
        seen: Callable[[int], None] = lambda _: None,
    ) -> list[dict[str, Any]]:
        """Records without payload and answer, newest first; `drug_codes` are those of the lines.

        Args:
            limit: 0 for all of them.
            seen: receives the number of records read since its last call.
        """
        fields = dict.fromkeys((*_SUMMARY_FIELDS, "drug_codes"), True)
        fields |= dict.fromkeys((f"payload.{name}.{_DRUG_CODE}" for name in _LINES), True)
        rows: list[dict[str, Any]] = []
        with mongo_errors():
            cursor = self._failures.find(wanted.query(), fields).sort("created_at", -1).limit(limit)
            while page := await cursor.to_list(_PAGE):
                rows += page
                seen(len(page))
        for row in rows:
            sent = _drug_codes(row.pop("payload", None))
            row["drug_codes"] = row.get("drug_codes") or sent
        return rows

    async def count(self, wanted: FailureFilter) -> int:
        """Number of matching records."""
        with mongo_errors():
            return await self._failures.count_documents(wanted.query())

    async def open_by_shop(self) -> dict[tuple[str, str], int]:
        """Number of records without a decision, by pipeline and shop."""
        place = {"$concat": ["$pipeline", "/", "$shop_pharmacy_code"]}
        steps = [
            {"$match": FailureFilter().query()},
            {"$group": {"_id": place, "count": {"$sum": 1}}},
        ]
        with mongo_errors():
            rows = await (await self._failures.aggregate(steps)).to_list()
        counts: dict[tuple[str, str], int] = {}
        for row in rows:
            pipeline, _, shop = row["_id"].partition("/")
            counts[pipeline, shop] = row["count"]
        return counts

    async def get(self, name: str) -> list[dict[str, Any]]:
        """The complete record with this id, else all records with this local id, newest first."""
        with mongo_errors():
            by_id = await self._failures.find_one({"_id": name})
            if by_id is not None:
                return [by_id]
            return await self._failures.find({"local_id": name}).sort("created_at", -1).to_list()

    async def of_document(self, local_id: str) -> list[dict[str, Any]]:
        """Every record of this local id without payload and answer, oldest first."""
        fields = dict.fromkeys(_SUMMARY_FIELDS, True)
        with mongo_errors():
            cursor = self._failures.find({"local_id": local_id}, fields).sort("created_at", 1)
            return await cursor.to_list()

    async def unsettled_documents(self) -> AsyncIterator[set[DocumentRef]]:
        """The documents of all open or requeued failure records, page by page."""
        query = {"state": _UNSETTLED}
        with mongo_errors():
            cursor = self._failures.find(query, dict.fromkeys(IDENTITY, True))
            while page := await cursor.to_list(_PAGE):
                yield {ref_of(row) for row in page}


def ref_of(row: Mapping[str, Any]) -> DocumentRef:
    """The document that a record is about."""
    return DocumentRef(**{name: row[name] for name in IDENTITY})


def group_failures(
    rows: Iterable[Mapping[str, Any]],
    drug_codes: Mapping[tuple[str, int], Sequence[str | None]] | None = None,
) -> list[FailureGroup]:
    """Records grouped by reason, the largest group first. Pure.

    A record with several wrong fields is in several groups.

    Args:
        drug_codes: drug codes of the lines, for documents whose record has none, by pipeline and
            record id.
    """
    groups: dict[Reason, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        codes = row.get("drug_codes") or (drug_codes or {}).get((row["pipeline"], row["record_id"]))
        for reason in dict.fromkeys(reasons_of(row, codes or ())):
            groups[reason].append(row)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0].key))
    return [FailureGroup(reason, tuple(found)) for reason, found in ordered]


def reasons_of(row: Mapping[str, Any], drug_codes: Sequence[str | None]) -> list[Reason]:
    """Why one document failed: one reason per wrong field, otherwise one from the error's text."""
    error_class = row.get("error_class") or ""
    if fields := row.get("field_errors"):
        own = error_class == InvalidDocument.error_class
        return [
            Reason(
                error_class,
                item["field"],
                # Numbers in the texts of our own validation are the same for every document.
                item["reason"] if own else normalised(item["reason"]),
                _code_of_line(drug_codes, item.get("line")),
            )
            for item in fields
        ]
    text = row.get("error") or ""
    named = [code for code in drug_codes if code and code in text]
    line = _LINE_NUMBER.search(text)
    code = named[0] if named else _code_of_line(drug_codes, int(line[1]) if line else None)
    field = _FIELD_NAME.search(text)
    return [Reason(error_class, field[0] if field else "", normalised(text), code)]


def normalised(text: str) -> str:
    """A reason without the values that differ from document to document."""
    text = _QUOTED.sub("…", text)
    text = _WORD_WITH_DIGIT.sub("#", text)
    return " ".join(text.split())


def _code_of_line(drug_codes: Sequence[str | None], line: int | None) -> str:
    if line is None or not 0 < line <= len(drug_codes):
        return ""
    return drug_codes[line - 1] or ""


def _drug_codes(payload: Mapping[str, Any] | None) -> list[str | None]:
    bodies = [payload[name] for name in _LINES if payload.get(name)] if payload else []
    return [line.get(_DRUG_CODE) for body in bodies for line in body]


async def failure_groups(
    failures: FailureLog, source: Source, wanted: FailureFilter, *, limit: int = 0
) -> list[FailureGroup]:
    """Failures grouped by reason; missing drug codes are read from the source database.

    Args:
        limit: number of newest records to read; 0 for all of them.

    Raises:
        StoreUnavailable.
    """
    rows = await failures.find(wanted, limit=limit)
    return group_failures(rows, await drug_codes_of(source, without_drug_codes(rows)))


def without_drug_codes(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Record ids of the failures without stored drug codes, by pipeline."""
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


# -- decisions: who, when and why is kept ----------------------------------------------------------


async def record_decision(
    failures: AsyncCollection[dict[str, Any]],
    refs: Iterable[DocumentRef],
    *,
    state: FailureState,
    by: str,
    why: str,
    at: datetime,
) -> int:
    """Moves open and requeued records to another state, and adds to their `history`.

    A document without any record gets one that contains only the decision. Returns the number of
    records that were changed. Raises the driver's errors.
    """
    by_pipeline: dict[str, dict[int, DocumentRef]] = defaultdict(dict)
    for ref in refs:
        by_pipeline[ref.pipeline][ref.record_id] = ref
    change = {
        "$set": {
            "state": state.value,
            "settled_by": by,
            "settled_why": why,
            # Keyed by its time, not in a list: a second write of the decision changes nothing.
            f"history.{at:%Y%m%dT%H%M%S%f}": {"state": state.value, "by": by, "why": why, "at": at},
        },
        "$currentDate": {"updated_at": True, "settled_at": True},
    }
    changed = 0
    for pipeline, documents in by_pipeline.items():
        theirs = {"pipeline": pipeline, "record_id": {"$in": sorted(documents)}}
        unsettled = theirs | {"state": _UNSETTLED}
        changed += (await failures.update_many(unsettled, change)).modified_count
        known = set(await failures.distinct("record_id", theirs))
        for record_id, ref in documents.items():
            if record_id not in known:
                await failures.update_one(*_record_of_decision(ref, change, at), upsert=True)
    return changed


def _record_of_decision(
    ref: DocumentRef, change: Mapping[str, Any], at: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Key and contents of a record for a document without a failure record."""
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
