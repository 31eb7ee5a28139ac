"""The document tables as the chain's own software creates them: for the local stack and tests.

A real installation has these tables already and never runs this branch.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

from deployments.migrations.context import source_settings
from lib.pipelines import PIPELINES, Pipeline
from lib.source.dialects import local_now
from lib.source.tables import ACCOUNT_TABLE, build_tables

revision = "business_0001"
down_revision = None
branch_labels = ("business",)
depends_on = None

# The types are written out here and not taken from lib.source.tables: a released revision must
# not change. Only the names come from there, because an installation may change them.
_LONG_TEXT = sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
_DAY = sa.Date().with_variant(mssql.DATE(), "mssql")
_MOMENT = sa.DateTime().with_variant(mssql.DATETIME(), "mssql")
_AMOUNT = sa.Numeric(18, 2)

_OPTIONAL = {
    "national_receipt_id",
    "national_invoice_id",
    "national_slip_id",
    "national_prescription_id",
    "seller_name",
    "customer_name",
    "supplier_name",
    "recipient_name",
    "sync_response_message",
    "production_date",
    "route_of_administration",
}


def _identity(local_id: str, national_id: str) -> dict[str, Any]:
    return {
        local_id: sa.Unicode(50),
        national_id: sa.Unicode(100),
        "pharmacy_code": sa.Unicode(50),
        "shop_pharmacy_code": sa.Unicode(50),
    }


_STATUS = {
    "status": sa.Unicode(20),
    "sync_response_message": _LONG_TEXT,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
_DRUG = {
    "drug_code": sa.Unicode(50),
    "drug_name": sa.Unicode(500),
    "lot_number": sa.Unicode(50),
    "production_date": _DAY,
    "expiry_date": _DAY,
}
_STOCK = {
    "registration_number": sa.Unicode(50),
    "quantity": _AMOUNT,
    "unit_price": _AMOUNT,
    "unit": sa.Unicode(200),
}

_TABLES: dict[str, dict[str, Any]] = {
    "PurchaseReceipts": {
        **_identity("local_receipt_id", "national_receipt_id"),
        "receipt_date": _MOMENT,
        "receipt_type": sa.Integer(),
        "supplier_name": sa.Unicode(500),
        "notes": _LONG_TEXT,
        **_STATUS,
    },
    "PurchaseReceiptDetails": {"purchase_receipt_id": sa.Integer(), **_DRUG, **_STOCK},
    "SalesInvoices": {
        **_identity("local_invoice_id", "national_invoice_id"),
        "national_prescription_id": sa.Unicode(50),
        "sale_date": _MOMENT,
        "seller_name": sa.Unicode(50),
        "customer_name": sa.Unicode(50),
        **_STATUS,
    },
    "SalesInvoiceDetails": {
        "sales_invoice_id": sa.Integer(),
        **_DRUG,
        "unit": sa.Unicode(50),
        "concentration": sa.Unicode(500),
        "dosage": _LONG_TEXT,
        "route_of_administration": sa.Unicode(200),
        "registration_number": sa.Unicode(50),
        "quantity": _AMOUNT,
        "unit_price": _AMOUNT,
        "line_total": _AMOUNT,
        "conversion_ratio": _AMOUNT,
    },
    "GoodsIssueSlips": {
        **_identity("local_slip_id", "national_slip_id"),
        "issue_date": _MOMENT,
        "issue_type": sa.Integer(),
        "recipient_name": sa.Unicode(500),
        "notes": _LONG_TEXT,
        **_STATUS,
    },
    "GoodsIssueSlipDetails": {"goods_issue_slip_id": sa.Integer(), **_DRUG, **_STOCK},
    "AccountShop": {
        "shop_pharmacy_code": sa.Unicode(50),
        "pharmacy_code": sa.Unicode(50),
        "account": sa.Unicode(50),
        "password": sa.Unicode(50),
        "shop_name": sa.Unicode(100),
        "address": sa.Unicode(200),
        "phone_number": sa.Unicode(20),
        "email": sa.Unicode(100),
        "status": sa.Integer(),
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
    },
}
#: Optional in some tables only.
_OPTIONAL_IN = {
    ("PurchaseReceipts", "notes"),
    ("PurchaseReceiptDetails", "unit_price"),
    ("SalesInvoiceDetails", "registration_number"),
    ("AccountShop", "email"),
    ("AccountShop", "updated_at"),
}


def upgrade() -> None:
    settings = source_settings(op.get_context().config)
    tables = build_tables(settings)
    schema = settings.db_schema
    for pipeline in PIPELINES.values():
        header, details = tables.header(pipeline), tables.details(pipeline)
        op.create_table(
            header.name,
            *_columns(pipeline.header_table, header),
            sa.PrimaryKeyConstraint(header.c.id.name, name=f"pk_{header.name}"),
            sa.UniqueConstraint(
                header.c.pharmacy_code.name,
                tables.local_id(pipeline).name,
                name=f"uq_{header.name}_code",
            ),
            schema=schema,
        )
        op.create_index(
            f"ix_{header.name}_pending",
            header.name,
            [
                header.c[name].name
                for name in (
                    "status",
                    "shop_pharmacy_code",
                    pipeline.date_column,
                    "created_at",
                    "id",
                )
            ],
            schema=schema,
        )
        op.create_index(
            f"ix_{header.name}_status",
            header.name,
            [header.c.status.name, header.c.updated_at.name],
            schema=schema,
        )
        foreign_key = tables.foreign_key(pipeline).name
        op.create_table(
            details.name,
            *_columns(pipeline.detail_table, details),
            sa.PrimaryKeyConstraint(details.c.id.name, name=f"pk_{details.name}"),
            sa.ForeignKeyConstraint(
                [foreign_key],
                [f"{header.fullname}.{header.c.id.name}"],
                name=f"fk_{details.name}_header",
            ),
            schema=schema,
        )
        op.create_index(f"ix_{details.name}_header", details.name, [foreign_key], schema=schema)
    accounts = tables.accounts
    key = [accounts.c[name].name for name in ("shop_pharmacy_code", "pharmacy_code", "account")]
    op.create_table(
        accounts.name,
        *_columns(ACCOUNT_TABLE, accounts),
        sa.PrimaryKeyConstraint(*key, name=f"pk_{accounts.name}"),
        schema=schema,
    )


def downgrade() -> None:
    settings = source_settings(op.get_context().config)
    tables = build_tables(settings)
    op.drop_table(tables.accounts.name, schema=settings.db_schema)
    pipelines: list[Pipeline] = list(PIPELINES.values())
    for pipeline in reversed(pipelines):
        op.drop_table(tables.details(pipeline).name, schema=settings.db_schema)
        op.drop_table(tables.header(pipeline).name, schema=settings.db_schema)


def _columns(table: str, named: sa.Table) -> list[sa.Column[Any]]:
    columns = []
    if table != ACCOUNT_TABLE:
        identity = sa.Identity(always=True)
        columns.append(sa.Column(named.c.id.name, sa.Integer(), identity, nullable=False))
    for standard, type_ in _TABLES[table].items():
        optional = standard in _OPTIONAL or (table, standard) in _OPTIONAL_IN
        columns.append(
            sa.Column(
                named.c[standard].name,
                type_,
                nullable=optional,
                server_default=(
                    local_now()
                    if standard in ("created_at", "updated_at") and not optional
                    else None
                ),
            )
        )
    return columns
