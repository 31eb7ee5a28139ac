"""Initial states that several tests share: created once, then copied."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from sqlalchemy import NullPool, create_engine, make_url, text

from deployments.local.parts.postgres import PostgresServer
from tests.support.system import System

#: Settings that always differ between tests.
_PLACES = ("DQG_SOURCE__URL", "DQG_MONGO__DATABASE")


@dataclass(frozen=True)
class _Snapshot:
    """A source database that is only copied, and the content of the other stores and the API."""

    source: str
    mongo: dict[str, list[dict[str, Any]]]
    redis: dict[bytes, tuple[int, bytes]]
    api: int


@dataclass(frozen=True)
class Snapshots:
    """Snapshots of all stores and the API; the Prefect server keeps the runs of all tests."""

    postgres: PostgresServer
    _kept: dict[Any, _Snapshot] = field(default_factory=dict)

    def begin_with(self, system: System, make: Callable[[System], None]) -> None:
        """Bring an empty system into the state that `make` creates with the system's settings."""
        settings = {k: v for k, v in system.environment.items() if k not in _PLACES}
        key = (make, *sorted(settings.items()))
        if key in self._kept:
            self._restore(system, self._kept[key])
        else:
            make(system)
            self._kept[key] = self._take(system)

    def _take(self, system: System) -> _Snapshot:
        source = self.postgres.url(f"snapshot_{secrets.token_hex(4)}")
        system.engine.dispose()
        copy_database(self.postgres, system.environment["DQG_SOURCE__URL"], source)
        mongo = {
            name: list(system.mongo[name].find()) for name in system.mongo.list_collection_names()
        }
        with _redis(system) as redis:
            keys = {key: (max(redis.pttl(key), 0), redis.dump(key)) for key in redis.scan_iter()}
        return _Snapshot(source, mongo, keys, system.admin.take_snapshot())

    def _restore(self, system: System, snapshot: _Snapshot) -> None:
        here = system.environment["DQG_SOURCE__URL"]
        system.engine.dispose()
        self.postgres.drop_database(here)
        copy_database(self.postgres, snapshot.source, here)
        for name, documents in snapshot.mongo.items():
            if documents:
                system.mongo[name].insert_many(documents)
        with _redis(system) as redis:
            for key, (milliseconds, value) in snapshot.redis.items():
                redis.restore(key, milliseconds, value, replace=True)
        system.admin.restore(snapshot.api)


def _redis(system: System) -> Any:
    return Redis.from_url(system.environment["DQG_REDIS__URL"])


def copy_database(postgres: PostgresServer, original: str, copy: str) -> None:
    """Copy a database that has no open connection into a new one; both are given by URL.

    Documents may be sent from the copy if they may be sent from the original.
    """
    one, other = (make_url(url).database for url in (original, copy))
    server = create_engine(
        postgres.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{other}" TEMPLATE "{one}"'))
    with create_engine(copy, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE dqg_installation SET database_name = current_database()"))
