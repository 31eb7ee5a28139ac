"""Fixtures of all test rings: the real parts, each started once when a test asks for it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
import redis
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from deployments.local.parts.postgres import PostgresServer, start_postgres
from deployments.local.parts.servers import start_sandbox
from deployments.local.parts.stores import start_mongo, start_redis
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.stack import Stack
from deployments.migrations import BUSINESS, SYNC, migrate
from tests.support.sandbox import Sandbox
from tests.support.snapshots import Snapshots, copy_database
from tests.support.system import deployed, prefect_server, system

# In one place: a fixture that two files bring in is made twice.
__all__ = ["deployed", "prefect_server", "system"]


TESTS = Path(__file__).parent
RINGS = ("unit", "properties", "integration", "e2e")


class EndToEndApart(LoadFileScheduling):
    """Side by side: one process has all end-to-end tests, which share the running system.

    The others take the modules of the other rings, and so does that one when it is done.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::", 1)[0]
        return "e2e" if module.startswith("tests/e2e/") else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> EndToEndApart:
    return EndToEndApart(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ring by ring; side by side the longest begin."""
    side_by_side = hasattr(config, "workerinput")

    def place(item: pytest.Item) -> tuple[int, bool]:
        ring = RINGS.index(item.path.relative_to(TESTS).parts[0])
        # The running system comes last of its ring: it takes CPU from the others.
        return -ring if side_by_side else ring, "running" in getattr(item, "fixturenames", ())

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings() -> Iterator[None]:
    """What processes of the machine share, and what depends on how the tests are started."""
    with (
        tempfile.TemporaryDirectory(prefix="dqg-test-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        # The sockets of processes that are preloaded for warm starts.
        patch.setenv("XDG_RUNTIME_DIR", folder)
        # Set in the processes that run tests side by side.
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The parts of this test session; empty until a fixture adds one."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
def postgres(stack: Stack) -> PostgresServer:
    """A PostgreSQL server; `create_database(prefix)` gives the URL of an empty database."""
    return start_postgres(stack)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """SQLAlchemy URL of an empty database of this test's own."""
    url = postgres.create_database("test")
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def _migrated(postgres: PostgresServer) -> str:
    url = postgres.create_database("migrated")
    migrate(url, BUSINESS, SYNC)
    return url


@pytest.fixture
def migrated_url(postgres: PostgresServer, _migrated: str) -> Iterator[str]:
    """SQLAlchemy URL of a database of this test's own, with all tables and no documents."""
    url = postgres.url(f"test_{secrets.token_hex(4)}")
    copy_database(postgres, _migrated, url)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def snapshots(postgres: PostgresServer) -> Snapshots:
    return Snapshots(postgres)


@pytest.fixture(scope="session")
def _redis_server(stack: Stack) -> str:
    return start_redis(stack)


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """URL of an empty Redis."""
    with redis.Redis.from_url(_redis_server) as client:
        client.flushall()
    return _redis_server


@pytest.fixture(scope="session")
def mongo_url(stack: Stack) -> str:
    """URL of a MongoDB-compatible server; take `mongo_database_name` for a test's data."""
    return start_mongo(stack)


@pytest.fixture
def mongo_database_name(mongo_url: str) -> Iterator[str]:
    """Name of a database of this test's own, dropped afterwards."""
    name = f"test_{secrets.token_hex(4)}"
    yield name
    with pymongo.MongoClient[dict[str, object]](mongo_url) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def _sandbox_admin(stack: Stack) -> Iterator[SandboxAdmin]:
    with SandboxAdmin(start_sandbox(stack)) as admin:
        yield admin


@pytest.fixture
def sandbox(_sandbox_admin: SandboxAdmin) -> Sandbox:
    """The sandbox of the national API as it is at its start, with the demo chain's accounts."""
    _sandbox_admin.reset()
    return Sandbox(base_url=_sandbox_admin.api_url, admin=_sandbox_admin)
