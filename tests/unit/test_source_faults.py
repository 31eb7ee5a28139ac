"""What the drivers' errors become, and what is tried again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lib.errors import ConfigurationError, StoreUnavailable, WriteRefused
from lib.source.transactions import Transactions, translate_errors

# What pyodbc raises, which needs the system's libodbc to be imported.
OdbcError = type("Error", (Exception,), {"__module__": "pyodbc"})


def _odbc(
    state: str, text: str = "", number: int = 0, kind: type[DBAPIError] = DBAPIError
) -> DBAPIError:
    message = f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server]{text} ({number}) (SQLExec)"
    return kind("SELECT ?", ("Phạm Văn Đức",), OdbcError(state, message), hide_parameters=True)


def _psycopg(state: str, text: str = "text") -> DBAPIError:
    return OperationalError("SELECT", {}, psycopg.errors.lookup(state)(text), hide_parameters=True)


def _translated(error: BaseException) -> Exception:
    with pytest.raises(Exception) as caught, translate_errors():  # noqa: PT011 - the type is the result
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        _odbc("08S01", "Communication link failure"),
        _odbc("08001", "Unable to complete login process due to delay"),
        _odbc("HYT00", "Login timeout expired"),
        _odbc("HYT01", "Connection timeout expired"),
        _odbc("40001", "Transaction was deadlocked", 1205),
        _odbc("42000", "Lock request time out period exceeded", 1222),
        _odbc("42000", "The transaction log for database is full", 9002),
        _odbc("42000", "Database is being recovered", 922),
        _odbc("HY000", "SHUTDOWN is in progress", 6005),
        _odbc("42000", "Failed to update database because it is read-only", 3906),
        _odbc("23000", "Lock request; the value is (245).", 1222),
        _psycopg("40P01"),
        _psycopg("40001"),
        _psycopg("55P03"),
        _psycopg("57014"),
        _psycopg("57P01"),
        _psycopg("57P03"),
        _psycopg("53300"),
        _psycopg("08006"),
        _psycopg("25006"),
        OperationalError("SELECT", {}, psycopg.OperationalError("Connection refused")),
        PoolTimeout("QueuePool limit"),
    ],
    ids=lambda error: str(getattr(error, "orig", error))[:40],
)  # fmt: skip
def test_what_passes_by_itself_is_unavailable(error: BaseException) -> None:
    translated = _translated(error)
    assert isinstance(translated, StoreUnavailable)
    assert translated.store == "source database"
    assert translated.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        _odbc("42S02", "Invalid object name 'HoaDon'.", 208),
        _odbc("42S22", "Invalid column name 'x'.", 207),
        _odbc("42000", "The SELECT permission was denied", 229),
        _odbc("42000", "Cannot open database requested by the login", 4060),
        _odbc("28000", "Login failed for user 'sa'.", 18456, InterfaceError),
        _odbc("IM002", "Data source name not found"),
        _odbc("01000", "Can't open lib '/x.so' : file not found"),
        _odbc("42000", "The target table cannot have any enabled triggers", 334),
        _odbc("22018", "Conversion failed when converting the varchar value 'x' to int", 245),
        _odbc("22018", "Operand type clash: int is incompatible with ntext", 206),
        _odbc("07006", "Restricted data type attribute violation"),
        _psycopg("42P01"),
        _psycopg("42703"),
        _psycopg("42804"),
        _psycopg("22P02"),
        _psycopg("42501"),
        _psycopg("28P01"),
        _psycopg("3D000"),
        OperationalError(
            "", {}, psycopg.OperationalError('password authentication failed for user "x"')
        ),
        OperationalError("", {}, psycopg.OperationalError('database "x" does not exist')),
    ],
    ids=lambda error: str(getattr(error, "orig", error))[:40],
)
def test_what_a_person_must_correct_is_a_configuration_error(error: BaseException) -> None:
    assert isinstance(_translated(error), ConfigurationError)


UNTRUSTED = [
    # Driver 18 on Linux, on Windows, with a wrong host name; libpq.
    _odbc(
        "08001",
        "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:"
        "unable to get local issuer certificate]",
        -1,
        OperationalError,
    ),
    _odbc(
        "08001",
        "SSL Provider: The certificate chain was issued by an authority that is not trusted.",
        -2146893019,
        OperationalError,
    ),
    _odbc("08001", "SSL Provider: The target principal name is incorrect.", -2146893022),
    OperationalError(
        "", {}, psycopg.OperationalError("SSL error: certificate verify failed")
    ),
    OperationalError(
        "",
        {},
        psycopg.OperationalError(
            'server certificate for "db.example" does not match host name "10.0.0.5"'
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("error", UNTRUSTED, ids=range(len(UNTRUSTED)))
def test_a_certificate_that_cannot_be_verified_is_a_setting_with_a_hint(error: DBAPIError) -> None:
    translated = _translated(error)
    assert isinstance(translated, ConfigurationError)
    assert "docs/installation.md, Certificates" in str(translated)


def test_an_old_tls_version_is_a_setting_with_a_hint() -> None:
    old = _odbc("08001", "SSL Provider: [error:0A000102:SSL routines::unsupported protocol]", -1)
    translated = _translated(old)
    assert isinstance(translated, ConfigurationError)
    assert "TLS 1.2" in str(translated)


@pytest.mark.parametrize(
    "error",
    [
        _psycopg("P0001", "not this one"),
        _odbc("42000", "not this one", 50000),
        _odbc("42000", "not this one", 51234),
        _odbc("42000", "The transaction ended in the trigger. The batch has been aborted.", 3609),
        _odbc("25000", "The ROLLBACK TRANSACTION request has no BEGIN TRANSACTION.", 3903),
    ],
    ids=lambda error: str(error.orig)[:40],
)
def test_the_refusal_of_a_trigger_is_a_type_of_its_own(error: DBAPIError) -> None:
    assert isinstance(_translated(error), WriteRefused)


def test_a_wrong_type_says_who_names_the_column() -> None:
    for error in (_odbc("22018", "Conversion failed", 245), _psycopg("42883")):
        assert "dqg doctor" in str(_translated(error))


def test_what_is_our_own_mistake_stays_what_it_is() -> None:
    quoted = _odbc(
        "23000", "Cannot insert duplicate key. The value is (245).", 2627, IntegrityError
    )
    assert _translated(quoted) is quoted
    duplicate = IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("duplicate"))
    assert _translated(duplicate) is duplicate
    bug = KeyError("x")
    assert _translated(bug) is bug


def test_no_text_shows_values_of_rows() -> None:
    with_parameters = _translated(_odbc("HYT00", "Query timeout expired"))
    assert "Phạm" not in f"{with_parameters} {with_parameters.__cause__}"
    with_detail = _translated(_psycopg("57014", "cancelled\nDETAIL: Key (name)=(Phạm Văn Đức)"))
    assert str(with_detail) == "source database: cancelled"


# Transactions


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    yield engine
    engine.dispose()


class _Work:
    """Fails with the errors it is given, one a run, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.runs = 0

    def __call__(self, connection: Connection) -> str:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_deadlock_is_tried_again_after_growing_pauses(engine: Engine) -> None:
    pauses: list[float] = []
    work = _Work(_odbc("40001", number=1205), _psycopg("40P01"))
    assert Transactions(engine, pauses=(1, 10, 100), sleep=pauses.append).run(work) == "done"
    assert work.runs == 3
    assert 1 <= pauses[0] <= 2
    assert 10 <= pauses[1] <= 20


def test_deadlocks_without_end_are_unavailable(engine: Engine) -> None:
    work = _Work(*(_psycopg("40001") for _ in range(9)))
    with pytest.raises(StoreUnavailable):
        Transactions(engine, pauses=(1, 2, 3), sleep=lambda _: None).run(work)
    assert work.runs == 4


@pytest.mark.parametrize(
    ("error", "becomes"),
    [(_odbc("08S01"), StoreUnavailable), (_psycopg("42P01"), ConfigurationError)],
)
def test_nothing_else_is_tried_again(
    engine: Engine, error: Exception, becomes: type[Exception]
) -> None:
    work = _Work(error)
    with pytest.raises(becomes):
        Transactions(engine, sleep=lambda _: pytest.fail("slept")).run(work)
    assert work.runs == 1
