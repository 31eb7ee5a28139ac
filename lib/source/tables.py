"""The source database's tables, in SQLAlchemy Core, under the names an installation gives them.

A column's `key` is always its standard name; only its `name` in the database can be overridden. So
the rest of the code uses `header.c.status`, whatever the installation calls that column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Unicode,
    UnicodeText,
)
from sqlalchemy.dialects import mssql
from sqlalchemy.types import TypeEngine

from lib.errors import ConfigurationError
from lib.pipelines import CANCELLATION, IMPORT, PIPELINES, SALE, Pipeline
from lib.settings import SourceSettings
from lib.source.dialects import CODE_LENGTH, local_now

ACCOUNT_TABLE = "AccountShop"
#: Our own tables, so each has the same name in every installation.
DELIVERY_TABLE = "dqg_delivery"
ENCRYPTED_TABLE = "dqg_account"
INSTALLATION_TABLE = "dqg_installation"
#: Part of the key of `dqg_delivery`: a document has one row per platform it is sent to.
PLATFORM = "dqg"

# The variants are needed for migrations written as scripts: without a connection SQLAlchemy assumes
# an old SQL Server without NVARCHAR(MAX) and DATE.
LONG_TEXT = UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
DAY = Date().with_variant(mssql.DATE(), "mssql")
MOMENT = DateTime().with_variant(mssql.DATETIME(), "mssql")
#: UTC by the database's clock. DATETIME2 because it stores a Python datetime's microseconds.
UTC_MOMENT = DateTime().with_variant(mssql.DATETIME2(7), "mssql")  # type: ignore[no-untyped-call]
AMOUNT = Numeric(18, 2)


class _Field(NamedTuple):
    type: TypeEngine[Any]
    nullable: bool = False
    now_by_default: bool = False


def _text(length: int) -> _Field:
    return _Field(Unicode(length))


def _optional(type_: TypeEngine[Any]) -> _Field:
    return _Field(type_, nullable=True)


_Fields = Mapping[str, _Field]

_STATUS_FIELDS: _Fields = {
    "status": _text(20),
    "sync_response_message": _optional(LONG_TEXT),
    "created_at": _Field(MOMENT, now_by_default=True),
    "updated_at": _Field(MOMENT, now_by_default=True),
}


def _identity_fields(pipeline: Pipeline) -> _Fields:
    return {
        pipeline.local_id_column: _text(50),
        pipeline.national_id_column: _optional(Unicode(100)),
        "pharmacy_code": _text(50),
        "shop_pharmacy_code": _text(50),
    }


_HEADERS: dict[str, _Fields] = {
    IMPORT.header_table: {
        **_identity_fields(IMPORT),
        "receipt_date": _Field(MOMENT),
        "receipt_type": _Field(Integer()),
        "supplier_name": _optional(Unicode(500)),
        "notes": _optional(LONG_TEXT),
        **_STATUS_FIELDS,
    },
    SALE.header_table: {
        **_identity_fields(SALE),
        "national_prescription_id": _optional(Unicode(50)),
        "sale_date": _Field(MOMENT),
        "seller_name": _optional(Unicode(50)),
        "customer_name": _optional(Unicode(50)),
        **_STATUS_FIELDS,
    },
    CANCELLATION.header_table: {
        **_identity_fields(CANCELLATION),
        "issue_date": _Field(MOMENT),
        "issue_type": _Field(Integer()),
        "recipient_name": _optional(Unicode(500)),
        "notes": _Field(LONG_TEXT),
        **_STATUS_FIELDS,
    },
}

_DRUG_FIELDS: _Fields = {
    "drug_code": _text(50),
    "drug_name": _text(500),
    "lot_number": _text(50),
    "production_date": _optional(DAY),
    "expiry_date": _Field(DAY),
}

_DETAILS: dict[str, _Fields] = {
    IMPORT.detail_table: {
        **_DRUG_FIELDS,
        "registration_number": _text(50),
        "quantity": _Field(AMOUNT),
        "unit_price": _optional(AMOUNT),
        "unit": _text(200),
    },
    SALE.detail_table: {
        **_DRUG_FIELDS,
        "unit": _text(50),
        "concentration": _text(500),
        "dosage": _Field(LONG_TEXT),
        "route_of_administration": _optional(Unicode(200)),
        "registration_number": _optional(Unicode(50)),
        "quantity": _Field(AMOUNT),
        "unit_price": _Field(AMOUNT),
        "line_total": _Field(AMOUNT),
        "conversion_ratio": _Field(AMOUNT),
    },
    CANCELLATION.detail_table: {
        **_DRUG_FIELDS,
        "registration_number": _text(50),
        "quantity": _Field(AMOUNT),
        "unit_price": _Field(AMOUNT),
        "unit": _text(200),
    },
}

#: Enough for a password of 50 characters of any kind as a Fernet token.
ENCRYPTED_LENGTH = 400

_ACCOUNT_KEY: _Fields = {
    "shop_pharmacy_code": _text(50),
    "pharmacy_code": _text(50),
    "account": _text(50),
}
_ACCOUNT_REST: _Fields = {
    "password": _text(50),
    "shop_name": _text(100),
    "address": _text(200),
    "phone_number": _text(20),
    "email": _optional(Unicode(100)),
    "status": _Field(Integer()),
    "created_at": _Field(MOMENT, now_by_default=True),
    "updated_at": _optional(MOMENT),
}


@dataclass(frozen=True)
class SourceTables:
    """The tables of one installation.

    Attributes:
        metadata: the pharmacy's seven tables, as in the standard schema.
        accounts: logins by shop.
        delivery: the delivery state of each document. This table and the next two are our own, so
            they are not in `metadata`.
        encrypted: encrypted passwords of `accounts`, with the same key.
        installation: the databases that documents may be sent from.
    """

    metadata: MetaData
    accounts: Table
    delivery: Table
    encrypted: Table
    installation: Table
    _headers: Mapping[str, Table]
    _details: Mapping[str, Table]

    def header(self, pipeline: Pipeline) -> Table:
        return self._headers[pipeline.name]

    def details(self, pipeline: Pipeline) -> Table:
        return self._details[pipeline.name]

    def local_id(self, pipeline: Pipeline) -> Column[str]:
        return self.header(pipeline).c[pipeline.local_id_column]

    def national_id(self, pipeline: Pipeline) -> Column[str | None]:
        return self.header(pipeline).c[pipeline.national_id_column]

    def foreign_key(self, pipeline: Pipeline) -> Column[int]:
        return self.details(pipeline).c[pipeline.foreign_key_column]


def build_tables(settings: SourceSettings) -> SourceTables:
    """Tables under the names of this installation.

    Raises:
        ConfigurationError: an override names a table or column that the standard schema lacks, or
            gives two of them the same name.
    """
    naming = _Naming(settings)
    metadata = MetaData(schema=settings.db_schema)
    headers: dict[str, Table] = {}
    details: dict[str, Table] = {}
    for pipeline in PIPELINES.values():
        name = pipeline.header_table
        header = naming.table(
            metadata,
            name,
            [naming.primary_key(name), *naming.columns(name, _HEADERS[name])],
        )
        name = pipeline.detail_table
        headers[pipeline.name] = header
        details[pipeline.name] = naming.table(
            metadata,
            name,
            [
                naming.primary_key(name),
                naming.column(
                    name, pipeline.foreign_key_column, Integer(), ForeignKey(header.c.id)
                ),
                *naming.columns(name, _DETAILS[name]),
            ],
        )
    accounts = naming.table(
        metadata,
        ACCOUNT_TABLE,
        [
            *naming.columns(ACCOUNT_TABLE, _ACCOUNT_KEY, primary_key=True),
            *naming.columns(ACCOUNT_TABLE, _ACCOUNT_REST),
        ],
    )
    naming.check_all_used()
    ours = MetaData(schema=settings.db_schema)
    return SourceTables(
        metadata, accounts, _delivery(ours), _encrypted(ours), _installation(ours), headers, details
    )


def _delivery(metadata: MetaData) -> Table:
    return Table(
        DELIVERY_TABLE,
        metadata,
        Column("platform", Unicode(20), primary_key=True),
        Column("pipeline", Unicode(20), primary_key=True),
        Column("record_id", BigInteger(), primary_key=True, autoincrement=False),
        # The document's code without surrounding blanks: one row per code is claimed at a time.
        Column("pharmacy_code", Unicode(CODE_LENGTH), nullable=False),
        Column("local_id", Unicode(CODE_LENGTH), nullable=False),
        Column("claim_token", Unicode(36)),
        Column("lease_expires_at", UTC_MOMENT),
        # The holder has begun to read the documents.
        Column("begun", Boolean(), nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("crashes", Integer(), nullable=False),
        Column("crashed_at", UTC_MOMENT),
        Column("next_attempt_at", UTC_MOMENT),
        Column("unconfirmed", Boolean(), nullable=False),
        Column("transaction_id", Unicode(100)),
        Column("state", Unicode(20)),
        Column("national_id", Unicode(100)),
        Column("message", LONG_TEXT),
        Column("payload_digest", Unicode(64)),
        # Digest of what may have been stored; cleared with `unconfirmed`.
        Column("sent_digest", Unicode(64)),
        # Until then the platform may still be processing the last call about the document.
        Column("settles_at", UTC_MOMENT),
        Column("settled_at", UTC_MOMENT),
    )


def _encrypted(metadata: MetaData) -> Table:
    return Table(
        ENCRYPTED_TABLE,
        metadata,
        Column("shop_pharmacy_code", Unicode(CODE_LENGTH), primary_key=True),
        Column("pharmacy_code", Unicode(CODE_LENGTH), primary_key=True),
        Column("account", Unicode(CODE_LENGTH), primary_key=True),
        Column("encrypted_password", Unicode(ENCRYPTED_LENGTH)),
    )


def _installation(metadata: MetaData) -> Table:
    return Table(
        INSTALLATION_TABLE,
        metadata,
        Column("id", Integer(), Identity(start=1), primary_key=True),
        Column("server_name", Unicode(256), nullable=False),
        Column("database_name", Unicode(256), nullable=False),
        Column("recorded_at", UTC_MOMENT, nullable=False),
        Column("recorded_by", Unicode(256), nullable=False),
        Column("why", Unicode(500), nullable=False),
        Column("replaces", Boolean(), nullable=False),
    )


class _Naming:
    """Creates tables and columns, and finds overrides that match none of them."""

    def __init__(self, settings: SourceSettings) -> None:
        self._tables = settings.tables
        self._columns = settings.columns
        self._known: dict[str, set[str]] = {}

    def table(self, metadata: MetaData, standard: str, columns: Iterable[Column[Any]]) -> Table:
        columns = list(columns)
        name = self._tables.get(standard, standard)
        names = [column.name.lower() for column in columns]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"DQG_SOURCE__COLUMNS: two columns of {standard} share a name")
        if name in {table.name for table in metadata.tables.values()}:
            raise ConfigurationError(f"DQG_SOURCE__TABLES: two tables are called {name!r}")
        self._known[standard] = {column.key for column in columns}
        return Table(name, metadata, *columns)

    def primary_key(self, table: str) -> Column[Any]:
        return self.column(table, "id", Integer(), Identity(start=1), primary_key=True)

    def columns(
        self, table: str, fields: _Fields, *, primary_key: bool = False
    ) -> list[Column[Any]]:
        return [
            self.column(
                table,
                standard,
                field.type,
                nullable=field.nullable,
                server_default=local_now() if field.now_by_default else None,
                primary_key=primary_key,
            )
            for standard, field in fields.items()
        ]

    def column(
        self, table: str, standard: str, type_: TypeEngine[Any], *args: Any, **options: Any
    ) -> Column[Any]:
        name = self._columns.get(table, {}).get(standard, standard)
        return Column(name, type_, *args, key=standard, **{"nullable": False, **options})

    def check_all_used(self) -> None:
        for setting, tables in (("TABLES", self._tables), ("COLUMNS", self._columns)):
            unknown = set(tables) - set(self._known)
            if unknown:
                raise ConfigurationError(
                    f"DQG_SOURCE__{setting}: no table {_listed(unknown)}; "
                    f"there are {_listed(self._known)}"
                )
        for table, columns in self._columns.items():
            unknown = set(columns) - self._known[table]
            if unknown:
                raise ConfigurationError(
                    f"DQG_SOURCE__COLUMNS: {table} has no column {_listed(unknown)}"
                )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
