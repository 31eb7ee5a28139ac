"""Deadlocks, missing columns, a database that is away."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    text,
    update,
)

from deployments.migrations import BUSINESS, SYNC, migrate
from lib.errors import (
    ConfigurationError,
    StoreUnavailable,
)
from lib.models import OutcomeKind
from lib.pipelines import SALE
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine, translate_errors
from lib.source.store import open_source
from lib.source.tables import build_tables
from lib.source.transactions import Transactions
from tests.support.source import LEASE, Database, open_database, outcome_of


def test_transactions_that_deadlock_are_run_again(db: Database) -> None:
    ids = db.add_many(SALE, 2)
    header = db.tables.header(SALE)
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def worker(name: str, order: Sequence[int]) -> None:
        def work(connection: Connection) -> None:
            first_run = name not in runs
            runs.append(name)
            for number, record_id in enumerate(order):
                connection.execute(
                    update(header)
                    .where(header.c.id == record_id)
                    .values(sync_response_message=name)
                )
                if first_run and number == 0:
                    both_hold_one.wait(timeout=30)

        Transactions(db.engine, sleep=lambda _: None).run(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(worker, "a", ids), pool.submit(worker, "b", ids[::-1])]:
            done.result(timeout=60)
    assert len(runs) >= 3
    assert len({db.row(SALE, record)["sync_response_message"] for record in ids}) == 1


def test_a_missing_column_is_a_configuration_error(db: Database) -> None:
    settings = SourceSettings(columns={"SalesInvoices": {"sale_date": "ngay_ban"}})
    store = open_source(db.engine, build_tables(settings))
    db.add(SALE, "HD-1")
    with pytest.raises(ConfigurationError, match="ngay_ban"):
        store.documents.load(SALE, "token-1")


def test_a_database_that_is_away_is_unavailable(db: Database) -> None:
    url = db.engine.url.set(port=1)
    store = open_database(
        url.render_as_string(hide_password=False), SourceSettings(connect_timeout=2)
    ).source
    with pytest.raises(StoreUnavailable, match="source database"):
        store.ping()
    store.dispose()


def test_a_statement_that_takes_too_long_is_unavailable(postgres: Any) -> None:
    engine = create_source_engine(
        postgres.create_database("slow"), SourceSettings(statement_timeout=1)
    )
    with pytest.raises(StoreUnavailable):
        Transactions(engine).run(lambda c: c.execute(text("SELECT pg_sleep(60)")))
    engine.dispose()


def test_who_stands_still_in_a_transaction_loses_it(postgres: Any) -> None:
    url = postgres.create_database("idle")
    engine = create_source_engine(url, SourceSettings(statement_timeout=1))
    patient = create_source_engine(url, SourceSettings())
    with patient.begin() as connection:
        connection.execute(text("CREATE TABLE work (id integer)"))
        connection.execute(text("INSERT INTO work VALUES (1)"))
    with engine.connect() as standing, patient.begin() as waiting:
        standing.execute(text("UPDATE work SET id = 2"))
        waiting.execute(text("UPDATE work SET id = 3"))  # waits for the lock
        with pytest.raises(StoreUnavailable), translate_errors():
            standing.execute(text("SELECT 1"))
    with patient.begin() as connection:
        assert connection.execute(text("SELECT id FROM work")).scalar_one() == 3
    engine.dispose()
    patient.dispose()


def test_renamed_tables_and_columns_are_used_throughout(postgres: Any) -> None:
    settings = SourceSettings(
        db_schema="duoc",
        tables={"SalesInvoices": "HoaDon", "SalesInvoiceDetails": "HoaDonChiTiet"},
        columns={
            "SalesInvoices": {
                "id": "ma",
                "local_invoice_id": "ma_hoa_don",
                "national_invoice_id": "ma_hoa_don_quoc_gia",
                "status": "trang_thai",
            },
            "SalesInvoiceDetails": {"sales_invoice_id": "ma_hd", "drug_code": "ma_thuoc"},
        },
    )
    url = postgres.create_database("renamed")
    engine = create_source_engine(url, settings)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA duoc"))
    engine.dispose()
    migrate(url, BUSINESS, SYNC, settings=settings)
    db = open_database(url, settings)
    record_id = db.add(SALE, "HD-1")

    assert db.claim(SALE) == [record_id]
    (document,) = db.source.documents.load(SALE, "token-1")
    assert document.header["local_invoice_id"] == "HD-1"
    assert document.lines[0]["drug_code"] == "DQG00010421"
    assert db.source.claims.renew(SALE, "token-1", LEASE) == 1
    db.source.outcomes.save([outcome_of(db, record_id, OutcomeKind.ACCEPTED, national_id="Q1")])
    with db.engine.connect() as connection:
        row = connection.execute(text('SELECT * FROM duoc."HoaDon"')).mappings().one()
    assert (row["ma"], row["ma_hoa_don"], row["ma_hoa_don_quoc_gia"]) == (record_id, "HD-1", "Q1")
    assert row["trang_thai"] == "SYNC_SUCCESS"
    db.source.dispose()
