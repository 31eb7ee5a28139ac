"""Runs work in transactions, and translates driver errors: transient, or for a person to correct.

Errors are classified by SQLSTATE and SQL Server's own error numbers, not by the drivers' exception
classes: pyodbc raises a plain `Error` for a deadlock, an `InterfaceError` for a wrong password.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lib.errors import ConfigurationError, StoreUnavailable, WriteRefused

T = TypeVar("T")

#: Seconds before the second, third and fourth try, each times a random factor from 1 to 2.
CONFLICT_PAUSES = (0.02, 0.1, 0.4)
MESSAGE_LIMIT = 300


class Transactions:
    """Transactions on one engine. May be shared by threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        pauses: Sequence[float] = CONFLICT_PAUSES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._pauses = tuple(pauses)
        self._sleep = sleep

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work and commit.

        After a deadlock or serialisation failure the whole work is retried, a few times, so it must
        not depend on what an earlier try read.

        Raises:
            StoreUnavailable: if the connection was lost, the commit may or may not have happened.
            ConfigurationError: login, permission or schema is wrong.
        """
        with translate_errors():
            for pause in self._pauses:
                try:
                    return self._once(work)
                except DBAPIError as error:
                    if classify(error) is not Fault.CONFLICT:
                        raise
                self._sleep(pause * random.uniform(1, 2))  # noqa: S311 - jitter, no secret
            return self._once(work)

    def _once(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    return work(connection)
            except DBAPIError as error:
                if classify(error) is Fault.REFUSED:
                    # A trigger may have ended the transaction without the driver's knowledge.
                    connection.invalidate()
                raise


class Fault(Enum):
    """What an error of the driver means."""

    CONFLICT = auto()  # deadlock or serialisation: an immediate retry may succeed
    UNAVAILABLE = auto()  # transient: ends without a person's action
    CONFIGURATION = auto()  # a person has to correct something
    REFUSED = auto()  # by code in the database, such as a trigger, for a reason unknown to us
    BUG = auto()  # none of these: our statement or our data is wrong


_BY_SQLSTATE = {
    "40001": Fault.CONFLICT,  # deadlock (SQL Server), serialisation failure
    "40P01": Fault.CONFLICT,  # deadlock (PostgreSQL)
    "HYT00": Fault.UNAVAILABLE,  # timeout
    "HYT01": Fault.UNAVAILABLE,  # connection timeout
    "55P03": Fault.UNAVAILABLE,  # lock not available
    "55006": Fault.UNAVAILABLE,  # object in use
    "25006": Fault.UNAVAILABLE,  # read-only: a standby, until the failover is over
    "P0001": Fault.REFUSED,  # RAISE EXCEPTION
    "42501": Fault.CONFIGURATION,  # no permission
    "IM002": Fault.CONFIGURATION,  # no such data source or driver
    "IM003": Fault.CONFIGURATION,  # the driver cannot be loaded
    "01000": Fault.CONFIGURATION,  # unixODBC: can't open the driver's library
    "07006": Fault.CONFIGURATION,  # a column's type cannot be read as the one we expect
    "22018": Fault.CONFIGURATION,  # as above: a value of another type than the column's
    "22P02": Fault.CONFIGURATION,
}

_BY_CLASS = {
    "08": Fault.UNAVAILABLE,  # connection
    "40": Fault.UNAVAILABLE,  # rolled back for other reasons
    "53": Fault.UNAVAILABLE,  # out of connections, memory, disk
    "57": Fault.UNAVAILABLE,  # cancelled, shutting down, starting
    "58": Fault.UNAVAILABLE,  # the server's own I/O
    "28": Fault.CONFIGURATION,  # login failed
    "3D": Fault.CONFIGURATION,  # no such database
    "3F": Fault.CONFIGURATION,  # no such schema
    "42": Fault.CONFIGURATION,  # no such table or column; syntax
    "22": Fault.BUG,
    "23": Fault.BUG,
}

#: Incompatible types: operands, conversions.
_TYPE_NUMBERS = {206, 245, 257, 402, 529, 8114, 8117}
_TYPE_STATES = {"07006", "22018", "22P02", "42804", "42883"}

#: SQL Server's own numbers, for errors whose SQLSTATE (mostly 42000) is too general.
_BY_NUMBER = {
    **dict.fromkeys((1205, 3960, 3961), Fault.CONFLICT),
    **dict.fromkeys(
        (
            *(1204, 1222),  # locks: none left, timeout
            *(701, 802, 8645, 8651, 1105, 9002),  # memory, disk, log full
            *(921, 922, 927, 976, 983, 3906, 6005, 18401, 18451),  # starting, failover, stopping
            *(10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920),  # throttled
        ),
        Fault.UNAVAILABLE,
    ),
    **dict.fromkeys((229, 230, 262, 4060, 18452, 18456, 18470, 18487, 18488), Fault.CONFIGURATION),
    **dict.fromkeys(_TYPE_NUMBERS, Fault.CONFIGURATION),
    # A trigger ended the transaction; we get the last two when we then try to end it.
    **dict.fromkeys((3609, 3616, 3902, 3903), Fault.REFUSED),
}
#: THROW and RAISERROR use numbers from here on.
_FIRST_USER_NUMBER = 50_000

#: Also raised during a failover: the database moves, and its logins work only later.
_LOGIN_NUMBERS = {4060, 18456}
_LOGIN_STATES = {"28000", "28P01", "3D000"}

# libpq gives no SQLSTATE when a connection is refused, only the server's text.
_REFUSED_BY_TEXT = re.compile(
    r"authentication failed|role \".*\" does not exist|database \".*\" does not exist"
    r"|is not permitted to log in|no pg_hba\.conf entry|no password supplied"
    r"|permission denied for database"
)
# An error number of the server, not a number quoted in its text.
_NUMBER = re.compile(r"\((\d+)\)(?=\s*(?:\(SQL\w+\)|;|$))")

# For these the drivers report the SQLSTATE of any lost connection, or none.
_CERTIFICATE = re.compile(
    r"certificate (verify failed|chain was issued|has expired)|target principal name is incorrect"
    r"|server certificate for .* does not match|root certificate file .* does not exist",
    re.IGNORECASE,
)
_TLS_VERSION = re.compile(
    r"unsupported protocol|no protocols available|SSL, but SSL was required|dh key too small",
    re.IGNORECASE,
)


def classify(error: DBAPIError) -> Fault:
    """What an error means."""
    state = _sqlstate(error)
    by_number = (
        Fault.REFUSED if number >= _FIRST_USER_NUMBER else _BY_NUMBER.get(number)
        for number in _numbers(error)
    )
    known = (
        _by_text(str(error.orig), state)
        or next(filter(None, by_number), None)
        or _BY_SQLSTATE.get(state)
        or _BY_CLASS.get(state[:2])
    )
    if known:
        return known
    if error.connection_invalidated or isinstance(error, (OperationalError, InternalError)):
        return Fault.UNAVAILABLE
    if isinstance(error, (DataError, IntegrityError)):
        return Fault.BUG
    if isinstance(error, (ProgrammingError, InterfaceError)):
        return Fault.CONFIGURATION
    return Fault.UNAVAILABLE


def _by_text(text: str, state: str) -> Fault | None:
    tls = _CERTIFICATE.search(text) or _TLS_VERSION.search(text)
    refused = not state and _REFUSED_BY_TEXT.search(text)
    return Fault.CONFIGURATION if tls or refused else None


def is_login_refusal(error: DBAPIError) -> bool:
    """Whether login or database was refused: a wrong setting, or a failover in progress."""
    if _is_odbc(error):
        return not _LOGIN_NUMBERS.isdisjoint(_numbers(error))
    state = _sqlstate(error)
    refused = not state and _REFUSED_BY_TEXT.search(str(error.orig)) is not None
    return refused or state in _LOGIN_STATES


@contextmanager
def translate_errors(store: str = "source database") -> Iterator[None]:
    """Raise our errors instead of the driver's error, which is kept as the cause.

    Raises:
        StoreUnavailable: the database is unreachable, overloaded, locked, or keeps deadlocking.
        ConfigurationError: login, permission, database, table or column is wrong.
        WriteRefused: code in the database, such as a trigger, refuses a value.
    """
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(store, "all connections are in use") from error
    except DBAPIError as error:
        fault = classify(error)
        if fault is Fault.BUG:
            raise
        text = short_text(error)
        if fault is Fault.REFUSED:
            raise WriteRefused(f"{store}: refused by a trigger: {text}") from error
        if fault is Fault.CONFIGURATION:
            raise ConfigurationError(f"{store}: {text}{_hint(error)}") from error
        raise StoreUnavailable(store, text, locked=_is_lock_timeout(error)) from error


def _is_lock_timeout(error: DBAPIError) -> bool:
    return _sqlstate(error) == "55P03" or 1222 in _numbers(error)


def _hint(error: DBAPIError) -> str:
    """What to do, if the driver's text does not state it; begins with a blank."""
    text = str(error.orig)
    if _CERTIFICATE.search(text):
        return (
            " The server's certificate cannot be verified: configure this machine to trust its "
            "issuer, and connect with the host name in the certificate; docs/installation.md, "
            "Certificates"
        )
    if _TLS_VERSION.search(text):
        return (
            " The server offers no encryption that this machine accepts (TLS 1.2 or newer); "
            "docs/installation.md, Certificates"
        )
    if _sqlstate(error) in _TYPE_STATES or not _TYPE_NUMBERS.isdisjoint(_numbers(error)):
        return " A column has another type than the service expects: dqg doctor shows which"
    return ""


def _numbers(error: DBAPIError) -> list[int]:
    """SQL Server's error numbers in an error, in order; empty for other drivers."""
    return [int(n) for n in _NUMBER.findall(str(error.orig))] if _is_odbc(error) else []


def _is_odbc(error: DBAPIError) -> bool:
    return type(error.orig).__module__.partition(".")[0] == "pyodbc"


def _sqlstate(error: DBAPIError) -> str:
    """SQLSTATE of a psycopg or pyodbc error, empty when there is none."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None and error.orig is not None:
        first = error.orig.args[0] if error.orig.args else None
        state = first if isinstance(first, str) and re.fullmatch(r"[0-9A-Z]{5}", first) else None
    return state or ""


def short_text(error: DBAPIError) -> str:
    """The driver's message, without values of rows."""
    # The first line only: PostgreSQL's DETAIL, on the next lines, quotes values of the row.
    original = error.orig
    text = original.args[-1] if original is not None and original.args else original
    lines = str(text).strip().splitlines()
    return (lines[0] if lines else type(original).__name__)[:MESSAGE_LIMIT]
