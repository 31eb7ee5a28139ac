"""A database with its tables and a store on it, for tests of `lib.source`.

Always on PostgreSQL, optionally on SQL Server as well: set TEST_SQLSERVER_URL to the SQLAlchemy URL
of an empty database to run both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alembic import command
from sqlalchemy import (
    Engine,
    UniqueConstraint,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.schema import DropConstraint

from deployments.migrations import BUSINESS, SYNC, alembic_config, migrate
from lib.models import Outcome, OutcomeKind
from lib.pipelines import PIPELINES, SALE, Pipeline
from lib.settings import SourceSettings
from lib.source.dialects import utc_in
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import PLATFORM, SourceTables, build_tables
from tests.support.documents import set_delivery, split_columns

LEASE = timedelta(minutes=5)
PHARMACY = "790760001234"
T0 = datetime(2026, 11, 2, 8, 30)  # noqa: DTZ001 - business columns hold local time

_HEADER_VALUES: dict[str, dict[str, Any]] = {
    "import": {"receipt_date": T0, "receipt_type": 1},
    "sale": {"sale_date": T0, "customer_name": "Phạm Văn Đức"},
    "cancellation": {"issue_date": T0, "issue_type": 3, "notes": "Hủy thuốc hết hạn"},
}
_LINE: dict[str, Any] = {
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "production_date": None,
    "expiry_date": date(2028, 3, 31),
    "registration_number": "VD-31422-19",
    "quantity": Decimal(20),
    "unit_price": Decimal("500.25"),
    "unit": "Viên",
}
_SALE_LINE = {
    "concentration": "500mg",
    "dosage": "1 viên/lần, ngày 3 lần",
    "line_total": Decimal(10005),
    "conversion_ratio": Decimal(1),
}


@dataclass(frozen=True)
class Database:
    """A database with its tables and a source on it; creates and reads rows without the source."""

    engine: Engine
    tables: SourceTables
    source: Source

    def add(self, pipeline: Pipeline, local_id: str, *, lines: int = 1, **values: Any) -> int:
        """Insert a document; returns its record id."""
        header = self.tables.header(pipeline)
        row = {
            pipeline.local_id_column: local_id,
            "pharmacy_code": PHARMACY,
            "shop_pharmacy_code": "SHOP01",
            "status": "PENDING_SYNC",
            "created_at": T0,
            "updated_at": T0,
        }
        values, ours = split_columns(self.tables, pipeline, values)
        row |= _HEADER_VALUES[pipeline.name] | values
        line = _LINE | (_SALE_LINE if pipeline is SALE else {})
        with self.engine.begin() as connection:
            key = connection.execute(insert(header).values(row)).inserted_primary_key
            assert key is not None
            record_id = int(key[0])
            for number in range(lines):
                connection.execute(
                    insert(self.tables.details(pipeline)).values(
                        line
                        | {
                            pipeline.foreign_key_column: record_id,
                            "lot_number": f"L{number + 1}",
                        }
                    )
                )
        if ours:
            set_delivery(self.engine, self.tables, pipeline, record_id, ours)
        return record_id

    def add_many(self, pipeline: Pipeline, count: int) -> list[int]:
        return [self.add(pipeline, f"DOC-{number:05}") for number in range(count)]

    def change(self, pipeline: Pipeline, record_id: int, **values: Any) -> None:
        """Write columns of a document or of its row in `dqg_delivery`."""
        header = self.tables.header(pipeline)
        values, ours = split_columns(self.tables, pipeline, values)
        if values:
            with self.engine.begin() as connection:
                connection.execute(update(header).where(header.c.id == record_id).values(values))
        if ours:
            set_delivery(self.engine, self.tables, pipeline, record_id, ours)

    def expire(self, pipeline: Pipeline, *record_ids: int) -> None:
        for record_id in record_ids:
            self.change(pipeline, record_id, lease_expires_at=utc_in(-60))

    def row(self, pipeline: Pipeline, record_id: int) -> dict[str, Any]:
        """The header's columns."""
        header = self.tables.header(pipeline)
        with self.engine.connect() as connection:
            row = connection.execute(select(header).where(header.c.id == record_id)).one()
        return {column.key: row._mapping[column] for column in header.c}

    def delivery(self, pipeline: Pipeline, record_id: int) -> dict[str, Any]:
        """Columns of the document's row in `dqg_delivery`; empty if there is none."""
        delivery = self.tables.delivery
        query = select(delivery).where(
            delivery.c.platform == PLATFORM,
            delivery.c.pipeline == pipeline.name,
            delivery.c.record_id == record_id,
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return {} if row is None else dict(row._mapping)

    def claim(self, pipeline: Pipeline, token: str = "token-1", limit: int = 100) -> list[int]:
        """Record ids of a claim, in its order."""
        claim = self.source.claims.claim(pipeline, token=token, limit=limit, lease=LEASE)
        assert (claim.token, claim.pipeline) == (token, pipeline.name)
        return [ref.record_id for ref in claim.documents]

    def claim_one(self, pipeline: Pipeline, local_id: str, **options: Any) -> int:
        claim = self.source.claims.claim_one(
            pipeline, local_id=local_id, lease=LEASE, **({"token": "person"} | options)
        )
        return claim.documents[0].record_id

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        seen: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        event.listen(self.engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self.engine, "before_cursor_execute", note)


def open_database(url: str, settings: SourceSettings) -> Database:
    tables = build_tables(settings)
    engine = create_source_engine(url, settings)
    return Database(engine, tables, open_source(engine, tables, sleep=lambda _: None))


#: Schema variants of real databases, applied to PostgreSQL before the migration `sync`.
_SHAPES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "odd": (
        # A trigger that writes the row itself, so that the statement reports no written row.
        "CREATE FUNCTION take_over() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF;"
        " EXECUTE (SELECT format('UPDATE %I SET %s WHERE id = ($1).id', TG_TABLE_NAME,"
        " string_agg(format('%I = ($1).%I', column_name, column_name), ', '))"
        " FROM information_schema.columns WHERE table_name = TG_TABLE_NAME"
        " AND column_name <> 'id') USING NEW; RETURN NULL; END $$",
        *(
            statement.format(header=pipeline.header_table, id=pipeline.national_id_column,
                             local=pipeline.local_id_column, dated=pipeline.date_column)
            for pipeline in PIPELINES.values()
            for statement in (
                'ALTER TABLE "{header}" ALTER status TYPE char(20)',
                'ALTER TABLE "{header}" ALTER sync_response_message TYPE varchar(200)',
                'ALTER TABLE "{header}" ALTER {id} TYPE varchar(40)',
                'ALTER TABLE "{header}" ALTER created_at DROP NOT NULL',
                'ALTER TABLE "{header}" ALTER {dated} DROP NOT NULL',
                'ALTER TABLE "{header}" ALTER {local} TYPE varchar(50)',
                'ALTER TABLE "{header}" ALTER pharmacy_code TYPE char(50)',
                'ALTER TABLE "{header}" ALTER shop_pharmacy_code TYPE varchar(50)',
                'ALTER TABLE "{header}" ALTER pharmacy_code DROP NOT NULL,'
                " ALTER shop_pharmacy_code DROP NOT NULL",
                'CREATE TRIGGER take_over BEFORE UPDATE ON "{header}"'
                " FOR EACH ROW EXECUTE FUNCTION take_over()",
            )
        ),
    ),
}  # fmt: skip


def unmigrate(url: str, *branches: str, settings: SourceSettings | None = None) -> None:
    """Undo all migrations of branches: `sync` loses our tables, `business` all documents.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    config = alembic_config(url, settings)
    for branch in branches:
        command.downgrade(config, f"{branch}@base")


@pytest.fixture(scope="module", params=["plain", "odd", "mssql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "mssql":
        url = os.environ.get("TEST_SQLSERVER_URL", "")
        if not url:
            pytest.skip("TEST_SQLSERVER_URL is not set")
    else:
        url = request.getfixturevalue("postgres").create_database("source_store")
    settings = SourceSettings()
    migrate(url, BUSINESS, settings=settings)
    database = open_database(url, settings)
    _allow_duplicates(database)
    with database.engine.begin() as connection:
        for statement in _SHAPES.get(request.param, ()):
            connection.execute(text(statement))
    migrate(url, SYNC, settings=settings)
    yield database
    if request.param == "mssql":
        _empty(database)
    database.source.dispose()
    if request.param == "mssql":
        unmigrate(url, SYNC, BUSINESS, settings=settings)


@pytest.fixture
def is_odd(request: pytest.FixtureRequest) -> bool:
    """Whether the database has the odd schema variants."""
    return "odd" in request.node.callspec.id


def _allow_duplicates(database: Database) -> None:
    """Real installations have no unique key on the documents' codes."""
    with database.engine.begin() as connection:
        for pipeline in PIPELINES.values():
            header = database.tables.header(pipeline)
            key = UniqueConstraint(
                header.c.pharmacy_code,
                database.tables.local_id(pipeline),
                name=f"uq_{header.name}_code",
            )
            connection.execute(DropConstraint(key))
            header.constraints.discard(key)


def _empty(database: Database) -> None:
    tables = database.tables
    with database.engine.begin() as connection:
        for table in (tables.delivery, tables.encrypted, *tables.metadata.sorted_tables[::-1]):
            connection.execute(delete(table))


@pytest.fixture
def db(database: Database) -> Database:
    """The database without rows."""
    _empty(database)
    return database


def outcome_of(
    db: Database, record_id: int, kind: OutcomeKind, token: str = "token-1", **values: Any
) -> Outcome:
    pipeline = values.pop("pipeline", SALE)
    ref = db.source.documents.get(pipeline, [record_id])[0].ref
    return Outcome(ref=ref, claim_token=token, kind=kind, **values)
