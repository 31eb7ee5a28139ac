"""Valid documents for tests, and documents with exactly the faults that a test specifies."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, insert, select, update

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS
from lib.pipelines import Pipeline, get_pipeline
from lib.source.tables import PLATFORM, SourceTables

SHOPS = {
    "SHOP01": DEMO_ACCOUNTS[0],
    "SHOP02": DEMO_ACCOUNTS[1],
    "SHOP03": DEMO_ACCOUNTS[2],
}

_HEADER: dict[str, dict[str, Any]] = {
    "import": {"receipt_date": datetime.fromisoformat("2026-10-28T09:30"), "receipt_type": 1},
    "sale": {"sale_date": datetime.fromisoformat("2026-11-02T08:15"), "customer_name": "Khách lẻ"},
    "cancellation": {
        "issue_date": datetime.fromisoformat("2026-11-06T16:00"),
        "issue_type": 2,
        "notes": "Trả lô cận hạn",
    },
}
_LINE: dict[str, Any] = {
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "expiry_date": date(2028, 8, 15),
    "registration_number": "VD-31422-19",
    "quantity": Decimal(20),
    "unit_price": Decimal(500),
    "unit": "Viên",
}
_SALE_LINE: dict[str, Any] = {
    "concentration": "500mg",
    "dosage": "1 viên/lần, ngày 3 lần",
    "line_total": Decimal(10000),
    "conversion_ratio": Decimal(1),
}


def insert_document(
    engine: Engine,
    tables: SourceTables,
    pipeline: str,
    local_id: str,
    *,
    shop: str = "SHOP01",
    lines: int = 1,
    line: dict[str, Any] | None = None,
    **header: Any,
) -> int:
    """Insert a pending document; `header` and `line` replace single values. Returns its id.

    `header` may contain columns of `dqg_delivery`.
    """
    kind = get_pipeline(pipeline)
    row = {
        kind.local_id_column: local_id,
        "pharmacy_code": SHOPS[shop].ma_co_so if shop in SHOPS else "999990000001",
        "shop_pharmacy_code": shop,
        "status": "PENDING_SYNC",
    }
    values, ours = split_columns(tables, kind, header)
    row |= _HEADER[pipeline] | values
    table, details = tables.header(kind), tables.details(kind)
    with engine.begin() as connection:
        result = connection.execute(table.insert().values(row).returning(table.c.id))
        record_id = int(result.scalar_one())
        for _ in range(lines):
            values = _LINE | (_SALE_LINE if pipeline == "sale" else {}) | (line or {})
            connection.execute(
                details.insert().values({kind.foreign_key_column: record_id} | values)
            )
    if ours:
        set_delivery(engine, tables, kind, record_id, ours)
    return record_id


def split_columns(
    tables: SourceTables, pipeline: Pipeline, values: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of the header, and those of the document's row in `dqg_delivery`."""
    header = tables.header(pipeline)
    ours = {name: value for name, value in values.items() if name not in header.c}
    return {name: value for name, value in values.items() if name in header.c}, ours


def set_delivery(
    engine: Engine,
    tables: SourceTables,
    pipeline: Pipeline,
    record_id: int,
    values: dict[str, Any],
) -> None:
    """Write columns of a document's row in `dqg_delivery`, which is created if it is missing."""
    header, delivery = tables.header(pipeline), tables.delivery
    this_one = (
        (delivery.c.platform == PLATFORM)
        & (delivery.c.pipeline == pipeline.name)
        & (delivery.c.record_id == record_id)
    )
    with engine.begin() as connection:
        if not connection.execute(select(delivery.c.record_id).where(this_one)).all():
            code = connection.execute(
                select(header.c.pharmacy_code, tables.local_id(pipeline)).where(
                    header.c.id == record_id
                )
            ).one()
            connection.execute(
                insert(delivery).values(
                    platform=PLATFORM,
                    pipeline=pipeline.name,
                    record_id=record_id,
                    pharmacy_code=code[0].strip(),
                    local_id=code[1].strip(),
                    attempts=0,
                    crashes=0,
                    begun=False,
                    unconfirmed=False,
                )
            )
        connection.execute(update(delivery).where(this_one).values(values))
