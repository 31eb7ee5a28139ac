"""Documents that are fit to be sent but for what a test changes."""

# ruff: noqa: DTZ001 - the columns hold the pharmacy's local time, without a zone

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from lib.errors import FieldError, InvalidDocument
from lib.models import Document, DocumentRef, Payload
from lib.pipelines import PIPELINES
from lib.platforms.dqg.payloads import build_payload
from lib.settings import ApiSettings

HEADERS: dict[str, dict[str, Any]] = {
    "sale": {
        "id": 101,
        "local_invoice_id": "HD-S01-000101",
        "national_invoice_id": None,
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "national_prescription_id": "79012a7k3m9q-C",
        "sale_date": datetime(2026, 11, 2, 23, 59),
        "seller_name": "DS. Trần Thu Hà",
        "customer_name": "Khách lẻ",
        "status": "PENDING_SYNC",
        "created_at": datetime(2026, 11, 2, 23, 59),
    },
    "import": {
        "id": 21,
        "local_receipt_id": "PN-S01-000021",
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "receipt_date": datetime(2026, 10, 28, 8, 30),
        "receipt_type": 1,
        "notes": None,
        "supplier_name": "Công ty TNHH Dược phẩm Sao Khuê Demo",
        "status": "PENDING_SYNC",
    },
    "cancellation": {
        "id": 4,
        "local_slip_id": "PX-S01-000004",
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "issue_date": datetime(2026, 11, 6),
        "issue_type": 2,
        "notes": "Trả lô cận hạn",
        "recipient_name": "Công ty TNHH TM Dược Lạc Việt Demo",
        "status": "PENDING_SYNC",
    },
}
LINE: dict[str, Any] = {
    "id": 1,
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "production_date": date(2025, 8, 15),
    "expiry_date": date(2028, 8, 15),
    "unit": "Viên",
    "concentration": "500mg",
    "dosage": "1 viên/lần, ngày 3 lần",
    "route_of_administration": "Uống",
    "registration_number": "VD-31422-19",
    "quantity": Decimal("20.00"),
    "unit_price": Decimal("500.00"),
    "line_total": Decimal("10000.00"),
    "conversion_ratio": Decimal("1.00"),
}
ALL = ("sale", "import", "cancellation")


def make_document(
    pipeline: str = "sale",
    header: Mapping[str, Any] | None = None,
    line: Mapping[str, Any] | None = None,
    lines: list[dict[str, Any]] | None = None,
) -> Document:
    """A document that is fit to be sent, but for the given columns."""
    columns = {**HEADERS[pipeline], **(header or {})}
    local_id = str(columns[PIPELINES[pipeline].local_id_column])
    return Document(
        ref=DocumentRef(pipeline, 1, local_id, "790760001234", "SHOP01"),
        claim_token="token",
        unconfirmed=False,
        attempts=1,
        header=columns,
        lines=[{**LINE, **(line or {})}] if lines is None else lines,
    )


def build(document: Document, today: date | None = None, **settings: Any) -> Payload:
    return build_payload(document, ApiSettings(**settings), today)


def errors_of(document: Document, **settings: Any) -> list[FieldError]:
    with pytest.raises(InvalidDocument) as caught:
        build(document, **settings)
    return list(caught.value.field_errors)


def only_line(payload: Payload) -> dict[str, Any]:
    (line,) = payload.body.get("hoa_don_chi_tiet") or payload.body["chi_tiet"]
    assert isinstance(line, dict)
    return line
