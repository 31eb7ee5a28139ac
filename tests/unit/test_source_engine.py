"""Engines: which URLs are taken, what is added to them, and which ODBC driver is found."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Self

import pytest
import sqlglot
from sqlalchemy import make_url

from lib.errors import ConfigurationError
from lib.settings import SourceSettings
from lib.source.engine import begin_session, complete_odbc_url, create_source_engine
from lib.source.odbc import PACKAGE, driver_in, find_odbc_driver, packaged_driver

DEBIAN = {"ID": "debian"}


def _driver_file(folder: Path, *parts: str) -> Path:
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(odbc_driver=str(_driver_file(tmp_path, "libmsodbcsql-18.so")))


# URLs


def test_a_postgresql_url_needs_no_driver_name() -> None:
    engine = create_source_engine("postgresql://u:p@127.0.0.1/db", SourceSettings())
    assert engine.url.drivername == "postgresql+psycopg"
    assert engine.hide_parameters


@pytest.mark.parametrize(
    "url",
    ["not a url s3cret", "mysql+pymysql://u:s3cret@h/d", "postgresql+psycopg2://u:s3cret@h/d"],
)
def test_another_database_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_source_engine(url, SourceSettings())
    assert "s3cret" not in str(caught.value)


def test_a_sql_server_url_gets_driver_and_encryption(settings: SourceSettings) -> None:
    url = complete_odbc_url(make_url("mssql+pyodbc://sa:p@h:1433/db"), settings)
    assert url.query == {
        "driver": settings.odbc_driver,
        "Encrypt": "yes",
        "APP": "dqg-sync",
    }


def test_what_a_sql_server_url_says_itself_stays(settings: SourceSettings) -> None:
    given = make_url("mssql+pyodbc://h/db?driver=Mine&encrypt=no&TrustServerCertificate=yes")
    query = complete_odbc_url(given, settings).query
    assert (query["driver"], query["encrypt"]) == ("Mine", "no")
    assert "Encrypt" not in query


def test_a_data_source_name_stays_as_it_is(settings: SourceSettings) -> None:
    for text in ("mssql+pyodbc://u:p@mydsn", "mssql+pyodbc://?odbc_connect=DSN%3Dmydsn"):
        assert complete_odbc_url(make_url(text), settings) == make_url(text)


def test_a_connection_string_is_completed(settings: SourceSettings) -> None:
    url = make_url("mssql+pyodbc://").update_query_dict({"odbc_connect": "Server=h;Database=d;"})
    text = complete_odbc_url(url, settings).query["odbc_connect"]
    assert text == f"DRIVER={{{settings.odbc_driver}}};Server=h;Database=d;Encrypt=yes"


def test_the_completed_url_is_what_sqlalchemy_hands_to_odbc(settings: SourceSettings) -> None:
    pytest.importorskip("pyodbc", reason="the ODBC driver manager is missing", exc_type=ImportError)
    engine = create_source_engine("mssql+pyodbc://sa:p@h:1433/db", settings)
    (arguments,), options = engine.dialect.create_connect_args(engine.url)
    assert f"DRIVER={{{settings.odbc_driver}}}" in arguments
    assert "Server=h,1433" in arguments
    assert "Encrypt=yes" in arguments
    assert engine.dialect.fast_executemany  # type: ignore[attr-defined]
    assert options == {}


class _Session:
    """What pyodbc.connect returns, as far as the beginning of a session goes."""

    def __init__(self) -> None:
        self.timeout = 0
        self.executed: list[str] = []
        self.committed: list[str] = []

    def cursor(self) -> Self:
        return self

    def execute(self, statement: str) -> None:
        self.executed.append(statement)

    def close(self) -> None:
        pass

    def commit(self) -> None:
        self.committed = list(self.executed)


def test_a_session_on_sql_server_gives_way_and_has_the_options_of_filtered_indexes() -> None:
    session = _Session()
    begin_session(session, SourceSettings(lock_timeout=3, statement_timeout=20))
    (script,) = session.committed
    assert session.timeout == 20
    options = set(sqlglot.transpile(script, read="tsql", write="tsql"))
    for option in (
        "ANSI_NULLS",
        "ANSI_PADDING",
        "ANSI_WARNINGS",
        "ARITHABORT",
        "CONCAT_NULL_YIELDS_NULL",
        "QUOTED_IDENTIFIER",
        "XACT_ABORT",
    ):
        assert f"SET {option} ON" in options
    assert {
        "SET NUMERIC_ROUNDABORT OFF",
        "SET DEADLOCK_PRIORITY LOW",
        "SET LOCK_TIMEOUT 3000",
    } <= options
    assert "NOCOUNT" not in script


def test_a_missing_driver_manager_is_explained() -> None:
    try:
        importlib.import_module("pyodbc")
    except ImportError:
        with pytest.raises(ConfigurationError, match="unixodbc"):
            create_source_engine("mssql+pyodbc://h/d", SourceSettings())
    else:
        pytest.skip("the ODBC driver manager is installed")


# Drivers


def test_the_driver_in_the_python_package_is_found_when_none_is_installed() -> None:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    path = Path(find_odbc_driver(registered=list))
    assert path.is_file()
    assert path.name.startswith("libmsodbcsql")
    assert path == packaged_driver()


def test_the_newest_installed_driver_comes_before_the_package() -> None:
    names = [
        "ODBC Driver 9 for SQL Server",
        "ODBC Driver 18 for SQL Server",
        "ODBC Driver 17 for SQL Server",
        "SQLite3",
    ]
    assert find_odbc_driver(registered=lambda: names) == "ODBC Driver 18 for SQL Server"


def test_the_configured_driver_comes_first(tmp_path: Path) -> None:
    path = _driver_file(tmp_path, "libtdsodbc.so")
    names = ["ODBC Driver 18 for SQL Server", "FreeTDS"]
    assert find_odbc_driver(str(path), registered=lambda: names) == str(path)
    assert find_odbc_driver("FreeTDS", registered=lambda: names) == "FreeTDS"


@pytest.mark.parametrize("configured", ["/nowhere/libmsodbcsql.so", "Unknown Driver"])
def test_a_configured_driver_that_is_missing_is_an_error(configured: str) -> None:
    with pytest.raises(ConfigurationError, match=configured):
        find_odbc_driver(configured, registered=lambda: ["FreeTDS"])


def test_no_driver_at_all_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="mssql-python-odbc"):
        find_odbc_driver(registered=list, packaged=lambda: None)


@pytest.mark.parametrize(
    ("system", "machine", "os_release", "folder"),
    [
        ("Linux", "x86_64", DEBIAN, "linux/debian_ubuntu/x86_64"),
        ("Linux", "aarch64", {"ID": "ubuntu", "ID_LIKE": "debian"}, "linux/debian_ubuntu/arm64"),
        ("Linux", "x86_64", {"ID": "mint", "ID_LIKE": "ubuntu"}, "linux/debian_ubuntu/x86_64"),
        ("Linux", "x86_64", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "linux/rhel/x86_64"),
        ("Linux", "x86_64", {"ID": "opensuse-leap", "ID_LIKE": "suse"}, "linux/suse/x86_64"),
        ("Linux", "x86_64", {"ID": "alpine"}, "linux/alpine/x86_64"),
        ("Linux", "x86_64", {}, "linux/debian_ubuntu/x86_64"),
        ("Darwin", "arm64", {}, "macos/arm64"),
    ],
)  # fmt: skip
def test_the_packaged_driver_fits_system_and_processor(
    tmp_path: Path, system: str, machine: str, os_release: dict[str, str], folder: str
) -> None:
    suffix = ".18.dylib" if system == "Darwin" else "-18.6.so.2.1"
    for other in ("debian_ubuntu", "rhel", "suse", "alpine"):
        for processor in ("x86_64", "arm64"):
            _driver_file(tmp_path, "linux", other, processor, "lib", "libmsodbcsql-18.6.so.2.1")
    _driver_file(tmp_path, "macos", "arm64", "lib", "libmsodbcsql.18.dylib")
    found = driver_in(tmp_path, system, machine, os_release)
    assert found == tmp_path / folder / "lib" / f"libmsodbcsql{suffix}"


def test_a_package_without_a_driver_for_this_system_gives_none(tmp_path: Path) -> None:
    assert driver_in(tmp_path, "Linux", "riscv64", DEBIAN) is None
    assert driver_in(tmp_path, "Windows", "AMD64", {}) is None
