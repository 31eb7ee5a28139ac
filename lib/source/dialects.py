"""The differences between the SQL of SQL Server and PostgreSQL; statements elsewhere are the same.

All times here are by the database's clock. `utc_now` and the other `utc_` functions return UTC
without a time zone, as in our tables; `local_now` returns local time, as in the business columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Float,
    Insert,
    Integer,
    Select,
    String,
    Table,
    Unicode,
    Update,
    bindparam,
    cast,
    insert,
    literal,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.functions import FunctionElement

Item = TypeVar("Item")

#: Length of a code in our tables; an installation's own columns may be longer than the model's.
CODE_LENGTH = 100

#: Rows that another session has locked are skipped. READCOMMITTEDLOCK because a database with
#: READ_COMMITTED_SNAPSHOT refuses READPAST without it.
READPAST_HINT = "WITH (READCOMMITTEDLOCK, ROWLOCK, READPAST)"
#: Locks rows as FOR UPDATE does; waits for other sessions.
LOCK_HINT = "WITH (ROWLOCK, UPDLOCK)"

#: More bound values than this in one IN list come near SQL Server's limit of 2100 parameters.
MAX_IN_LIST = 1000

_LARGEST_INTEGER = 2**31 - 1
_BOUND_YEARS = 60
_BOUND_SECONDS = _BOUND_YEARS * 365 * 86_400


class _Function(FunctionElement[Any]):
    """A function whose SQL differs between the two databases.

    Attributes:
        mssql, postgresql: its SQL, with `{}` in place of the argument.
    """

    mssql: ClassVar[str]
    postgresql: ClassVar[str]

    def __init_subclass__(cls) -> None:
        # SQLAlchemy caches statements only for classes that set this attribute themselves.
        cls.inherit_cache = True
        super().__init_subclass__()


@compiles(_Function)
def _(element: _Function, compiler: SQLCompiler, **kw: Any) -> str:
    text: str = getattr(element, compiler.dialect.name)
    return text.format(compiler.process(element.clauses, **kw))


class utc_now(_Function):
    """The current time, UTC."""

    type = DateTime()
    # Not now() on PostgreSQL: that is the start of the transaction, which may have waited.
    mssql = "sysutcdatetime()"
    postgresql = "timezone('utc', clock_timestamp())"


class local_now(_Function):
    """The current time, local time."""

    type = DateTime()
    mssql = "getdate()"
    postgresql = "LOCALTIMESTAMP"


class utc_in_milliseconds(_Function):
    """Now plus the number of milliseconds in a column, UTC."""

    type = DateTime()
    mssql = "dateadd(millisecond, {}, sysutcdatetime())"
    postgresql = "timezone('utc', clock_timestamp()) + make_interval(secs => ({}) / 1000.0)"


class _local_in(_Function):
    type = DateTime()
    mssql = "dateadd(second, {}, getdate())"
    postgresql = "LOCALTIMESTAMP + make_interval(secs => {})"


class seconds_until(_Function):
    """Seconds from now until a UTC time, negative if it has passed."""

    type = Float()
    # Whole seconds on SQL Server: in milliseconds DATEDIFF overflows for a lease that ran out a
    # month ago. Only times that we wrote ourselves are passed here.
    mssql = "datediff(second, sysutcdatetime(), {})"
    postgresql = "extract(epoch FROM {} - timezone('utc', clock_timestamp()))"


class age_in_seconds(_Function):
    """Seconds since a local time; on SQL Server limited to about 60 years, past or future."""

    type = Float()
    # DATEDIFF in seconds overflows after 68 years: an empty text in a DATETIME column is the
    # year 1900.
    mssql = (
        f"CASE WHEN {{0}} < dateadd(year, -{_BOUND_YEARS}, getdate()) THEN {_BOUND_SECONDS} "
        f"WHEN {{0}} > dateadd(year, {_BOUND_YEARS}, getdate()) THEN -{_BOUND_SECONDS} "
        "ELSE datediff(second, {0}, getdate()) END"
    )
    postgresql = "extract(epoch FROM LOCALTIMESTAMP - {})"


class server_identity(_Function):
    """Identifies the server: the same for every client and after a restart."""

    type = Unicode()
    # @@SERVERNAME is NULL on a server that was never given a name. On PostgreSQL address and port
    # may belong to a container or a proxy, and change with it.
    mssql = "COALESCE(@@SERVERNAME, CONVERT(nvarchar(256), SERVERPROPERTY('ServerName')))"
    postgresql = "(SELECT system_identifier::text FROM pg_control_system())"


class database_name(_Function):
    """Name of the connected database."""

    type = Unicode()
    mssql = "DB_NAME()"
    postgresql = "current_database()::text"


class login_name(_Function):
    """The login of this connection."""

    type = Unicode()
    mssql = "SUSER_SNAME()"
    postgresql = "session_user::text"


def utc_in(seconds: float) -> ColumnElement[Any]:
    """The time this many seconds from now, UTC; at most about 24 days from now."""
    return utc_in_milliseconds(literal(min(round(seconds * 1000), _LARGEST_INTEGER), Integer()))


def local_in(seconds: float) -> ColumnElement[Any]:
    """The time this many seconds from now (in the past if negative), local time."""
    return _local_in(literal(round(seconds), Integer()))


def local_midnight() -> ColumnElement[Any]:
    """The start of today, local time."""
    return cast(local_now(), Date())


def constant(value: str) -> ColumnElement[str]:
    """An ASCII value written into the statement: a filtered index is not used for a parameter.

    It has no N prefix (NVARCHAR): with one, SQL Server would convert a VARCHAR column instead of
    the value, and not use the index.
    """
    return bindparam(None, value, String(), literal_execute=True, unique=True)


def code_value(value: str) -> ColumnElement[str]:
    """A code to compare a column with, typed so that an index works for VARCHAR and NVARCHAR.

    SQL Server converts the narrower type. If that is the column, a collation that begins with
    `SQL_` turns the seek into a scan, and sorts the two types differently.
    """
    kind = String(CODE_LENGTH) if value.isascii() else Unicode(CODE_LENGTH)
    return bindparam(None, value, kind, unique=True)


def chunks(items: Sequence[Item], size: int = MAX_IN_LIST) -> Iterator[Sequence[Item]]:
    """The items in their order, in chunks that fit into one statement."""
    return (items[start : start + size] for start in range(0, len(items), size))


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """`column IN (values)` for any number of values.

    Many values are written into the statement's text, escaped by SQLAlchemy, because SQL Server
    accepts at most 2100 parameters.
    """
    return column.in_(
        bindparam(None, values, expanding=True, literal_execute=len(values) > MAX_IN_LIST)
    )


def skip_locked(query: Select[Any], *tables: FromClause) -> Select[Any]:
    """Read without waiting for rows that another session is writing; those are left out.

    On PostgreSQL a reader never waits, and reads the row as it was before.
    """
    for table in tables:
        query = query.with_hint(table, READPAST_HINT, "mssql")
    return query


def lock(query: Select[Any], table: FromClause) -> Select[Any]:
    """Lock the rows that the query finds; waits if another transaction has locked them."""
    return query.with_hint(table, LOCK_HINT, "mssql").with_for_update(of=table)


def update_rows(table: Table) -> Update:
    """An UPDATE that locks rows, never pages."""
    return update(table).with_hint("WITH (ROWLOCK)", dialect_name="mssql")


def insert_missing(table: Table, rows: Select[Any], dialect: Dialect) -> Insert:
    """Insert what `rows` selects, into columns of the same names.

    PostgreSQL skips a row that violates a unique key; SQL Server fails, and inserts nothing.
    """
    columns = [column.name for column in rows.selected_columns]
    if dialect.name == "postgresql":
        return postgresql.insert(table).from_select(columns, rows).on_conflict_do_nothing()
    return insert(table).from_select(columns, rows)
