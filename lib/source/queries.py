"""Reading documents, claims and accounts. Nothing here changes a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    distinct,
    func,
    or_,
    select,
)

from lib.models import (
    Document,
    DocumentRef,
    FinishedCount,
    HeldClaim,
    PipelineSummary,
    StoredDocument,
    SyncStatus,
)
from lib.pipelines import Pipeline
from lib.source.dialects import (
    MAX_IN_LIST,
    age_in_seconds,
    local_in,
    local_midnight,
    one_of,
    seconds_until,
    utc_now,
)
from lib.source.rows import (
    by_standard_name,
    dated_from,
    is_free,
    is_live,
    is_pending,
    ref_columns,
    stored_documents,
    to_ref,
    to_stored,
)
from lib.source.tables import CLAIM_FIELDS, ENCRYPTED_COLUMN, SourceTables

ACTIVE = 1


@dataclass(frozen=True, slots=True)
class ShopAccount:
    """A row of AccountShop: the login that a shop's documents are sent with.

    Attributes:
        password: as other software wrote it; blank where it is stored encrypted only.
        active: False where the chain has switched the account off.
    """

    shop_pharmacy_code: str
    pharmacy_code: str
    username: str
    password: SecretStr = field(repr=False)
    active: bool
    updated_at: datetime | None
    encrypted_password: str | None = field(default=None, repr=False)


def find(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    local_id: str,
    pharmacy_code: str | None,
) -> list[StoredDocument]:
    """Documents of a local id, by record id."""
    header = tables.header(pipeline)
    query = stored_documents(header, pipeline).where(tables.local_id(pipeline) == local_id)
    if pharmacy_code is not None:
        query = query.where(header.c.pharmacy_code == pharmacy_code)
    return [to_stored(pipeline, row) for row in connection.execute(query)]


def get(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, record_ids: Sequence[int]
) -> list[StoredDocument]:
    """Documents by record id; those that are not there are left out."""
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


def load(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, token: str
) -> list[Document]:
    """Everything needed to send what a token holds, oldest first. Two statements."""
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


def held_claims(
    connection: Connection, tables: SourceTables, pipeline: Pipeline
) -> list[HeldClaim]:
    """Every token found on rows, live or not, soonest to end first."""
    header = tables.header(pipeline)
    left = func.max(func.coalesce(seconds_until(header.c.sync_lease_expires_at), 0))
    rows = connection.execute(
        select(header.c.sync_claim_token, func.count(), left)
        .where(header.c.sync_claim_token.is_not(None))
        .group_by(header.c.sync_claim_token)
    )
    claims = [HeldClaim(token, pipeline.name, count, float(left)) for token, count, left in rows]
    return sorted(claims, key=lambda claim: claim.lease_seconds_left)


def summary(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    finished_within: timedelta | None,
    cut_off: date | None = None,
) -> PipelineSummary:
    """Counts of one pipeline, in two statements; the first reads the claim index alone."""
    header = tables.header(pipeline)
    free, live = is_free(header), is_live(header)
    due = and_(free, dated_from(header, pipeline, cut_off))
    row = connection.execute(
        select(
            _count(free),
            _count(due),
            _count(and_(due, header.c.sync_next_attempt_at > utc_now())),
            _count(live),
            func.count(distinct(case((live, header.c.sync_claim_token)))),
            _count(header.c.sync_unconfirmed == True),  # noqa: E712 - SQL Server has no IS TRUE
            _oldest(header, pipeline, cut_off),
        ).where(is_pending(header))
    ).one()
    free_count, pending_count, waiting, held, batches, unconfirmed, oldest = row
    ends = finished(connection, header, finished_within)
    return PipelineSummary(
        pipeline.name,
        pending=pending_count,
        waiting=waiting,
        in_flight=held,
        batches=batches,
        unconfirmed=unconfirmed,
        succeeded=ends.succeeded,
        failed=ends.failed,
        oldest_pending_seconds=None if oldest is None else float(oldest),
        before_cut_off=free_count - pending_count,
    )


def finished(connection: Connection, header: Table, within: timedelta | None) -> FinishedCount:
    """How many documents ended how, in so long or ever; reads an index alone where so long."""
    query = (
        select(header.c.status, func.count())
        .where(header.c.status.in_([SyncStatus.SUCCESS.value, SyncStatus.FAILED.value]))
        .group_by(header.c.status)
    )
    if within is not None:
        query = query.where(header.c.updated_at >= local_in(-within.total_seconds()))
    ends: dict[str, int] = dict(connection.execute(query).tuples().all())
    return FinishedCount(
        ends.get(SyncStatus.SUCCESS.value, 0), ends.get(SyncStatus.FAILED.value, 0)
    )


@dataclass(frozen=True, slots=True)
class ShopSummary:
    """Counts of one pipeline and shop at one moment; as in `PipelineSummary`.

    Attributes:
        pharmacy_codes: facilities the counted documents belong to.
    """

    pipeline: str
    shop: str
    pharmacy_codes: frozenset[str] = frozenset()
    pending: int = 0
    in_flight: int = 0
    unconfirmed: int = 0
    succeeded: int = 0
    failed: int = 0
    oldest_pending_seconds: float | None = None
    before_cut_off: int = 0


def shop_summaries(
    connection: Connection,
    tables: SourceTables,
    pipeline: Pipeline,
    finished_within: timedelta | None,
    cut_off: date | None = None,
) -> list[ShopSummary]:
    """Counts of one pipeline by shop, in two statements.

    Of finished documents only those of so long are counted; without it those of today.

    A shop without any such document is not there.
    """
    header = tables.header(pipeline)
    place = (header.c.shop_pharmacy_code, header.c.pharmacy_code)
    found: dict[str, ShopSummary] = {}

    def shop_of(code: str) -> ShopSummary:
        return found.get(code) or ShopSummary(pipeline.name, code)

    for shop, pharmacy, free, due, held, unconfirmed, oldest in connection.execute(
        select(
            *place,
            _count(is_free(header)),
            _count(and_(is_free(header), dated_from(header, pipeline, cut_off))),
            _count(is_live(header)),
            _count(header.c.sync_unconfirmed == True),  # noqa: E712 - SQL Server has no IS TRUE
            _oldest(header, pipeline, cut_off),
        )
        .where(is_pending(header))
        .group_by(*place)
    ):
        known = shop_of(shop)
        found[shop] = replace(
            known,
            pharmacy_codes=known.pharmacy_codes | {pharmacy},
            pending=known.pending + due,
            in_flight=known.in_flight + held,
            unconfirmed=known.unconfirmed + unconfirmed,
            oldest_pending_seconds=(
                known.oldest_pending_seconds
                if oldest is None
                else max(known.oldest_pending_seconds or 0.0, float(oldest))
            ),
            before_cut_off=known.before_cut_off + free - due,
        )
    succeeded = _count(header.c.status == SyncStatus.SUCCESS.value)
    for shop, pharmacy, good, all_ended in connection.execute(
        select(*place, succeeded, func.count())
        .where(
            header.c.status.in_([SyncStatus.SUCCESS.value, SyncStatus.FAILED.value]),
            header.c.updated_at
            >= (
                local_midnight()
                if finished_within is None
                else local_in(-finished_within.total_seconds())
            ),
        )
        .group_by(*place)
    ):
        known = shop_of(shop)
        found[shop] = replace(
            known,
            pharmacy_codes=known.pharmacy_codes | {pharmacy},
            succeeded=known.succeeded + good,
            failed=known.failed + all_ended - good,
        )
    return [found[shop] for shop in sorted(found)]


def successes_without_national_id(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, limit: int
) -> list[DocumentRef]:
    """Accepted documents whose national id is missing, by record id."""
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


def drug_codes(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, record_ids: Sequence[int]
) -> dict[int, list[str | None]]:
    """Drug codes of documents' lines by record id, in the order the lines are sent in."""
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


def accounts(connection: Connection, tables: SourceTables) -> list[ShopAccount]:
    """All logins, switched off ones included."""
    table = tables.accounts
    rows = connection.execute(
        select(
            table.c.shop_pharmacy_code,
            table.c.pharmacy_code,
            table.c.account,
            table.c.password,
            table.c.status,
            table.c.updated_at,
            table.c[ENCRYPTED_COLUMN],
        ).order_by(table.c.shop_pharmacy_code, table.c.pharmacy_code, table.c.account)
    )
    return [
        ShopAccount(
            shop, pharmacy, account, SecretStr(password), status == ACTIVE, updated_at, encrypted
        )
        for shop, pharmacy, account, password, status, updated_at, encrypted in rows
    ]


def _oldest(header: Table, pipeline: Pipeline, cut_off: date | None) -> ColumnElement[Any]:
    """Age of the oldest pending document that the cut-off lets through."""
    created: ColumnElement[Any] = header.c.created_at
    if cut_off is not None:
        created = case((dated_from(header, pipeline, cut_off), created))
    return age_in_seconds(func.min(created))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))
