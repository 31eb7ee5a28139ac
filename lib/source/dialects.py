"""What differs between SQL Server and PostgreSQL. No other module knows which one it talks to.

All moments here are by the database's clock. `utc_now` and the like are UTC without a zone, as our
tables hold them; `local_now` is local time, as the business columns hold it.
"""

from __future__ import annotations

from typing import Any

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
    bindparam,
    cast,
    insert,
    literal,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.functions import GenericFunction

#: Characters of a code in our tables; an installation's own columns may be longer than the model.
CODE_LENGTH = 100

#: Rows that another session has locked are passed over. READCOMMITTEDLOCK because a database with
#: READ_COMMITTED_SNAPSHOT refuses READPAST without it.
READPAST_HINT = "WITH (READCOMMITTEDLOCK, ROWLOCK, READPAST)"
#: Rows are locked as by FOR UPDATE; waits for other sessions.
LOCK_HINT = "WITH (ROWLOCK, UPDLOCK)"
ROW_LOCK_HINT = "WITH (ROWLOCK)"

#: More bound values than this in one IN list come near SQL Server's limit of 2100 parameters.
MAX_IN_LIST = 1000

_LARGEST_INTEGER = 2**31 - 1
_BOUND_YEARS = 60
_BOUND_SECONDS = _BOUND_YEARS * 365 * 86_400


class utc_now(GenericFunction[Any]):
    """The present moment, UTC."""

    type = DateTime()
    inherit_cache = True


class local_now(GenericFunction[Any]):
    """The present moment, local time."""

    type = DateTime()
    inherit_cache = True


class utc_in_milliseconds(GenericFunction[Any]):
    """The moment that is a column's number of milliseconds from now, UTC."""

    type = DateTime()
    inherit_cache = True


class _local_in(GenericFunction[Any]):
    type = DateTime()
    inherit_cache = True


class _seconds_until(GenericFunction[Any]):
    type = Float()
    inherit_cache = True


class _age_in_seconds(GenericFunction[Any]):
    type = Float()
    inherit_cache = True


class server_identity(GenericFunction[str]):
    """Which server this is, the same for every client and after a restart."""

    type = Unicode()
    inherit_cache = True


class database_name(GenericFunction[str]):
    """Name of the database that is connected to."""

    type = Unicode()
    inherit_cache = True


class login_name(GenericFunction[str]):
    """Who is logged in to the database."""

    type = Unicode()
    inherit_cache = True


def utc_in(seconds: float) -> ColumnElement[Any]:
    """The moment this many seconds from now, UTC; at most some 24 days from now."""
    return utc_in_milliseconds(literal(min(round(seconds * 1000), _LARGEST_INTEGER), Integer()))


def local_in(seconds: float) -> ColumnElement[Any]:
    """The moment this many seconds from now (before now where negative), local time."""
    return _local_in(literal(round(seconds), Integer()))


def local_midnight() -> ColumnElement[Any]:
    """The beginning of this day, local time."""
    return cast(local_now(), Date())


def seconds_until(moment: ColumnElement[Any]) -> ColumnElement[float]:
    """Seconds from now until a UTC moment, negative when it has passed."""
    return _seconds_until(moment)


def age_in_seconds(moment: ColumnElement[Any]) -> ColumnElement[float]:
    """Seconds from a local moment until now; on SQL Server at most some 60 years either way."""
    return _age_in_seconds(moment)


@compiles(utc_now, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "sysutcdatetime()"


@compiles(utc_now, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    # Not now(): that is the start of the transaction, which may have waited for a lock since.
    return "timezone('utc', clock_timestamp())"


@compiles(local_now, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "getdate()"


@compiles(local_now, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "LOCALTIMESTAMP"


@compiles(utc_in_milliseconds, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return f"dateadd(millisecond, {compiler.process(element.clauses, **kw)}, sysutcdatetime())"


@compiles(utc_in_milliseconds, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    milliseconds = compiler.process(element.clauses, **kw)
    return f"timezone('utc', clock_timestamp()) + make_interval(secs => ({milliseconds}) / 1000.0)"


@compiles(_local_in, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return f"dateadd(second, {compiler.process(element.clauses, **kw)}, getdate())"


@compiles(_local_in, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"LOCALTIMESTAMP + make_interval(secs => {seconds})"


@compiles(_seconds_until, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    # Whole seconds: in milliseconds DATEDIFF overflows for a lease that ran out a month ago. Only
    # moments that we wrote ourselves come here.
    return f"datediff(second, sysutcdatetime(), {compiler.process(element.clauses, **kw)})"


@compiles(_seconds_until, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    moment = compiler.process(element.clauses, **kw)
    return f"extract(epoch FROM {moment} - timezone('utc', clock_timestamp()))"


@compiles(_age_in_seconds, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    # In seconds DATEDIFF overflows after 68 years: an empty text in a DATETIME column is 1900.
    moment = compiler.process(element.clauses, **kw)
    return (
        f"CASE WHEN {moment} < dateadd(year, -{_BOUND_YEARS}, getdate()) THEN {_BOUND_SECONDS} "
        f"WHEN {moment} > dateadd(year, {_BOUND_YEARS}, getdate()) THEN -{_BOUND_SECONDS} "
        f"ELSE datediff(second, {moment}, getdate()) END"
    )


@compiles(_age_in_seconds, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return f"extract(epoch FROM LOCALTIMESTAMP - {compiler.process(element.clauses, **kw)})"


@compiles(server_identity, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    # @@SERVERNAME is NULL on a server that was never given one.
    return "COALESCE(@@SERVERNAME, CONVERT(nvarchar(256), SERVERPROPERTY('ServerName')))"


@compiles(server_identity, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    # Address and port are those of a container or a proxy, and change with it.
    return "(SELECT system_identifier::text FROM pg_control_system())"


@compiles(database_name, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "DB_NAME()"


@compiles(database_name, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "current_database()::text"


@compiles(login_name, "mssql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "SUSER_SNAME()"


@compiles(login_name, "postgresql")
def _(element: Any, compiler: Any, **kw: Any) -> str:
    return "session_user::text"


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


def one_of(column: ColumnElement[Any], values: list[Any]) -> ColumnElement[bool]:
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


def insert_missing(table: Table, rows: Select[Any], dialect: Dialect) -> Insert:
    """Insert what `rows` selects, under its own column names.

    PostgreSQL passes over a row that a unique key refuses; SQL Server fails, and nothing of the
    statement is done.
    """
    columns = [column.name for column in rows.selected_columns]
    if dialect.name == "postgresql":
        return postgresql.insert(table).from_select(columns, rows).on_conflict_do_nothing()
    return insert(table).from_select(columns, rows)
