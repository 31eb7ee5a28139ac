"""What operators read of the logs: failure records, grouped by reason.

Nothing here changes anything. Every read raises `StoreUnavailable` while MongoDB is away.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.models import DocumentRef
from lib.tracking.log_collections import SYNC_FAILURES
from lib.tracking.mongo import Database, mongo_errors

#: Everything a failure record holds but the payload's header, which may name persons.
_SUMMARY_FIELDS = (
    *("pipeline", "record_id", "local_id", "pharmacy_code", "shop_pharmacy_code"),
    *("state", "error_class", "error", "http_status", "field_errors", "record_run_id"),
    *("created_at", "updated_at", "settled_at", "settled_by", "settled_why", "history"),
)
#: Where a payload keeps its lines, and a line its drug code; the same in every kind of document.
_LINES = ("hoa_don_chi_tiet", "chi_tiet")
_DRUG_CODE = "ma_thuoc"
#: Records read at once, and told in the progress.
_PAGE = 1000

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|‘[^’]*’|`[^`]*`")
_WORD_WITH_DIGIT = re.compile(r"[\w./-]*\d[\w./-]*")
#: How an answer names the line it dislikes.
_LINE_NUMBER = re.compile(r"\b(?:dòng|line)\s+(\d{1,4})\b", re.IGNORECASE)
_FIELD_NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failure records are meant; None leaves a condition out.

    Attributes:
        states: `open`, `requeued`, `resolved`.
        reason: part of the error's text, without regard to case.
        shops: of any of these; `shop` of exactly one.
        since, until: moments of the failure.
    """

    states: tuple[str, ...] | None = ("open",)
    pipeline: str | None = None
    shop: str | None = None
    error_class: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    local_id: str | None = None
    shops: frozenset[str] | None = None

    def query(self) -> dict[str, Any]:
        """As MongoDB takes it."""
        equal = {
            "pipeline": self.pipeline,
            "shop_pharmacy_code": self.shop,
            "error_class": self.error_class,
            "local_id": self.local_id,
        }
        query: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
        if self.states is not None:
            query["state"] = {"$in": list(self.states)}
        if self.shops is not None:
            query["shop_pharmacy_code"] = {"$in": sorted(self.shops)}
        if self.reason is not None:
            query["error"] = {"$regex": re.escape(self.reason), "$options": "i"}
        bounds = {"$gte": self.since, "$lt": self.until}
        if bounds := {name: moment for name, moment in bounds.items() if moment is not None}:
            query["created_at"] = bounds
        return query


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a document failed, without what differs from document to document."""

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
        failures: their records, newest first; the first is the example.
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
        """How many records there are."""
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
        """The record of this id whole, else every record of this local id, newest first."""
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


def ref_of(row: Mapping[str, Any]) -> DocumentRef:
    """The document that a record is about."""
    return DocumentRef(
        pipeline=row["pipeline"],
        record_id=row["record_id"],
        local_id=row["local_id"],
        pharmacy_code=row["pharmacy_code"],
        shop_pharmacy_code=row["shop_pharmacy_code"],
    )


def group_failures(
    rows: Iterable[Mapping[str, Any]],
    drug_codes: Mapping[tuple[str, int], Sequence[str | None]] | None = None,
) -> list[FailureGroup]:
    """Records folded by reason, the largest group first. Pure.

    A record with several wrong fields is in several groups.

    Args:
        drug_codes: of the lines of documents whose record has none, by pipeline and record id.
    """
    groups: dict[Reason, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        codes = row.get("drug_codes") or (drug_codes or {}).get((row["pipeline"], row["record_id"]))
        for reason in dict.fromkeys(reasons_of(row, codes or ())):
            groups[reason].append(row)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0].key))
    return [FailureGroup(reason, tuple(found)) for reason, found in ordered]


def reasons_of(row: Mapping[str, Any], drug_codes: Sequence[str | None]) -> list[Reason]:
    """Why one document failed: a reason a wrong field, else the one of its error's text."""
    error_class = row.get("error_class") or ""
    if fields := row.get("field_errors"):
        return [
            Reason(
                error_class,
                item["field"],
                normalised(item["reason"]),
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
