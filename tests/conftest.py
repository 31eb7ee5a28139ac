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
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from deployments.local.parts.postgres import PostgresServer, start_postgres
from deployments.local.parts.servers import start_sandbox
from deployments.local.parts.stores import start_mongo, start_redis
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.supervisor.stack import Stack
from deployments.migrations import BUSINESS, SYNC, migrate
from tests.support.browser import chromium
from tests.support.sandbox import Sandbox
from tests.support.snapshots import Snapshots, copy_database
from tests.support.system import deployed, prefect_server, system

# In one place: a fixture that two files bring in is made twice.
__all__ = ["chromium", "deployed", "prefect_server", "system"]


TESTS = Path(__file__).parent
RINGS = ("unit", "properties", "integration", "e2e")
RUNNING = Path("tests/e2e/running")


class FromBothEnds(LoadFileScheduling):
    """Side by side: the first process begins with the last ring, the others with the first.

    They meet where the time left is the same. A module is of one process, and so are all those
    that share the running system.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::", 1)[0]
        return str(RUNNING) if Path(module).is_relative_to(RUNNING) else module

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is self.nodes[0]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FromBothEnds:
    return FromBothEnds(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ring by ring, the running system last."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        path = item.path.relative_to(TESTS.parent)
        return RINGS.index(path.parts[1]), path.is_relative_to(RUNNING)

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
