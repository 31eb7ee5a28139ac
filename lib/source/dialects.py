"""What differs between SQL Server and PostgreSQL. No other module knows which one it talks to.

All moments here are by the database's clock. `utc_now` and the like are UTC without a zone, as our
tables hold them; `local_now` is local time, as the business columns hold it.
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

#: Characters of a code in our tables; an installation's own columns may be longer than the model.
CODE_LENGTH = 100

#: Rows that another session has locked are passed over. READCOMMITTEDLOCK because a database with
#: READ_COMMITTED_SNAPSHOT refuses READPAST without it.
READPAST_HINT = "WITH (READCOMMITTEDLOCK, ROWLOCK, READPAST)"
#: Rows are locked as by FOR UPDATE; waits for other sessions.
LOCK_HINT = "WITH (ROWLOCK, UPDLOCK)"

#: More bound values than this in one IN list come near SQL Server's limit of 2100 parameters.
MAX_IN_LIST = 1000

_LARGEST_INTEGER = 2**31 - 1
_BOUND_YEARS = 60
_BOUND_SECONDS = _BOUND_YEARS * 365 * 86_400


class _Function(FunctionElement[Any]):
    """A function that each of the two databases writes in its own way.

    Attributes:
        mssql, postgresql: its text, with `{}` in the place of the argument.
    """

    mssql: ClassVar[str]
    postgresql: ClassVar[str]

    def __init_subclass__(cls) -> None:
        # SQLAlchemy caches statements only for classes that say so themselves.
        cls.inherit_cache = True
        super().__init_subclass__()


@compiles(_Function)
def _(element: _Function, compiler: SQLCompiler, **kw: Any) -> str:
    text: str = getattr(element, compiler.dialect.name)
    return text.format(compiler.process(element.clauses, **kw))


class utc_now(_Function):
    """The present moment, UTC."""

    type = DateTime()
    # Not now() on PostgreSQL: that is the start of the transaction, which may have waited.
    mssql = "sysutcdatetime()"
    postgresql = "timezone('utc', clock_timestamp())"


class local_now(_Function):
    """The present moment, local time."""

    type = DateTime()
    mssql = "getdate()"
    postgresql = "LOCALTIMESTAMP"


class utc_in_milliseconds(_Function):
    """The moment that is a column's number of milliseconds from now, UTC."""

    type = DateTime()
    mssql = "dateadd(millisecond, {}, sysutcdatetime())"
    postgresql = "timezone('utc', clock_timestamp()) + make_interval(secs => ({}) / 1000.0)"


class _local_in(_Function):
    type = DateTime()
    mssql = "dateadd(second, {}, getdate())"
    postgresql = "LOCALTIMESTAMP + make_interval(secs => {})"


class seconds_until(_Function):
    """Seconds from now until a UTC moment, negative when it has passed."""

    type = Float()
    # Whole seconds on SQL Server: in milliseconds DATEDIFF overflows for a lease that ran out a
    # month ago. Only moments that we wrote ourselves come here.
    mssql = "datediff(second, sysutcdatetime(), {})"
    postgresql = "extract(epoch FROM {} - timezone('utc', clock_timestamp()))"


class age_in_seconds(_Function):
    """Seconds from a local moment until now; on SQL Server at most some 60 years either way."""

    type = Float()
    # In seconds DATEDIFF overflows after 68 years: an empty text in a DATETIME column is 1900.
    mssql = (
        f"CASE WHEN {{0}} < dateadd(year, -{_BOUND_YEARS}, getdate()) THEN {_BOUND_SECONDS} "
        f"WHEN {{0}} > dateadd(year, {_BOUND_YEARS}, getdate()) THEN -{_BOUND_SECONDS} "
        "ELSE datediff(second, {0}, getdate()) END"
    )
    postgresql = "extract(epoch FROM LOCALTIMESTAMP - {})"


class server_identity(_Function):
    """Which server this is, the same for every client and after a restart."""

    type = Unicode()
    # @@SERVERNAME is NULL on a server that was never given one. On PostgreSQL address and port are
    # those of a container or a proxy, and change with it.
    mssql = "COALESCE(@@SERVERNAME, CONVERT(nvarchar(256), SERVERPROPERTY('ServerName')))"
    postgresql = "(SELECT system_identifier::text FROM pg_control_system())"


class database_name(_Function):
    """Name of the database that is connected to."""

    type = Unicode()
    mssql = "DB_NAME()"
    postgresql = "current_database()::text"


class login_name(_Function):
    """Who is logged in to the database."""

    type = Unicode()
    mssql = "SUSER_SNAME()"
    postgresql = "session_user::text"


def utc_in(seconds: float) -> ColumnElement[Any]:
    """The moment this many seconds from now, UTC; at most some 24 days from now."""
    return utc_in_milliseconds(literal(min(round(seconds * 1000), _LARGEST_INTEGER), Integer()))


def local_in(seconds: float) -> ColumnElement[Any]:
    """The moment this many seconds from now (before now where negative), local time."""
    return _local_in(literal(round(seconds), Integer()))


def local_midnight() -> ColumnElement[Any]:
    """The beginning of this day, local time."""
    return cast(local_now(), Date())


def constant(value: str) -> ColumnElement[str]:
    """An ASCII value written into the statement itself: filtered indexes match no parameter.

    Without the N prefix of NVARCHAR, which would make SQL Server convert a VARCHAR column instead
    of the value, and pass over the index.
    """
    return bindparam(None, value, String(), literal_execute=True, unique=True)


def code_value(value: str) -> ColumnElement[str]:
    """A code to compare a column with, typed so that an index serves both VARCHAR and NVARCHAR.

    SQL Server converts the narrower side. Where that is the column, a collation that begins with
    `SQL_` turns the seek into a scan, and sorts the two types differently.
    """
    kind = String(CODE_LENGTH) if value.isascii() else Unicode(CODE_LENGTH)
    return bindparam(None, value, kind, unique=True)


def chunks(items: Sequence[Item], size: int = MAX_IN_LIST) -> Iterator[Sequence[Item]]:
    """The items in their order, as many at a time as one statement takes."""
    return (items[start : start + size] for start in range(0, len(items), size))


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """`column IN (values)` for any number of values.

    Many values go into the statement's text, escaped by SQLAlchemy, because SQL Server takes no
    more than 2100 parameters.
    """
    return column.in_(
        bindparam(None, values, expanding=True, literal_execute=len(values) > MAX_IN_LIST)
    )


def passing_locked(query: Select[Any], *tables: FromClause) -> Select[Any]:
    """Read without waiting for rows that another session is writing; those are left out.

    On PostgreSQL a reader waits for no one and sees the row as it was.
    """
    for table in tables:
        query = query.with_hint(table, READPAST_HINT, "mssql")
    return query


def lock(query: Select[Any], table: FromClause) -> Select[Any]:
    """Lock what the query finds; waits for another transaction that has locked it."""
    return query.with_hint(table, LOCK_HINT, "mssql").with_for_update(of=table)


def update_rows(table: Table) -> Update:
    """An UPDATE that locks rows, never pages."""
    return update(table).with_hint("WITH (ROWLOCK)", dialect_name="mssql")


def insert_missing(table: Table, rows: Select[Any], dialect: Dialect) -> Insert:
    """Insert what `rows` selects, under its own column names.

    PostgreSQL passes over a row that a unique key refuses; SQL Server fails, and nothing of the
    statement is done.
    """
    columns = [column.name for column in rows.selected_columns]
    if dialect.name == "postgresql":
        return postgresql.insert(table).from_select(columns, rows).on_conflict_do_nothing()
    return insert(table).from_select(columns, rows)
