"""The rights that the T-SQL script grants are enough for the service, and for nothing else.

PostgreSQL knows the same rights, so the script's own GRANT statements are carried out there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, make_url, text

from flows.orchestrate import orchestrate
from flows.pipelines import cancellation, import_receipts, sale
from flows.reconcile import reconcile
from lib.errors import ConfigurationError
from lib.pipelines import PIPELINES
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine, translate_errors
from lib.source.tables import build_tables
from tests.support.doctor import examine, verdicts
from tests.support.system import System

SCRIPT = Path("deployments") / "migrations" / "least_privilege.sql"
_GRANT = re.compile(r"GRANT (SELECT|INSERT|UPDATE)\s*(\([^)]*\))?\s*ON dbo\.(\w+) TO dqg_service;")

pytestmark = pytest.mark.anyio


def grants() -> list[tuple[str, str, str]]:
    """Right, columns and table of each statement."""
    script = SCRIPT.read_text(encoding="utf-8")
    found = _GRANT.findall(script)
    assert len(found) == len(re.findall("^GRANT ", script, re.MULTILINE))
    return found


@pytest.fixture
def service(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The system, with a login that has these rights and no other; its URL."""
    role, password = f"service_{secrets.token_hex(4)}", secrets.token_hex(8)
    with system.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
        for right, columns, table in grants():
            connection.execute(text(f'GRANT {right} {columns} ON "{table}" TO {role}'))
    url = make_url(system.environment["DQG_SOURCE__URL"]).set(username=role, password=password)
    shown = url.render_as_string(hide_password=False)
    monkeypatch.setenv("DQG_SOURCE__URL", shown)
    yield shown
    with system.engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.usefixtures("service", "deployed")
async def test_the_service_does_its_work_with_them(system: System) -> None:
    for pipeline in PIPELINES:
        system.add(pipeline, "GOOD")
        system.add(pipeline, "BAD", line={"lot_number": " "})
    await orchestrate(return_state=True)
    flows = {"import": import_receipts, "sale": sale, "cancellation": cancellation}
    for name, pipeline in PIPELINES.items():
        (claim,) = system.source.claims.held(pipeline)
        await flows[name](claim_token=claim.token, return_state=True)
        assert system.statuses(name) == {"GOOD": "SYNC_SUCCESS", "BAD": "SYNC_FAILED"}
    assert (await reconcile(return_state=True)).is_completed()


@pytest.mark.usefixtures("service", "deployed", "system")
def test_the_doctor_can_look_with_them() -> None:
    seen = verdicts(examine())
    for check in ("source-database", "migrations", "indexes", "installation", "api-login"):
        assert seen[check] <= {"ok", "note"}, check


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE "SalesInvoices" SET customer_name = NULL',
        'DELETE FROM "SalesInvoices"',
        'UPDATE "AccountShop" SET status = 0',
        'UPDATE "SalesInvoices" SET sale_date = NULL',
        'INSERT INTO "SalesInvoices" DEFAULT VALUES',
        'DELETE FROM "dqg_delivery"',
        "UPDATE \"dqg_account\" SET encrypted_password = ''",
        'DELETE FROM "dqg_installation"',
        'DROP TABLE "SalesInvoices"',
    ],
)
def test_nothing_else_is_allowed(service: str, statement: str) -> None:
    engine = create_source_engine(service, SourceSettings())
    with pytest.raises(ConfigurationError), translate_errors(), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_the_script_names_every_table_and_every_column_that_is_written(system: System) -> None:
    tables = build_tables(SourceSettings())
    readable = {table for right, _columns, table in grants() if right == "SELECT"}
    assert readable == set(inspect(system.engine).get_table_names())
    writable = {
        table: {name.strip() for name in columns.strip("()").split(",")}
        for right, columns, table in grants()
        if right == "UPDATE" and columns
    }
    assert writable == {
        pipeline.header_table: {
            *("status", "sync_response_message", "updated_at", pipeline.national_id_column),
        }
        for pipeline in PIPELINES.values()
    }
    assert {tables.header(p).name for p in PIPELINES.values()} == set(writable)
