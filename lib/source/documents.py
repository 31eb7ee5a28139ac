"""Reading documents. Nothing here changes a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, true

from lib.errors import AlreadySent, AmbiguousDocument, BeforeCutOff, DocumentBusy, DocumentNotFound
from lib.models import Document, DocumentRef, StoredDocument, SyncStatus, comparable
from lib.pipelines import Pipeline
from lib.source.dialects import (
    age_in_seconds,
    chunks,
    code_value,
    one_of,
    skip_locked,
    utc_in,
)
from lib.source.rows import (
    belongs,
    by_standard_name,
    changed_after_acceptance,
    dated_from,
    delivery_columns,
    flag,
    is_live,
    is_pending,
    read_rows,
    ref_columns,
    sort_age,
    stored_columns,
    to_delivery,
    to_ref,
    to_stored,
    with_delivery,
    without,
)
from lib.source.tables import SourceTables
from lib.source.transactions import Transactions
from lib.words.documents import KINDS
from lib.words.language import Phrase


@dataclass(frozen=True, slots=True)
class PendingShop:
    """A shop with pending documents that are not held.

    Attributes:
        pharmacy_code: taken from its oldest such document.
    """

    code: str
    pharmacy_code: str


class Documents:
    """Documents as the source database has them now.

    A value that the driver cannot read is `Unreadable` in its document; others are not affected.
    """

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def load(self, pipeline: Pipeline, token: str) -> list[Document]:
        """Headers and lines of all documents a token holds, oldest first. Two statements."""
        return self._load(pipeline, self._tables.delivery.c.claim_token == token, token)

    def read(self, pipeline: Pipeline, record_ids: Sequence[int]) -> list[Document]:
        """Headers and lines of documents that were claimed before, under any claim."""
        ids = sorted(set(record_ids))
        return [
            document
            for part in chunks(ids)
            for document in self._load(
                pipeline,
                one_of(self._tables.delivery.c.record_id, part),
                "",
            )
        ]

    def touched_since_accepted(
        self, pipeline: Pipeline, within: timedelta, limit: int
    ) -> list[int]:
        """Record ids of accepted documents whose row was written later, latest acceptance first.

        Args:
            within: only documents that were accepted within this time.
        """
        header, delivery = self._tables.header(pipeline), self._tables.delivery
        query = (
            select(header.c.id)
            .select_from(with_delivery(self._tables, header, pipeline))
            .where(
                belongs(delivery, pipeline),
                delivery.c.settled_at > utc_in(-within.total_seconds()),
                changed_after_acceptance(header, delivery),
            )
            .order_by(delivery.c.settled_at.desc())
            .limit(limit)
        )
        return self._run(lambda c: list(c.execute(query).scalars()))

    def _load(
        self, pipeline: Pipeline, condition: ColumnElement[bool], token: str
    ) -> list[Document]:
        header, details = self._tables.header(pipeline), self._tables.details(pipeline)
        delivery, foreign_key = self._tables.delivery, self._tables.foreign_key(pipeline)
        wanted = and_(belongs(delivery, pipeline), condition)
        columns, line_columns = list(header.c), list(details.c)
        lines_query = (
            select(*line_columns)
            .where(foreign_key.in_(select(delivery.c.record_id).where(wanted)))
            .order_by(foreign_key, details.c.id)
        )
        own = [
            delivery.c.attempts,
            flag(delivery.c.unconfirmed == true()),
            *delivery_columns(delivery),
        ]
        query = (
            select(*columns, *own)
            .select_from(header.join(delivery, delivery.c.record_id == header.c.id))
            .where(wanted)
            .order_by(header.c[pipeline.date_column], header.c.created_at, header.c.id)
        )

        def work(connection: Connection) -> list[Document]:
            # Lines before headers: a claim can only lose documents, so each header has its lines.
            lines: dict[int, list[Any]] = defaultdict(list)
            for row in read_rows(connection, lines_query, details.c.id):
                line = by_standard_name(line_columns, row)
                lines[line[foreign_key.key]].append(line)
            return [
                self._to_document(pipeline, token, row, lines)
                for row in read_rows(connection, query, header.c.id)
            ]

        return self._run(work)

    def find(
        self, pipeline: Pipeline, local_id: str, pharmacy_code: str | None = None
    ) -> list[StoredDocument]:
        """Documents with a local id, ordered by record id."""
        query = self._stored(pipeline).where(
            self._tables.local_id(pipeline) == code_value(local_id)
        )
        if pharmacy_code is not None:
            query = query.where(
                self._tables.header(pipeline).c.pharmacy_code == code_value(pharmacy_code)
            )
        return self._run(lambda c: self._read_stored(c, pipeline, query))

    def get(self, pipeline: Pipeline, record_ids: Sequence[int]) -> list[StoredDocument]:
        """Documents by record id; those that do not exist are left out."""
        key = self._tables.header(pipeline).c.id
        ids = sorted(set(record_ids))
        return self._run(
            lambda c: [
                document
                for part in chunks(ids)
                for document in self._read_stored(
                    c,
                    pipeline,
                    self._stored(pipeline).where(one_of(key, part)),
                )
            ]
        )

    def drug_codes(
        self, pipeline: Pipeline, record_ids: Sequence[int]
    ) -> dict[int, list[str | None]]:
        """Drug codes of documents' lines by record id, in the order the lines are sent in."""
        details, foreign_key = self._tables.details(pipeline), self._tables.foreign_key(pipeline)
        ids = sorted(set(record_ids))
        query = select(foreign_key, details.c.drug_code).order_by(foreign_key, details.c.id)

        def work(connection: Connection) -> dict[int, list[str | None]]:
            found: dict[int, list[str | None]] = defaultdict(list)
            for part in chunks(ids):
                some = query.where(one_of(foreign_key, part))
                for record_id, code in read_rows(connection, some, details.c.id):
                    found[record_id].append(code if isinstance(code, str) else None)
            return dict(found)

        return self._run(work)

    def drug_names(self, pipeline: Pipeline, record_ids: Sequence[int]) -> dict[str, str]:
        """Drug names by drug code, from the lines of these documents."""
        details, foreign_key = self._tables.details(pipeline), self._tables.foreign_key(pipeline)
        ids = sorted(set(record_ids))
        query = select(details.c.drug_code, details.c.drug_name).order_by(details.c.id)

        def work(connection: Connection) -> dict[str, str]:
            found: dict[str, str] = {}
            for part in chunks(ids):
                some = query.where(one_of(foreign_key, part))
                for code, name in read_rows(connection, some, details.c.id):
                    if isinstance(code, str) and isinstance(name, str) and code and name:
                        found[code] = name
            return found

        return self._run(work)

    def successes_without_national_id(self, pipeline: Pipeline, limit: int) -> list[DocumentRef]:
        """Accepted documents whose national id is missing, by record id."""
        header, national_id = self._tables.header(pipeline), self._tables.national_id(pipeline)
        query = (
            select(*ref_columns(header, pipeline))
            .where(
                header.c.status == SyncStatus.SUCCESS.value,
                or_(national_id.is_(None), national_id == ""),
            )
            .order_by(header.c.id)
            .limit(limit)
        )
        return self._run(
            lambda c: [to_ref(pipeline, row) for row in read_rows(c, query, header.c.id)]
        )

    def _to_document(
        self,
        pipeline: Pipeline,
        token: str,
        row: Sequence[Any],
        lines: dict[int, list[Any]],
    ) -> Document:
        columns = list(self._tables.header(pipeline).c)
        header = by_standard_name(columns, row[: len(columns)])
        attempts, unconfirmed, *rest = row[len(columns) :]
        delivery = to_delivery(rest)
        carried = header[pipeline.national_id_column]
        national_id = (carried.strip() if isinstance(carried, str) else "") or delivery.national_id
        return Document(
            ref=to_ref(
                pipeline,
                [
                    header[name]
                    for name in (
                        "id",
                        pipeline.local_id_column,
                        "pharmacy_code",
                        "shop_pharmacy_code",
                    )
                ],
            ),
            claim_token=token,
            # A national id means that it was sent before, by us or by another sender.
            unconfirmed=bool(unconfirmed) or national_id is not None,
            attempts=attempts,
            header=header,
            lines=tuple(lines[header["id"]]),
            national_id=national_id,
            delivery=delivery,
        )

    def _stored(self, pipeline: Pipeline) -> Select[Any]:
        header = self._tables.header(pipeline)
        return (
            select(*stored_columns(self._tables, header, pipeline))
            .select_from(with_delivery(self._tables, header, pipeline))
            .order_by(header.c.id)
        )

    def _read_stored(
        self, connection: Connection, pipeline: Pipeline, query: Select[Any]
    ) -> list[StoredDocument]:
        key = self._tables.header(pipeline).c.id
        return [to_stored(pipeline, row) for row in read_rows(connection, query, key)]


def pending_shops(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, cut_off: date | None = None
) -> list[PendingShop]:
    """Shops with pending documents that are not held, the one with the oldest document first.

    Takes one index seek per shop, two with a cut-off, however many documents are dated before or
    after it.
    """
    header = tables.header(pipeline)
    shop, dated = header.c.shop_pharmacy_code, header.c[pipeline.date_column]
    oldest = skip_locked(
        select(shop, header.c.pharmacy_code, age_in_seconds(dated))
        .where(
            is_pending(header),
            # A document without a shop has no account, and the search cannot continue after NULL.
            shop.is_not(None),
            dated_from(header, pipeline, cut_off),
            without(tables, header, pipeline, is_live),
        )
        .order_by(shop, dated, header.c.created_at, header.c.id)
        .limit(1),
        header,
    )
    after = skip_locked(select(func.min(shop)).where(is_pending(header)), header)
    found: list[tuple[float, PendingShop]] = []
    last: str | None = None
    while True:
        place: ColumnElement[bool] = true() if last is None else shop > code_value(last)
        if cut_off is not None:
            # Find the shop first: a search by shop and date would read every old document.
            last = connection.execute(after.where(place)).scalar_one()
            if last is None:
                break
            place = shop == code_value(last)
        row = connection.execute(oldest.where(place)).one_or_none()
        if row is not None:
            last = row[0]
            found.append((sort_age(row[2]), PendingShop(row[0], (row[1] or "").rstrip())))
        elif cut_off is None:
            break
    return [shop for _, shop in sorted(found, key=lambda pair: -pair[0])]


def choose_one(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    local_id: str,
    pharmacy_code: str | None,
    *,
    force: bool,
    cut_off: date | None,
) -> DocumentRef:
    """The row that a run for one document takes; see `Claims.claim_one` for rules and errors."""
    label = name_of(pipeline, local_id, pharmacy_code)
    header = tables.header(pipeline)
    query = (
        select(
            *ref_columns(header, pipeline),
            header.c.status,
            flag(is_live(tables.delivery)).label("live"),
            flag(dated_from(header, pipeline, cut_off)).label("in_scope"),
        )
        .select_from(with_delivery(tables, header, pipeline))
        .where(tables.local_id(pipeline) == code_value(local_id))
        .order_by(header.c.id)
    )
    if pharmacy_code is not None:
        query = query.where(header.c.pharmacy_code == code_value(pharmacy_code))
    rows: Sequence[Row[Any]] = connection.execute(query).all()
    if not rows:
        raise DocumentNotFound(Phrase("there is no {document}", document=label))
    pharmacies = {comparable(row.pharmacy_code): row.pharmacy_code.strip() for row in rows}
    if len(pharmacies) > 1:
        raise AmbiguousDocument(
            Phrase(
                "there is more than one {document}: specify the pharmacy, one of {pharmacies}",
                document=label,
                pharmacies=", ".join(sorted(pharmacies.values())),
            )
        )
    if any(row.live for row in rows):
        raise busy(pipeline, local_id, pharmacy_code)
    statuses = {row.id: SyncStatus.read(row.status) for row in rows}
    pending = [row for row in rows if statuses[row.id] == SyncStatus.PENDING]
    chosen = (pending or rows)[0]
    if statuses[chosen.id] == SyncStatus.SUCCESS and not force:
        raise AlreadySent(
            Phrase("{document} is already accepted; only force sends it again", document=label)
        )
    if not chosen.in_scope and not force:
        raise BeforeCutOff(
            Phrase(
                "{document} is dated before {day} (DQG_SYNC__NOT_BEFORE); only force sends it",
                document=label,
                day=cut_off,
            )
        )
    return to_ref(pipeline, chosen)


def name_of(pipeline: Pipeline, local_id: str, pharmacy_code: str | None) -> Phrase:
    """The name of a document in messages to people."""
    name = Phrase("{kind} {local_id}", kind=Phrase(KINDS[pipeline.name]), local_id=repr(local_id))
    if pharmacy_code is None:
        return name
    return Phrase("{document} of pharmacy {code}", document=name, code=pharmacy_code)


def busy(pipeline: Pipeline, local_id: str, pharmacy_code: str | None) -> DocumentBusy:
    """The error for a document that is under a live claim."""
    label = name_of(pipeline, local_id, pharmacy_code)
    return DocumentBusy(Phrase("{document} is being sent by another run", document=label))
