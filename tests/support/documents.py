"""Valid documents for tests, and documents that are wrong in exactly what a test says."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS
from lib.pipelines import get_pipeline
from lib.source.tables import SourceTables

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
    """Insert a pending document; `header` and `line` replace single values. Returns its id."""
    kind = get_pipeline(pipeline)
    row = {
        kind.local_id_column: local_id,
        "pharmacy_code": SHOPS[shop].ma_co_so if shop in SHOPS else "999990000001",
        "shop_pharmacy_code": shop,
        "status": "PENDING_SYNC",
    }
    row |= _HEADER[pipeline] | header
    table, details = tables.header(kind), tables.details(kind)
    with engine.begin() as connection:
        result = connection.execute(table.insert().values(row).returning(table.c.id))
        record_id = int(result.scalar_one())
        for _ in range(lines):
            values = _LINE | (_SALE_LINE if pipeline == "sale" else {}) | (line or {})
            connection.execute(
                details.insert().values({kind.foreign_key_column: record_id} | values)
            )
    return record_id
