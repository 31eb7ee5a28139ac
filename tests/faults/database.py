"""Scenario in which the source database is busy, fails over, and has a clock an hour ahead."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, create_engine, insert, select, update

from deployments.local.demo.documents import DemoPlan
from lib.models import DocumentRef
from lib.pipelines import get_pipeline
from tests.faults.scenario import ScenarioRun
from tests.faults.stores import source_closed

FAILOVER_SECONDS = 2.0
AN_HOUR = timedelta(hours=1)
#: Shops added to those of the demo; one in ten has a wrong password.
EXTRA_SHOPS = 30
PASSWORD, WRONG_PASSWORD = "right-for-runs", "wrong-for-runs"


def database_trouble(run: ScenarioRun) -> None:
    """Many shops, some with wrong passwords, a clock that jumps, failovers, and locked rows."""
    slow = run.slow_down(600)
    run.seed_documents()
    refused = _spread_over_shops(run)
    run.wait(lambda: run.count("accepted"), "a first acceptance")
    _let_clock_jump(run)
    for _ in range(2):
        with source_closed(run.harness):
            run.fault("failover")
            time.sleep(FAILOVER_SECONDS)
        run.wait(run.busy, "work goes on after the failover")
    _wait_beside_locked_row(run, refused)
    run.end_faults(slow)
    _correct_passwords(run)
    run.faults_ended()


def _spread_over_shops(run: ScenarioRun) -> set[DocumentRef]:
    """Move documents to many new shops with accounts; returns those whose shop cannot log in."""
    tables = run.harness.tables
    moved: dict[DocumentRef, DocumentRef] = {}
    with run.harness.engine.begin() as connection:
        for number in range(EXTRA_SHOPS):
            shop, facility, account = f"EXTRA{number:02}", f"7907700{number:05}", f"extra{number}"
            run.sandbox.add_account(account, PASSWORD, facility)
            connection.execute(
                insert(tables.accounts).values(
                    shop_pharmacy_code=shop,
                    pharmacy_code=facility,
                    account=account,
                    password=WRONG_PASSWORD if number % 10 == 0 else PASSWORD,
                    shop_name=shop,
                    address="-",
                    phone_number="-",
                    status=1,
                )
            )
            for ref in run.plan.succeed[number :: 2 * EXTRA_SHOPS]:
                header = tables.header(get_pipeline(ref.pipeline))
                connection.execute(
                    update(header)
                    .where(header.c.id == ref.record_id)
                    .values(shop_pharmacy_code=shop, pharmacy_code=facility)
                )
                moved[ref] = replace(ref, shop_pharmacy_code=shop, pharmacy_code=facility)
    run.plan = DemoPlan(
        succeed=tuple(moved.get(ref, ref) for ref in run.plan.succeed), fail=run.plan.fail
    )
    refused = {f"EXTRA{number:02}" for number in range(0, EXTRA_SHOPS, 10)}
    run.fault("shop with a wrong password", len(refused))
    return {ref for ref in moved.values() if ref.shop_pharmacy_code in refused}


def _correct_passwords(run: ScenarioRun) -> None:
    accounts = run.harness.tables.accounts
    with run.harness.engine.begin() as connection:
        connection.execute(
            update(accounts).where(accounts.c.password == WRONG_PASSWORD).values(password=PASSWORD)
        )


def _let_clock_jump(run: ScenarioRun) -> None:
    """Make all leases end an hour earlier, as if the database's clock had jumped an hour ahead."""
    delivery = run.harness.tables.delivery
    with run.harness.engine.begin() as connection:
        connection.execute(
            update(delivery)
            .where(delivery.c.claim_token.is_not(None))
            .values(lease_expires_at=delivery.c.lease_expires_at - AN_HOUR)
        )
    run.fault("clock an hour ahead")


def _wait_beside_locked_row(run: ScenarioRun, refused: set[DocumentRef]) -> None:
    """A cash register locks one row of each pipeline: all others must be accepted meanwhile."""
    rows = run.rows()
    open_refs = [
        ref
        for ref in run.plan.succeed
        if ref not in refused and rows[(ref.pipeline, ref.record_id)].national_id is None
    ]
    locked = {ref.pipeline: ref for ref in reversed(open_refs)}.values()
    # Our own sessions may not stay idle in a transaction; a cash register's may.
    till = create_engine(run.harness.system.source_url)
    with till.connect() as connection, connection.begin():
        for ref in locked:
            _lock_row(run, connection, ref)
        run.fault("row held by a till", len(locked))
        waiting: Sequence[DocumentRef] = [
            ref for ref in run.plan.succeed if ref not in refused and ref not in locked
        ]
        run.wait(lambda: run.are_done(waiting), "all others accepted beside a locked row")
    till.dispose()


def _lock_row(run: ScenarioRun, connection: Connection, ref: DocumentRef) -> None:
    header = run.harness.tables.header(get_pipeline(ref.pipeline))
    query = select(header.c.id).where(header.c.id == ref.record_id).with_for_update()
    connection.execute(query)
