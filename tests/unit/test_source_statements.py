"""Every statement as SQL Server gets to see it, and what its driver is given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyodbc  # type: ignore[import-not-found]
import pytest
import sqlglot
from sqlalchemy import Dialect, Select, select, true
from sqlalchemy.dialects import mssql, postgresql
from sqlglot import exp

from lib.models import DocumentRef, Outcome, OutcomeKind
from lib.pipelines import IMPORT, PIPELINES, SALE
from lib.settings import AlertSettings, SourceSettings
from lib.source.claim_statements import (
    ClaimFilter,
    due_documents,
    insert_statement,
    take_statement,
)
from lib.source.counts import due_statement, finished_statement, pending_statement
from lib.source.daily import DailyFilter, documents_statement, lines_statement
from lib.source.deadlines import bounds_of
from lib.source.dialects import age_in_seconds, lock, one_of, seconds_until, utc_in, utc_now
from lib.source.outcomes import header_statement, outcome_statement
from lib.source.rows import flag
from lib.source.store import Source, open_source
from lib.source.tables import build_tables
from tests.support.recording import Answer, Recorder

TABLES = build_tables(SourceSettings())
HEADER = TABLES.header(SALE)
LEASE = timedelta(minutes=5)
DAY = date(2026, 11, 2)
NOW = datetime(2026, 11, 27, 14, tzinfo=UTC)
REF = DocumentRef("sale", 7, "HD-1", "790760001234", "SHOP01")
OUTCOMES = [
    Outcome(REF, "token", kind, message="Đã nhận, ký hiệu ạ", retry_in=timedelta(minutes=1))
    for kind in OutcomeKind
]
READPAST = "WITH (READCOMMITTEDLOCK, ROWLOCK, READPAST)"


def _sql(statement: Any, dialect: Dialect | None = None) -> str:
    compiled = statement.compile(
        dialect=dialect or mssql.dialect(), compile_kwargs={"render_postcompile": True}
    )
    return re.sub(r"\s+", " ", str(compiled))


def _answer(statement: str) -> Answer | None:
    """Rows that let every path of the store go on to its next statement."""
    if "INFORMATION_SCHEMA" in statement or "sys." in statement:
        return None
    names = re.findall(r"AS \[?(\w+)\]?,? ?", statement.partition(" FROM ")[0] + ",")
    if statement.startswith("SELECT"):
        values = {"status": "PENDING_SYNC", "id": 7, "record_id": 7, "live": 0, "in_scope": 1}
        return names, [tuple(values.get(name, 1 if "count" in name else None) for name in names)]
    return None


def _nothing(statement: str) -> Answer | None:
    return (["nothing"], []) if statement.startswith("SELECT") or "OUTPUT" in statement else None


@pytest.fixture(scope="module")
def statements() -> list[str]:
    """What the whole store sends, one call of each method, with some rows found and with none."""
    found = []
    for answer in (_answer, _nothing):
        recorder = Recorder(answer)
        source = open_source(recorder.engine(), TABLES, cut_off=date(2026, 11, 1))
        for call in _calls(source):
            with suppress(Exception):  # the answers do not fit, only the statements count
                call()
        found += recorder.statements
    return [re.sub(r"\s+", " ", statement) for statement in found]


def _calls(source: Source) -> Iterator[Any]:
    for p in PIPELINES.values():
        yield lambda p=p: source.claims.claim(p, token="t", limit=5, lease=LEASE)
        yield lambda p=p: source.claims.claim(
            p, token="t", limit=5, lease=LEASE, least_recent_first=True
        )
        yield lambda p=p: source.claims.claim_one(p, local_id="HD-1", token="t", lease=LEASE)
        yield lambda p=p: source.claims.renew(p, "t", LEASE)
        yield lambda p=p: source.claims.mark_sending(
            p, "t", {1: "a" * 64, 2: None}, timedelta(minutes=2)
        )
        yield lambda p=p: source.claims.release(p, "t", unconfirmed=True, costs_attempt=False)
        yield lambda p=p: source.claims.held(p)
        yield lambda p=p: source.documents.load(p, "t")
        yield lambda p=p: source.documents.read(p, [1])
        yield lambda p=p: source.documents.touched_since_accepted(p, timedelta(days=1), 5)
        yield lambda p=p: source.documents.drug_names(p, [1])
        yield lambda p=p: source.documents.find(p, "HD-1", "79")
        yield lambda p=p: source.documents.get(p, [1])
        yield lambda p=p: source.documents.drug_codes(p, [1])
        yield lambda p=p: source.documents.successes_without_national_id(p, 5)
        yield lambda p=p: source.daily.documents_of_days(p, DAY, DAY)
        yield lambda p=p: source.daily.documents_of_days(p, DAY, DAY, "SHOP01")
        yield lambda p=p: source.counts.summary([p], finished_within=timedelta(days=1))
        yield lambda p=p: source.counts.shop_summaries([p])
        yield lambda p=p: source.counts.foreign_statuses([p])
        yield lambda p=p: source.counts.finished([p], timedelta(days=1))
        yield lambda p=p: source.counts.due([p], 9)
        yield lambda p=p: source.counts.batches(p)
        yield lambda p=p: source.counts.pending_shops(p)
        yield lambda p=p: source.counts.deadlines([(p, bounds_of(p.name, AlertSettings(), NOW))])
        yield lambda p=p: source.corrections.requeue(p, [1])
    yield lambda: source.corrections.record_acceptance(REF, "Q", "m")
    yield lambda: source.corrections.resolve_by_hand(REF, "Q", "m")
    yield source.accounts.all
    yield source.installation.read
    yield source.now


def _built() -> list[str]:
    """The statements that need rows to come to."""
    lengths = {"national_id": 100, "message": 200}
    found: list[Any] = []
    for p in PIPELINES.values():
        found += [
            due_documents(
                TABLES, p, "SHOP01", 9, ClaimFilter(date(2026, 11, 1), LEASE, (1, 2), put_back=True)
            ),
            due_documents(TABLES, p, "SHOP01", 9, ClaimFilter(put_back=False)),
            take_statement(TABLES, p, [7], "token", LEASE),
            insert_statement(TABLES, p, [REF], "token", LEASE, mssql.dialect()),
            outcome_statement(TABLES, p, OUTCOMES),
            header_statement(TABLES, p, OUTCOMES[:2], lengths),
            due_statement(TABLES, p, date(2026, 11, 1), 9),
            pending_statement(TABLES, p, date(2026, 11, 1)),
            finished_statement(TABLES, p, timedelta(days=1)),
        ]
    return [_sql(statement) for statement in found]


@pytest.fixture(scope="module")
def everything(statements: list[str]) -> list[str]:
    return [*statements, *_built()]


def test_every_statement_is_t_sql(everything: list[str]) -> None:
    assert len(everything) > 60
    for statement in set(everything):
        bare = re.sub(r":\w+|\?", "@p", re.sub(r"__\[POSTCOMPILE_\w+\]", "(1)", statement))
        sqlglot.parse_one(bare, dialect="tsql")


def bare_conditions(statement: str) -> list[str]:
    """Values in the place of a condition, and the other way round: syntax errors in T-SQL."""
    bare = re.sub(r":\w+|\?", "@p", re.sub(r"__\[POSTCOMPILE_\w+\]", "(1)", statement))
    tree = sqlglot.parse_one(bare, dialect="tsql")
    connectives = (exp.And, exp.Or, exp.Not)
    conditions: list[Any] = [tree.this for tree in tree.find_all(exp.Where, exp.Having, exp.Not)]
    conditions += [join.args.get("on") for join in tree.find_all(exp.Join)]
    for pair in tree.find_all(exp.And, exp.Or):
        conditions += [pair.left, pair.right]
    conditions += [
        branch.this
        for case in tree.find_all(exp.Case)
        if case.this is None
        for branch in case.args["ifs"]
    ]
    values: list[Any] = [found for select in tree.find_all(exp.Select) for found in select.selects]
    values += [
        branch.args["true"] for case in tree.find_all(exp.Case) for branch in case.args["ifs"]
    ]
    values += [case.args.get("default") for case in tree.find_all(exp.Case)]

    def is_condition(found: Any) -> bool:
        return isinstance(found.unalias().unnest(), (exp.Predicate, *connectives))

    return [
        *(found.sql() for found in tree.find_all(exp.Boolean)),  # T-SQL has neither TRUE nor FALSE
        *(
            found.sql("tsql")
            for found in conditions
            if found is not None and not is_condition(found)
        ),
        *(found.sql("tsql") for found in values if found is not None and is_condition(found)),
    ]


def test_a_condition_is_never_a_value(everything: list[str]) -> None:
    assert {s: found for s in set(everything) if (found := bare_conditions(s))} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT CASE WHEN unconfirmed THEN 1 ELSE 0 END FROM dqg_delivery",
        "SELECT id FROM dqg_delivery WHERE unconfirmed",
        "SELECT id FROM dqg_delivery WHERE id = 1 AND unconfirmed",
        "SELECT id FROM dqg_delivery WHERE NOT unconfirmed OR id = 1",
        "SELECT a.id FROM a JOIN b ON b.live AND a.id = b.id",
        "SELECT (id > 1) AS late FROM dqg_delivery",
        "UPDATE dqg_delivery SET unconfirmed = CASE WHEN id = 1 THEN (id = 2) ELSE 0 END",
        "SELECT id FROM dqg_delivery WHERE unconfirmed IS TRUE",
    ],
)
def test_a_bare_boolean_is_noticed(statement: str) -> None:
    assert bare_conditions(statement)


def test_no_write_of_a_pharmacys_table_has_an_output_clause(everything: list[str]) -> None:
    theirs = [table.name for table in TABLES.metadata.tables.values()]
    writes = [s for s in everything if s.startswith(("UPDATE", "INSERT", "DELETE"))]
    assert writes
    for statement in writes:
        target = re.match(r"(?:UPDATE|INSERT INTO|DELETE FROM) \[?(\w+)", statement)
        assert target is not None, statement
        assert target[1] not in theirs or "OUTPUT" not in statement
        assert "MERGE" not in statement


def test_every_write_locks_rows_and_no_pages(everything: list[str]) -> None:
    for statement in everything:
        if statement.startswith("UPDATE [") or statement.startswith("UPDATE dqg_delivery"):
            assert re.match(r"UPDATE \S+ WITH \(ROWLOCK\) SET", statement), statement


def test_counts_and_claims_wait_for_no_till() -> None:
    theirs = re.compile(r"(?:FROM|JOIN) \[\w+\](?: AS \w+)?( WITH \([^)]*\))?")
    for statement in _built():
        if statement.startswith("SELECT") or "INSERT" in statement:
            found = theirs.findall(statement)
            assert found
            assert {hint.strip() for hint in found} == {READPAST}, statement


def test_a_claim_repeats_its_condition_where_it_writes() -> None:
    update = _sql(take_statement(TABLES, SALE, [7], "token", LEASE))
    where = update[update.index(" WHERE ") :]
    assert "dqg_delivery.claim_token IS NULL OR" in where
    assert "dqg_delivery.lease_expires_at <= sysutcdatetime()" in where
    assert "dqg_delivery.next_attempt_at <= sysutcdatetime()" in where
    assert "[SalesInvoices].status = 'PENDING_SYNC'" in where
    insert = _sql(insert_statement(TABLES, SALE, [REF], "token", LEASE, mssql.dialect()))
    assert "[SalesInvoices].status = 'PENDING_SYNC'" in insert
    assert "NOT (EXISTS (SELECT" in insert
    assert "FROM dqg_delivery AS d" in insert


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=list(PIPELINES))
def test_outcomes_are_written_under_the_token_and_over_no_foreign_status(pipeline: Any) -> None:
    settle = _sql(outcome_statement(TABLES, pipeline, OUTCOMES))
    assert "dqg_delivery.claim_token = CAST(given.claim_token AS NVARCHAR(36))" in settle
    header = _sql(header_statement(TABLES, pipeline, OUTCOMES[:2], {}))
    assert re.search(r"WHERE .*\.status = :status", header)


def test_an_age_is_bounded() -> None:
    sql = _sql(select(age_in_seconds(HEADER.c.created_at)))
    assert "< dateadd(year, -60, getdate()) THEN" in sql
    assert "> dateadd(year, 60, getdate()) THEN" in sql


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_a_cut_off_bounds_the_claim_in_the_type_of_the_column(dialect: Dialect) -> None:
    sql = _sql(due_documents(TABLES, SALE, "SHOP01", 100, ClaimFilter(date(2026, 11, 1))), dialect)
    kind = "DATETIME" if dialect.name == "mssql" else "TIMESTAMP WITHOUT TIME ZONE"
    assert sql.count("sale_date >= CAST(") == 1
    assert f" AS {kind})" in sql
    assert "sale_date >=" not in _sql(due_documents(TABLES, SALE, "SHOP01", 100), dialect)


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_many_values_stay_out_of_the_parameters(dialect: Dialect) -> None:
    def parameters(count: int) -> int:
        shops = [f"S'{n}" for n in range(count)]
        statement: Select[Any] = select(HEADER.c.id).where(
            one_of(HEADER.c.shop_pharmacy_code, shops)
        )
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        assert ("'S''0'" in str(compiled)) == (count > 1000)
        return len(compiled.params)

    assert parameters(5000) == 0
    assert parameters(900) == 900


def test_rows_are_locked_while_they_are_read() -> None:
    query = lock(select(HEADER.c.id), HEADER)
    assert _sql(query).endswith("FROM [SalesInvoices] WITH (ROWLOCK, UPDLOCK)")
    assert _sql(query, postgresql.dialect()).endswith('FOR UPDATE OF "SalesInvoices"')


def test_moments_are_by_the_databases_clock() -> None:
    lease = TABLES.delivery.c.lease_expires_at
    sql = _sql(select(utc_now(), utc_in(90), seconds_until(lease)))
    assert "sysutcdatetime()" in sql
    assert "dateadd(millisecond, " in sql
    assert "datediff(second, sysutcdatetime(), dqg_delivery.lease_expires_at)" in sql


@pytest.mark.parametrize("dialect", [mssql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_a_day_is_a_range_that_an_index_can_serve(dialect: Dialect) -> None:
    february = DailyFilter(date(2026, 2, 1), date(2026, 2, 28))
    for statement in (documents_statement, lines_statement):
        compiled = statement(TABLES, SALE, february).compile(dialect=dialect)
        assert re.search(r"sale_date\W* >= .*sale_date\W* < ", str(compiled).replace("\n", " "))
        bounds = [value for value in compiled.params.values() if hasattr(value, "isoformat")]
        assert [bound.isoformat() for bound in bounds] == [
            "2026-02-01T00:00:00",
            "2026-03-01T00:00:00",
        ]


def test_lines_without_a_total_come_to_quantity_times_price() -> None:
    assert "sum([SalesInvoiceDetails].line_total)" in _sql(
        lines_statement(TABLES, SALE, DailyFilter(DAY, DAY))
    )
    assert "quantity * coalesce([PurchaseReceiptDetails].unit_price, " in _sql(
        lines_statement(TABLES, IMPORT, DailyFilter(DAY, DAY))
    )


# What the driver is given


def _one_row(statement: str) -> Answer | None:
    if "OUTPUT" in statement:
        return ["record_id"], [(7,)]
    if "count(" in statement:
        return ["count_1"], [(3,)]
    if statement.startswith("SELECT [SalesInvoices].id, [SalesInvoices].status"):
        return ["id", "status"], [(7, "SYNC_SUCCESS        ")]
    return None


def _saved(answer: Any) -> tuple[Any, Recorder]:
    recorder = Recorder(answer)
    source = open_source(recorder.engine(), TABLES)
    source.outcomes._lengths["sale"] = {"national_id": 100, "message": None}
    return source.outcomes.save([OUTCOMES[0]]), recorder


def test_vietnamese_text_goes_to_the_driver_as_nvarchar() -> None:
    _, recorder = _saved(_one_row)
    settle = next(call for call in recorder.calls if "UPDATE dqg_delivery" in call.statement)
    assert not settle.many
    position = list(settle.parameters).index("Đã nhận, ký hiệu ạ")
    kind = settle.types[position]
    assert (kind[0] if isinstance(kind, tuple) else kind) == pyodbc.SQL_WVARCHAR
    header = next(call for call in recorder.calls if "UPDATE [SalesInvoices]" in call.statement)
    position = list(header.parameters).index("Đã nhận, ký hiệu ạ")
    kind = header.types[position]
    assert (kind[0] if isinstance(kind, tuple) else kind) == pyodbc.SQL_WVARCHAR


@pytest.mark.parametrize(
    ("code", "kind"), [("SHOP01", pyodbc.SQL_VARCHAR), ("CỬA HÀNG 1", pyodbc.SQL_WVARCHAR)]
)
def test_a_code_is_typed_so_that_an_index_serves_it(code: str, kind: int) -> None:
    shops = iter([[(code, "79", 5)]])

    def answer(statement: str) -> Answer | None:
        return (["shop", "pharmacy", "age"], next(shops, [])) if "count(" not in statement else None

    recorder = Recorder(answer)
    engine = recorder.engine()
    source = open_source(engine, TABLES)
    source.counts.pending_shops(SALE)
    source.documents.find(SALE, code, code)
    with engine.connect() as connection:
        connection.execute(due_documents(TABLES, SALE, code, 9))
    compared = [
        kind[0]
        for call in recorder.calls
        for value, kind in zip(call.parameters, call.types or (), strict=False)
        if value == code
    ]
    assert compared == [kind] * 4


def test_a_row_count_of_nothing_loses_no_outcome_and_no_lease() -> None:
    saved, _ = _saved(_one_row)
    assert saved.written == {("sale", 7)}
    assert not saved.overtaken
    source = open_source(Recorder(_one_row).engine(), TABLES)
    assert source.claims.renew(SALE, "token", LEASE) == 3


def test_a_condition_that_always_holds_is_a_number() -> None:
    text = str(select(flag(true())).compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
    assert "WHEN" not in text
