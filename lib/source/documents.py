"""Reading documents. Nothing here changes a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    or_,
    select,
)

from lib.models import (
    Document,
    DocumentRef,
    StoredDocument,
    SyncStatus,
)
from lib.pipelines import Pipeline
from lib.source.dialects import (
    MAX_IN_LIST,
    one_of,
)
from lib.source.rows import (
    by_standard_name,
    ref_columns,
    stored_documents,
    to_ref,
    to_stored,
)
from lib.source.tables import CLAIM_FIELDS, SourceTables
from lib.source.transactions import Transactions


class Documents:
    """Documents as the source database has them now."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def load(self, pipeline: Pipeline, token: str) -> list[Document]:
        """Headers and lines of all documents a token holds, oldest first. Idempotent."""
        return self._run(lambda c: _load(c, self._tables, pipeline, token))

    def find(
        self, pipeline: Pipeline, local_id: str, pharmacy_code: str | None = None
    ) -> list[StoredDocument]:
        """Documents of a local id, by record id."""
        return self._run(lambda c: _find(c, self._tables, pipeline, local_id, pharmacy_code))

    def get(self, pipeline: Pipeline, record_ids: Sequence[int]) -> list[StoredDocument]:
        """Documents by record id; those that are not there are left out."""
        return self._run(lambda c: _get(c, self._tables, pipeline, record_ids))

    def drug_codes(
        self, pipeline: Pipeline, record_ids: Sequence[int]
    ) -> dict[int, list[str | None]]:
        """Drug codes of documents' lines by record id, in the order the lines are sent in."""
        return self._run(lambda c: _drug_codes(c, self._tables, pipeline, record_ids))

    def drug_names(self, pipeline: Pipeline, record_ids: Sequence[int]) -> dict[str, str]:
        """Drug names by drug code, as these documents' lines have them."""
        return self._run(lambda c: _drug_names(c, self._tables, pipeline, record_ids))

    def successes_without_national_id(self, pipeline: Pipeline, limit: int) -> list[DocumentRef]:
        """Accepted documents whose national id is missing, by record id."""
        return self._run(lambda c: _successes_without_national_id(c, self._tables, pipeline, limit))


def _load(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, token: str
) -> list[Document]:
    header, details = tables.header(pipeline), tables.details(pipeline)
    foreign_key = tables.foreign_key(pipeline)
    header_columns = [column for column in header.c if column.key not in CLAIM_FIELDS]
    detail_columns = list(details.c)
    lines: dict[int, list[Any]] = defaultdict(list)
    # Lines before headers: a claim only shrinks, so no header can be seen without its lines.
    held = select(header.c.id).where(header.c.sync_claim_token == token)
    for row in connection.execute(
        select(*detail_columns).where(foreign_key.in_(held)).order_by(foreign_key, details.c.id)
    ):
        line = by_standard_name(detail_columns, row)
        lines[line[foreign_key.key]].append(line)
    rows = connection.execute(
        select(
            *ref_columns(header, pipeline),
            *header_columns,
            header.c.sync_attempts,
            header.c.sync_unconfirmed,
        )
        .where(header.c.sync_claim_token == token)
        .order_by(header.c[pipeline.date_column], header.c.created_at, header.c.id)
    )
    return [
        Document(
            ref=to_ref(pipeline, row),
            claim_token=token,
            unconfirmed=bool(row._mapping[header.c.sync_unconfirmed]),
            attempts=row._mapping[header.c.sync_attempts] or 0,
            header=by_standard_name(header_columns, row),
            lines=tuple(lines[row._mapping[header.c.id]]),
        )
        for row in rows
    ]


def _find(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    local_id: str,
    pharmacy_code: str | None,
) -> list[StoredDocument]:
    header = tables.header(pipeline)
    query = stored_documents(header, pipeline).where(tables.local_id(pipeline) == local_id)
    if pharmacy_code is not None:
        query = query.where(header.c.pharmacy_code == pharmacy_code)
    return [to_stored(pipeline, row) for row in connection.execute(query)]


def _get(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, record_ids: Sequence[int]
) -> list[StoredDocument]:
    header = tables.header(pipeline)
    ids = sorted(set(record_ids))
    return [
        to_stored(pipeline, row)
        for start in range(0, len(ids), MAX_IN_LIST)
        for row in connection.execute(
            stored_documents(header, pipeline).where(
                one_of(header.c.id, ids[start : start + MAX_IN_LIST])
            )
        )
    ]


def _drug_codes(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, record_ids: Sequence[int]
) -> dict[int, list[str | None]]:
    details, foreign_key = tables.details(pipeline), tables.foreign_key(pipeline)
    found: dict[int, list[str | None]] = defaultdict(list)
    ids = sorted(set(record_ids))
    for start in range(0, len(ids), MAX_IN_LIST):
        for record_id, code in connection.execute(
            select(foreign_key, details.c.drug_code)
            .where(one_of(foreign_key, ids[start : start + MAX_IN_LIST]))
            .order_by(foreign_key, details.c.id)
        ):
            found[record_id].append(code)
    return dict(found)


def _drug_names(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, record_ids: Sequence[int]
) -> dict[str, str]:
    details, foreign_key = tables.details(pipeline), tables.foreign_key(pipeline)
    found: dict[str, str] = {}
    ids = sorted(set(record_ids))
    for start in range(0, len(ids), MAX_IN_LIST):
        rows = connection.execute(
            select(details.c.drug_code, details.c.drug_name).where(
                one_of(foreign_key, ids[start : start + MAX_IN_LIST])
            )
        )
        found.update({code: name for code, name in rows if code and name})
    return found


def _successes_without_national_id(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, limit: int
) -> list[DocumentRef]:
    header, national_id = tables.header(pipeline), tables.national_id(pipeline)
    rows = connection.execute(
        select(*ref_columns(header, pipeline))
        .where(
            header.c.status == SyncStatus.SUCCESS.value,
            or_(national_id.is_(None), national_id == ""),
        )
        .order_by(header.c.id)
        .limit(limit)
    )
    return [to_ref(pipeline, row) for row in rows]
