"""The source tables: the standard schema, and the names an installation gives it."""

from __future__ import annotations

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import mssql
from sqlalchemy.schema import CreateTable

from lib.errors import ConfigurationError
from lib.pipelines import CANCELLATION, IMPORT, PIPELINES, SALE
from lib.settings import SourceSettings
from lib.source.tables import build_tables

IDENTITY = "{0} national_{1} pharmacy_code shop_pharmacy_code"
STATUS = "status sync_response_message created_at updated_at"
DRUG = "drug_code drug_name lot_number production_date expiry_date"
STANDARD = {
    IMPORT: (
        f"id local_receipt_id national_receipt_id pharmacy_code shop_pharmacy_code receipt_date "
        f"receipt_type supplier_name notes {STATUS}",
        f"id purchase_receipt_id {DRUG} registration_number quantity unit_price unit",
        {"national_receipt_id", "supplier_name", "notes", "sync_response_message"},
        {"production_date", "unit_price"},
    ),
    SALE: (
        f"id local_invoice_id national_invoice_id pharmacy_code shop_pharmacy_code "
        f"national_prescription_id sale_date seller_name customer_name {STATUS}",
        f"id sales_invoice_id {DRUG} unit concentration dosage route_of_administration "
        f"registration_number quantity unit_price line_total conversion_ratio",
        {
            "national_invoice_id",
            "national_prescription_id",
            "seller_name",
            "customer_name",
            "sync_response_message",
        },
        {"production_date", "route_of_administration", "registration_number"},
    ),
    CANCELLATION: (
        f"id local_slip_id national_slip_id pharmacy_code shop_pharmacy_code issue_date "
        f"issue_type recipient_name notes {STATUS}",
        f"id goods_issue_slip_id {DRUG} registration_number quantity unit_price unit",
        {"national_slip_id", "recipient_name", "sync_response_message"},
        {"production_date"},
    ),
}


def _nullable(table: Table) -> set[str]:
    return {column.key for column in table.c if column.nullable}


@pytest.mark.parametrize("pipeline", STANDARD, ids=list(PIPELINES))
def test_the_standard_columns_are_those_of_the_documents_schema(pipeline: object) -> None:
    tables = build_tables(SourceSettings())
    header_columns, detail_columns, header_optional, detail_optional = STANDARD[pipeline]
    header, details = tables.header(pipeline), tables.details(pipeline)
    assert [c.name for c in header.c] == header_columns.split()
    assert [c.name for c in details.c] == detail_columns.split()
    assert _nullable(header) == header_optional
    assert _nullable(details) == detail_optional
    assert tables.foreign_key(pipeline).references(header.c.id)


def test_sql_server_gets_unicode_text_and_no_rowversion() -> None:
    for table in build_tables(SourceSettings()).metadata.tables.values():
        ddl = str(CreateTable(table).compile(dialect=mssql.dialect()))
        assert " VARCHAR" not in ddl
        assert " TEXT" not in ddl
        assert "NTEXT" not in ddl
        assert "TIMESTAMP" not in ddl


def test_an_override_changes_the_name_but_not_the_key() -> None:
    tables = build_tables(
        SourceSettings(
            db_schema="duoc",
            tables={"SalesInvoices": "HoaDon"},
            columns={"SalesInvoices": {"local_invoice_id": "ma_hoa_don"}},
        )
    )
    header = tables.header(SALE)
    assert header.fullname == "duoc.HoaDon"
    assert header.c.local_invoice_id.name == "ma_hoa_don"
    assert tables.local_id(SALE) is header.c.local_invoice_id
    assert tables.header(IMPORT).fullname == "duoc.PurchaseReceipts"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"tables": {"SaleInvoices": "X"}}, "TABLES.*SaleInvoices"),
        ({"columns": {"SaleInvoices": {"id": "x"}}}, "COLUMNS.*SaleInvoices"),
        ({"columns": {"SalesInvoices": {"invoice_id": "x"}}}, "SalesInvoices.*invoice_id"),
        ({"columns": {"SalesInvoices": {"seller_name": "Status"}}}, "SalesInvoices share a name"),
        ({"tables": {"SalesInvoices": "PurchaseReceipts"}}, "PurchaseReceipts"),
    ],
)
def test_an_override_that_meets_nothing_is_an_error(
    overrides: dict[str, dict[str, object]], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        build_tables(SourceSettings.model_validate(overrides))
