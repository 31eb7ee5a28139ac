"""The web console with many shops and documents: time of pages and of bare queries, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil
import pymongo
from sqlalchemy import Integer, case, cast, func, insert, literal, select, text, true

from deployments.local.parts.console import DEMO_USERS, start_console
from lib.models import SyncStatus
from lib.pipelines import PIPELINES, Pipeline
from tests.benchmarks import report
from tests.benchmarks.goals import at_most, goals_table
from tests.benchmarks.options import Options
from tests.benchmarks.parts import Parts
from tests.benchmarks.site import Site, new_site
from tests.support.console import Browserless

SHOPS, DOCUMENTS, REQUESTS = 300, 1_000_000, 10_000
SMALL_DOCUMENTS, SMALL_REQUESTS = 30_000, 300
#: Documents are spread over this number of days; the overview counts those of today.
DAYS = 90
#: Of this number of documents, one is pending and one has failed.
ONE_OF = 100
TIMES = 15
PAGES = ("/", "/causes", "/documents?code=X-5", "/close", "/pauses", "/audit")
OVERVIEW_MS, SEARCH_MS = 300, 200

Say = Callable[[str], None]


def run(parts: Parts, options: Options, say: Say) -> dict[str, Any]:
    """Measure and print; returns the values for JSON."""
    documents, requests = (
        (SMALL_DOCUMENTS, SMALL_REQUESTS) if options.small else (DOCUMENTS, REQUESTS)
    )
    site = new_site(parts, documents=len(PIPELINES), latency_ms=0)
    for pipeline in PIPELINES.values():
        _fill(site, pipeline, documents // len(PIPELINES))
    _add_accounts(site)
    _add_failures(site, documents)
    say(f"{documents} documents of {SHOPS} shops are there")
    users = {"DQG_CONSOLE__USERS_FILE": str(parts.stack.state_dir / "bench-users.json")}
    environment = {k: v for k, v in site.environment.items() if k.startswith("DQG_")} | users
    console = start_console(parts.stack, parts.prefect, environment)
    with Browserless(console.url) as person:
        assert person.log_in(DEMO_USERS[0].name, console.password).status_code == 303
        overview = _median(lambda: person.get("/", 200))
        counts = _median(lambda: _count(site))
        search = _median(lambda: person.get("/documents?code=X-5", 200))
        row = _median(lambda: _find(site))
        pages = {page: _median(lambda page=page: person.get(page, 200)) for page in PAGES}
        say(", ".join(f"{page} {milliseconds:.0f} ms" for page, milliseconds in pages.items()))
        process = _process_of(console.url)
        _ask(person, requests // 10)
        before = process.memory_info().rss / 1e6
        _ask(person, requests)
        after = process.memory_info().rss / 1e6
    rows = [
        [
            "overview",
            report.Figure(overview),
            report.Figure(counts),
            report.Figure(overview / counts),
        ],
        ["search", report.Figure(search), report.Figure(row), report.Figure(search / row)],
    ]
    print(f"\n{documents:,} documents of {SHOPS} shops\n")
    print(report.table(["page", "ms", "bare query, ms", "ratio"], rows))
    print(f"\nmemory: {before:.0f} MB, after {requests:,} requests {after:.0f} MB")
    found = [
        at_most("overview, ms", overview, OVERVIEW_MS),
        at_most("search, ms", search, SEARCH_MS),
        at_most(f"memory after {requests:,} requests, as a ratio", after / before, 1.1),
    ]
    print("\n" + goals_table(found))
    site.close()
    return {
        "documents": documents,
        "overview_ms": overview,
        "counts_ms": counts,
        "search_ms": search,
        "row_ms": row,
        "memory_mb": [before, after],
        "requests": requests,
    }


def _fill(site: Site, pipeline: Pipeline, count: int) -> None:
    """Insert copies of one document for all shops and days in turn, most of them accepted."""
    header = site.tables.header(pipeline)
    local_id = site.tables.local_id(pipeline)
    dated = header.c[pipeline.date_column]
    own = ("id", local_id.key, dated.key, "created_at", "updated_at", "status")
    copied = [c for c in header.c if c.key not in (*own, "shop_pharmacy_code")]
    series = func.generate_series(1, count).table_valued("number").render_derived()
    number = series.c.number
    code = literal("S") + func.lpad(cast(number % SHOPS, header.c.status.type), 4, "0")
    status = case(
        (number % ONE_OF == 0, SyncStatus.PENDING.value),
        (number % ONE_OF == 1, SyncStatus.FAILED.value),
        else_=SyncStatus.SUCCESS.value,
    )
    age = cast(number % DAYS, Integer) * text("interval '1 day'")
    moment = func.localtimestamp() - age
    first = select(func.min(header.c.id)).scalar_subquery()
    values: list[Any] = [
        literal("X-") + cast(number, local_id.type),
        moment,
        moment,
        moment,
        status,
    ]
    values += [code, *copied]
    names = [local_id, dated, header.c.created_at, header.c.updated_at, header.c.status]
    copies = select(*values).select_from(header.join(series, true())).where(header.c.id == first)
    with site.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(
            insert(header).from_select([*names, header.c.shop_pharmacy_code, *copied], copies)
        )
    with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def _add_accounts(site: Site) -> None:
    accounts = site.tables.accounts
    rows = [
        {
            "shop_pharmacy_code": f"S{number:04}",
            "pharmacy_code": f"99{number:010}",
            "account": f"shop{number}",
            "password": "-",
            "shop_name": f"Nhà thuốc {number}",
            "address": "-",
            "phone_number": f"02800{number:04}",
            "status": 1,
        }
        for number in range(SHOPS)
    ]
    with site.engine.begin() as connection:
        connection.execute(insert(accounts), rows)


def _add_failures(site: Site, documents: int) -> None:
    """Insert open failure records of the last day, as many as documents that fail in ten days."""
    mongo = site.settings.mongo
    reason = {"error_class": "invalid", "error": "line 1 so_lo: is blank", "state": "open"}
    field = {"field": "so_lo", "line": 1, "reason": "is blank"}
    rows = [
        {
            **reason,
            "field_errors": [field],
            "pipeline": pipeline,
            "record_id": number,
            "local_id": f"X-{number}",
            "pharmacy_code": "990000000001",
            "shop_pharmacy_code": f"S{number % SHOPS:04}",
            "created_at": datetime.now(UTC) - timedelta(minutes=number % 1000),
        }
        for pipeline in PIPELINES
        for number in range(1, documents // len(PIPELINES), ONE_OF * DAYS // 10)
    ]
    with pymongo.MongoClient[dict[str, Any]](mongo.url.get_secret_value()) as client:
        client[mongo.database].sync_failures.insert_many(rows)


def _count(site: Site) -> None:
    """Run the overview's counts as bare queries on each table."""
    with site.engine.connect() as connection:
        for pipeline in PIPELINES.values():
            c = site.tables.header(pipeline).c
            ended = [SyncStatus.SUCCESS.value, SyncStatus.FAILED.value]
            pending = select(c.shop_pharmacy_code, func.count(), func.min(c.created_at))
            for query in (
                pending.where(c.status == SyncStatus.PENDING.value),
                pending.where(c.status.in_(ended), c.updated_at >= func.current_date()),
            ):
                connection.execute(query.group_by(c.shop_pharmacy_code)).all()


def _find(site: Site) -> None:
    """Read the rows of a code with one bare query per table."""
    with site.engine.connect() as connection:
        for pipeline in PIPELINES.values():
            header = site.tables.header(pipeline)
            connection.execute(select(header).where(site.tables.local_id(pipeline) == "X-5")).all()


def _median(work: Callable[[], object]) -> float:
    """Median milliseconds, without the first call."""
    times = []
    for _ in range(TIMES + 1):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times[1:])


def _ask(person: Browserless, requests: int) -> None:
    for number in range(requests):
        person.get(PAGES[number % len(PAGES)], 200)


def _process_of(url: str) -> psutil.Process:
    """The process that listens on an address of this machine."""
    port = httpx.URL(url).port
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return psutil.Process(connection.pid)
    raise AssertionError(f"nothing listens at {url}")
