"""Settings of the stores: source database, MongoDB, Redis."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lib.settings.section import Seconds, Section


class SourceSettings(Section):
    """The database that holds the documents."""

    url: SecretStr | None = Field(
        None, description="SQLAlchemy URL, `mssql+pyodbc://…` or `postgresql+psycopg://…`"
    )
    block: str | None = Field(
        None,
        description="name of a SqlAlchemyConnector block, instead of the URL",
    )
    odbc_driver: str | None = Field(
        None,
        description="ODBC driver for SQL Server, a registered name or a path; by default a driver "
        "of the system, otherwise the driver included in the installation",
    )
    db_schema: str | None = Field(None, description="schema of the document tables, e.g. `dbo`")
    tables: dict[str, str] = Field(
        default_factory=dict,
        description='JSON, other names for tables: `{"SalesInvoices": "HoaDon"}`',
    )
    columns: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="JSON, other names for columns, by standard table name: "
        '`{"SalesInvoices": {"local_invoice_id": "ma_hoa_don"}}`',
    )
    pool_size: int = Field(5, ge=1, le=100, description="connections a process keeps open")
    connect_timeout: int = Field(10, ge=1, le=300, description="seconds to wait for a connection")
    statement_timeout: int = Field(60, ge=1, le=3600, description="seconds a statement may take")
    lock_timeout: int = Field(
        5, ge=1, le=300, description="seconds to wait for a row that other software has locked"
    )
    settle_seconds: float = Field(
        2,
        ge=0,
        le=300,
        description="seconds for which a header row must be unchanged (`updated_at`) before it is "
        "claimed, so that its lines are complete; 0 if header and lines are written in one "
        "transaction",
    )


class MongoSettings(Section):
    """The store of `task_logs` and `sync_failures`."""

    url: SecretStr = Field(..., description="`mongodb://…`")
    database: str = Field("dqg_sync", description="name of the database")
    timeout: Seconds = Field(
        5, description="seconds an operation may take before the store counts as unavailable"
    )
    buffer_size: int = Field(
        10_000, ge=0, description="number of log writes kept in memory while MongoDB is unavailable"
    )
    task_log_days: int = Field(90, ge=1, description="days after which task_logs entries expire")
    failure_days: int = Field(
        365, ge=1, description="days after which sync_failures entries expire"
    )
    mask_personal_names: bool = Field(
        True, description="replace the names of buyers and sellers in stored payloads"
    )


class RedisSettings(Section):
    """Tokens, breakers and rate limits shared by all processes."""

    url: SecretStr = Field(..., description="`redis://…` or `rediss://…`")
    prefix: str = Field("dqg", description="prefix of every key")
    timeout: Seconds = Field(
        2, description="seconds an operation may take before the store counts as unavailable"
    )
