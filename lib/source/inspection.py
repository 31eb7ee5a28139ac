"""The actual state of the source database: columns, triggers, statuses, clients' SET options.

The pharmacy's tables are older than the model in `tables.py`, and other software uses them too.
Everything here only reads; `dqg doctor` shows the results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    Numeric,
    String,
    Table,
    Unicode,
    func,
    inspect,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects import mssql
from sqlalchemy.types import TypeEngine

from lib.models import SyncStatus
from lib.pipelines import PIPELINES, Pipeline
from lib.source.tables import SourceTables

STATUSES = tuple(status.value for status in SyncStatus)

#: Lengths that columns need. A shorter column for messages is no problem: messages are cut.
_SHORTEST = {"status": 20, **{p.national_id_column: 100 for p in PIPELINES.values()}}
#: Without these a document cannot be found, claimed, or distinguished from another.
_REQUIRED = {"pharmacy_code", "shop_pharmacy_code", "status"} | {
    p.local_id_column for p in PIPELINES.values()
}
_WRITTEN_LATER = {"sync_response_message"} | {p.national_id_column for p in PIPELINES.values()}
_VIETNAMESE = {
    *("sync_response_message", "supplier_name", "notes", "seller_name", "customer_name"),
    *("recipient_name", "drug_name", "unit", "concentration", "dosage"),
    *("route_of_administration", "shop_name", "address"),
}
_NO_COUNT = re.compile(r"\bSET\s+NOCOUNT\s+ON\b", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


class ColumnMismatch(Enum):
    """What is wrong with a column."""

    MISSING = auto()
    TYPE = auto()
    LENGTH = auto()
    BLANK_PADDED = auto()  # CHAR: values have trailing blanks
    NOT_UNICODE = auto()  # VARCHAR: its code page has no Vietnamese letters
    NULLABLE = auto()  # allows NULL, but a document with NULL cannot be sent
    NOT_NULLABLE = auto()  # forbids NULL, which documents have before they are sent


@dataclass(frozen=True, slots=True)
class ColumnProblem:
    """A mapped column that does not fit.

    Attributes:
        found: type in the database; empty if there is no such column.
        wanted: type that fits.
        statement: the ALTER TABLE that corrects it; None if that could lose data.
    """

    table: str
    column: str
    mismatch: ColumnMismatch
    found: str = ""
    wanted: str = ""
    statement: str | None = None


def reflect_columns(
    connection: Connection, tables: Iterable[Table]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Columns in the database: by our table's full name, then by standard column name.

    A table (or view) that does not exist is left out, and so are columns that are not mapped. Each
    column is a `ReflectedColumn` of SQLAlchemy, with `type` and `nullable`; a view does not show
    which columns are never NULL, so for a view `nullable` is None.
    """
    inspector, fold = inspect(connection), _fold(connection)
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for table in tables:
        if not inspector.has_table(table.name, table.schema):
            continue
        of_view = {"nullable": None} if is_view(connection, table) else {}
        columns = inspector.get_columns(table.name, table.schema)
        real = {fold(column["name"]): {**column, **of_view} for column in columns}
        found[table.fullname] = {
            column.key: real[fold(column.name)]
            for column in table.columns
            if fold(column.name) in real
        }
    return found


def is_view(connection: Connection, table: Table) -> bool:
    """Whether the database has a view under the name of a table."""
    fold = _fold(connection)
    return fold(table.name) in map(fold, inspect(connection).get_view_names(table.schema))


def _fold(connection: Connection) -> Callable[[str], str]:
    # SQL Server compares names by the database's collation, which usually ignores case.
    return str.casefold if connection.dialect.name == "mssql" else str


def column_problems(
    table: Table, reflected: Mapping[str, Mapping[str, Any]], dialect: Dialect
) -> list[ColumnProblem]:
    """The problems of one table's columns, in the order of the columns."""
    problems = []
    for column in table.columns:
        real = reflected.get(column.key)
        if real is None:
            problems.append(_problem(column, ColumnMismatch.MISSING, None, dialect))
        elif mismatch := _mismatch(column, real, dialect):
            problems.append(_problem(column, mismatch, real["type"], dialect))
    return problems


def _mismatch(
    column: Column[Any], real: Mapping[str, Any], dialect: Dialect
) -> ColumnMismatch | None:
    type_ = real["type"]
    if not _fits(column.type, type_):
        return ColumnMismatch.TYPE
    if isinstance(type_, String) and (mismatch := _text_mismatch(column.key, type_, dialect)):
        return mismatch
    named = column.key in _REQUIRED and isinstance(column.type, String)
    key = column.primary_key or bool(column.foreign_keys) or named
    if real["nullable"] and key:
        return ColumnMismatch.NULLABLE
    if real["nullable"] is False and column.key in _WRITTEN_LATER:
        return ColumnMismatch.NOT_NULLABLE
    return None


def _text_mismatch(name: str, type_: String, dialect: Dialect) -> ColumnMismatch | None:
    if isinstance(type_, _CHAR) and name == "status":
        return ColumnMismatch.BLANK_PADDED
    if type_.length is not None and type_.length < _SHORTEST.get(name, 0):
        return ColumnMismatch.LENGTH
    if dialect.name == "mssql" and name in _VIETNAMESE and not _is_unicode(type_):
        return ColumnMismatch.NOT_UNICODE
    return None


_CHAR = (mssql.CHAR, mssql.NCHAR)  # standard SQL types, so PostgreSQL has them too


def _fits(wanted: TypeEngine[Any], real: TypeEngine[Any]) -> bool:
    if isinstance(wanted, Integer):
        return isinstance(real, Integer)
    if isinstance(wanted, Numeric):
        exact = isinstance(real, (Numeric, Integer, mssql.MONEY, mssql.SMALLMONEY))
        return exact and not isinstance(real, Float)
    if isinstance(wanted, DateTime):
        return isinstance(real, (DateTime, Date))
    if isinstance(wanted, Date):
        return isinstance(real, (Date, DateTime))
    if isinstance(wanted, String):
        return isinstance(real, String)
    return True


def _is_unicode(type_: String) -> bool:
    national = isinstance(type_, (mssql.NVARCHAR, mssql.NCHAR, mssql.NTEXT, Unicode))
    return national or "UTF8" in (type_.collation or "")


def _problem(
    column: Column[Any], mismatch: ColumnMismatch, real: TypeEngine[Any] | None, dialect: Dialect
) -> ColumnProblem:
    table = column.table
    wanted = column.type.compile(dialect)
    nullable = bool(column.nullable)
    found = _shown(real, dialect) if real is not None else ""
    if isinstance(real, String) and mismatch in (
        ColumnMismatch.NULLABLE,
        ColumnMismatch.NOT_NULLABLE,
    ):
        wanted = real.compile(dialect)  # with its collation, which ALTER COLUMN would reset
    statement = None
    if mismatch not in (ColumnMismatch.TYPE, ColumnMismatch.MISSING):
        statement = _alter(column, mismatch, wanted, nullable, dialect)
    return ColumnProblem(
        table=table.fullname,
        column=column.name,
        mismatch=mismatch,
        found=found,
        wanted=wanted,
        statement=statement,
    )


def _shown(type_: TypeEngine[Any], dialect: Dialect) -> str:
    """A type without its collation, which the column already has."""
    return re.sub(r" COLLATE \S+", "", type_.compile(dialect))


def _alter(
    column: Column[Any], mismatch: ColumnMismatch, wanted: str, nullable: bool, dialect: Dialect
) -> str:
    quote = dialect.identifier_preparer
    change = f"ALTER TABLE {quote.format_table(column.table)} ALTER COLUMN "
    change += quote.quote(column.name)
    if dialect.name == "mssql":
        return f"{change} {wanted} {'NULL' if nullable else 'NOT NULL'}"
    if mismatch is ColumnMismatch.NULLABLE:
        return f"{change} SET NOT NULL"
    if mismatch is ColumnMismatch.NOT_NULLABLE:
        return f"{change} DROP NOT NULL"
    return f"{change} TYPE {wanted}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """An enabled trigger on a header table.

    Attributes:
        sets_nocount: whether it contains SET NOCOUNT ON; None if that does not apply or its text
            cannot be read.
    """

    table: str
    name: str
    sets_nocount: bool | None


def enabled_triggers(connection: Connection, tables: SourceTables) -> list[Trigger]:
    """Enabled triggers on the header tables, by table and name."""
    schema = tables.metadata.schema
    query = text(_TRIGGERS[connection.dialect.name])
    found = []
    for pipeline in PIPELINES.values():
        name = tables.header(pipeline).name
        for row in connection.execute(query, {"table": name, "schema": schema}):
            body = row.definition
            counts = None if body is None else bool(_NO_COUNT.search(_COMMENT.sub(" ", body)))
            found.append(Trigger(name, row.name, counts))
    return found


_TRIGGERS = {
    "mssql": """
        SELECT t.name, m.definition FROM sys.triggers AS t
        JOIN sys.tables AS o ON o.object_id = t.parent_id
        LEFT JOIN sys.sql_modules AS m ON m.object_id = t.object_id
        WHERE t.is_disabled = 0 AND o.name = :table
            AND SCHEMA_NAME(o.schema_id) = COALESCE(:schema, SCHEMA_NAME())
        ORDER BY t.name""",
    "postgresql": """
        SELECT t.tgname AS name, NULL AS definition FROM pg_trigger AS t
        JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relname = :table
            AND n.nspname = COALESCE(CAST(:schema AS text), current_schema())
        ORDER BY t.tgname""",
}


@dataclass(frozen=True, slots=True)
class ForeignStatus:
    """Documents with a status of other software, which the service does not change.

    Attributes:
        status: None for NULL.
        statement: the UPDATE that makes them pending, so that they are sent.
    """

    pipeline: str
    status: str | None
    count: int
    statement: str


def foreign_statuses(
    connection: Connection, tables: SourceTables, pipelines: Sequence[Pipeline]
) -> list[ForeignStatus]:
    """Statuses of other software, with their number of documents; one statement per pipeline.

    The database compares them: its collation decides whether a status with a trailing blank or in
    another case is one of ours. Reads the statuses of all documents.
    """
    found = []
    for pipeline in pipelines:
        header = tables.header(pipeline)
        status = header.c.status
        query = (
            select(status, func.count().label("count"))
            .where(or_(status.not_in(STATUSES), status.is_(None)))
            .group_by(status)
            .order_by(status)
            .with_hint(header, "WITH (READPAST)", "mssql")
        )
        for value, count in connection.execute(query):
            statement = _send_again(header, value, connection.dialect)
            found.append(ForeignStatus(pipeline.name, value, count, statement))
    return found


def _send_again(header: Table, value: str | None, dialect: Dialect) -> str:
    status = header.c.status
    same = status.is_(None) if value is None else status == literal(value, Unicode())
    pending = literal(SyncStatus.PENDING.value, String())
    statement = header.update().where(same).values({status: pending})
    compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return " ".join(str(compiled).split())


def pending_with_national_id(
    connection: Connection, tables: SourceTables, pipeline: Pipeline
) -> int:
    """How many pending documents carry a national id already, from another sender."""
    header, national_id = tables.header(pipeline), tables.national_id(pipeline)
    query = (
        select(func.count())
        .select_from(header)
        .where(
            header.c.status == literal(SyncStatus.PENDING.value, String()),
            func.coalesce(national_id, "") != "",
        )
        .with_hint(header, "WITH (READPAST)", "mssql")
    )
    return int(connection.execute(query).scalar_one())


@dataclass(frozen=True, slots=True)
class OldClients:
    """Clients that could not write to a table with a filtered index (error 1934), on SQL Server.

    Attributes:
        sessions: connected programs with such SET options, with login and host.
        modules: procedures and triggers that were created with such SET options.
        all_visible: whether our login may see the sessions of others.
    """

    sessions: tuple[str, ...]
    modules: tuple[str, ...]
    all_visible: bool


def clients_against_filtered_indexes(connection: Connection) -> OldClients:
    """Connected sessions and modules with SET options that filtered indexes do not work with."""
    visible = connection.execute(
        text("SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')")
    ).scalar_one()
    return OldClients(
        sessions=tuple(connection.execute(text(_OLD_SESSIONS)).scalars()),
        modules=tuple(connection.execute(text(_OLD_MODULES)).scalars()),
        all_visible=bool(visible),
    )


_OLD_SESSIONS = """
    SELECT DISTINCT CONCAT(program_name, N' (', login_name, N' on ', host_name, N')')
    FROM sys.dm_exec_sessions
    WHERE is_user_process = 1 AND database_id = DB_ID() AND (quoted_identifier = 0
        OR ansi_nulls = 0 OR ansi_padding = 0 OR ansi_warnings = 0 OR concat_null_yields_null = 0)
    ORDER BY 1"""
_OLD_MODULES = """
    SELECT CONCAT(OBJECT_SCHEMA_NAME(object_id), N'.', OBJECT_NAME(object_id))
    FROM sys.sql_modules WHERE uses_quoted_identifier = 0 OR uses_ansi_nulls = 0
    ORDER BY 1"""


def sees_definitions(connection: Connection, tables: SourceTables) -> bool:
    """Whether our login may see triggers and modules; without this permission none are visible."""
    if connection.dialect.name != "mssql":
        return True
    header = tables.header(next(iter(PIPELINES.values())))
    name = connection.dialect.identifier_preparer.format_table(header)
    query = text("SELECT HAS_PERMS_BY_NAME(:name, 'OBJECT', 'VIEW DEFINITION')")
    return bool(connection.execute(query, {"name": name}).scalar_one())
