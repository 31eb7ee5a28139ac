"""New documents, logs and API state for one measurement."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, delete, func, insert, select, text

from deployments.local.demo.documents import seed_demo
from deployments.migrations import BUSINESS, SYNC, migrate
from lib.models import SyncStatus
from lib.pipelines import PIPELINES, Pipeline
from lib.settings import Settings, SourceSettings, as_environment, load_settings
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import SourceTables, build_tables
from tests.benchmarks.parts import Parts

#: Concurrent API calls, as many as the other ways have.
IN_FLIGHT = 64
PROBE = Path(__file__).parent / "probe"

Sections = Mapping[str, Mapping[str, object]]

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Row:
    """A document that is not in the tables yet."""

    pipeline: Pipeline
    header: dict[str, Any]
    lines: list[dict[str, Any]]


@dataclass(frozen=True)
class Site:
    """Attributes:
    database: name of the source database.
    engine, store: of the observer, whose statements are not counted.
    settings, environment: of the processes that send the documents.
    calls_file: has one line for each of their calls to the Prefect API.
    """

    parts: Parts
    database: str
    engine: Engine = field(repr=False)
    tables: SourceTables = field(repr=False)
    store: Source = field(repr=False)
    settings: Settings = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    calls_file: Path

    def statuses(self) -> dict[str, int]:
        """Documents by status."""
        counts: dict[str, int] = {}
        with self.engine.connect() as connection:
            for pipeline in PIPELINES.values():
                status = self.tables.header(pipeline).c.status
                for name, number in connection.execute(
                    select(status, func.count()).group_by(status)
                ):
                    counts[name] = counts.get(name, 0) + number
        return counts

    def pending(self) -> int:
        """Documents without a final status."""
        return self.statuses().get(SyncStatus.PENDING.value, 0)

    def calls(self) -> list[str]:
        """Calls to the Prefect API so far, such as `POST /api/flow_runs/`."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def take_out(self) -> list[Row]:
        """Remove and return all documents in id order, alternating between the pipelines."""
        by_pipeline = []
        with self.engine.begin() as connection:
            for pipeline in PIPELINES.values():
                header, details = self.tables.header(pipeline), self.tables.details(pipeline)
                key = self.tables.foreign_key(pipeline)
                lines: dict[int, list[dict[str, Any]]] = {}
                for line in connection.execute(select(details).order_by(details.c.id)).mappings():
                    content = {c.key: line[c] for c in details.c if c.key not in ("id", key.key)}
                    lines.setdefault(line[key], []).append(content)
                left_out = ("id", "created_at", "updated_at")
                by_pipeline.append(
                    [
                        Row(
                            pipeline,
                            {c.key: row[c] for c in header.c if c.key not in left_out},
                            lines.get(row[header.c.id], []),
                        )
                        for row in connection.execute(
                            select(header).order_by(header.c.id)
                        ).mappings()
                    ]
                )
                connection.execute(delete(details))
                connection.execute(delete(header))
        turns = itertools.zip_longest(*by_pipeline)
        return [row for turn in turns for row in turn if row is not None]

    def put_in(self, row: Row) -> None:
        """Insert a document; the database's clock sets its time of creation."""
        header, details = self.tables.header(row.pipeline), self.tables.details(row.pipeline)
        key = self.tables.foreign_key(row.pipeline)
        with self.engine.begin() as connection:
            (record_id,) = connection.execute(
                insert(header).values(row.header).returning(header.c.id)
            ).one()
            if row.lines:
                connection.execute(
                    insert(details), [line | {key.key: record_id} for line in row.lines]
                )

    def ages(self) -> list[float]:
        """Seconds from the insertion of each accepted document to its acceptance in the table."""
        found = []
        with self.engine.connect() as connection:
            for pipeline in PIPELINES.values():
                columns = self.tables.header(pipeline).c
                rows = connection.execute(
                    select(columns.created_at, columns.updated_at).where(
                        columns.status == SyncStatus.SUCCESS.value
                    )
                )
                found += [(updated - created).total_seconds() for created, updated in rows]
        return found

    def close(self) -> None:
        """Drop the source database."""
        self.store.dispose()
        self.parts.source.drop_database(self.parts.source.url(self.database))


def new_site(
    parts: Parts, *, documents: int, latency_ms: float, settings: Sections | None = None
) -> Site:
    """New databases with valid demo documents, and an API that has none of them yet.

    Args:
        settings: of the service, in addition to those of every way.
    """
    number = next(_numbers)
    database = f"source_{number}"
    parts.source.create_named_database(database)
    source_url = parts.source.url(database)
    source_settings = SourceSettings()
    migrate(source_url, BUSINESS, SYNC, settings=source_settings)
    tables = build_tables(source_settings)
    engine = create_source_engine(parts.observer_url(database), source_settings)
    seed_demo(
        engine,
        tables,
        documents=documents,
        passwords=parts.passwords,
        faulty_share=0,
        by_hand=False,
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    parts.sandbox.reset()
    parts.sandbox.set_options(latency_ms=latency_ms)
    with redis.Redis.from_url(parts.redis_url) as client:
        client.flushall()
    merged: dict[str, dict[str, object]] = {
        "source": {"url": source_url, "pool_size": 10},
        "mongo": {"url": parts.mongo_url, "database": f"bench_{number}"},
        "redis": {"url": parts.redis_url},
        "api": {
            "base_url": parts.sandbox.api_url,
            "max_connections": IN_FLIGHT,
            "max_per_account": IN_FLIGHT,
        },
        "sync": {"concurrency": IN_FLIGHT},
    }
    for section, values in (settings or {}).items():
        merged[section] = merged.get(section, {}) | dict(values)
    calls_file = parts.stack.state_dir / f"prefect-calls-{number}"
    return Site(
        parts=parts,
        database=database,
        engine=engine,
        tables=tables,
        store=open_source(engine, tables),
        settings=load_settings(**merged),
        environment={
            **as_environment(merged),
            "PYTHONPATH": str(PROBE),
            "BENCH_CALLS_FILE": str(calls_file),
        },
        calls_file=calls_file,
    )
