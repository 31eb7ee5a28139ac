"""The whole system with its documents in a database that was given to it.

On PostgreSQL the tests of `running` have their documents in one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.local.errors import LauncherError
from deployments.local.parts.postgres import PostgresServer
from deployments.local.supervisor.stack import Stack
from deployments.local.system import check_empty, start_system
from deployments.local.verdict import find_problems
from deployments.migrations import BUSINESS, migrate
from lib.settings import SourceSettings
from tests.support.running import SETTINGS, drain
from tests.support.sqlserver import new_database

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["postgresql", "mssql"])
def source_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "mssql":
        with new_database("given") as url:
            yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_database("given")
    yield url
    server.drop_database(url)


@pytest.mark.parametrize("source_url", ["mssql"], indirect=True)
def test_every_document_of_a_given_database_ends_as_planned(
    source_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        Stack(tmp_path_factory.mktemp("given")) as stack,
        start_system(stack, source_url=source_url, settings=SETTINGS) as system,
    ):
        assert system.source_url == source_url
        drain(system)
        assert find_problems(system) == []


def test_a_database_that_is_not_empty_is_refused_before_anything_starts(
    source_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_empty(source_url, SourceSettings())
    migrate(source_url, BUSINESS)
    with (
        Stack(tmp_path_factory.mktemp("refused")) as stack,
        pytest.raises(LauncherError, match="not empty: it has AccountShop, "),
        start_system(stack, source_url=source_url),
    ):
        pytest.fail("it has started")
