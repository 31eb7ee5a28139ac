"""Scenarios in which documents or the configuration are wrong."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import insert, update

from deployments.local.demo.chain import SHOPS
from deployments.local.demo.documents import DemoPlan
from lib.models import DocumentRef, SyncStatus
from lib.pipelines import CANCELLATION, SALE
from tests.faults.scenario import ScenarioRun

FAULTY_SHARE = 0.2
UNKNOWN_SHOP = "SHOP99"
UNKNOWN_DOCUMENTS = 3


def poison(run: ScenarioRun) -> None:
    """Faulty documents, a pipeline with a wrong path, and an unknown shop, all at once."""
    harness, sandbox = run.harness, run.sandbox
    wrong_path = sandbox.add_fault(
        "status", status=404, operation="create", resource=CANCELLATION.resource
    )
    plan = run.seed_documents(faulty_share=FAULTY_SHARE)
    strangers = _move_to_unknown_shop(run)
    run.fault("faulty document", len(plan.fail))
    run.fault("document of an unknown shop", len(strangers))
    held_up = [
        ref for ref in run.plan.succeed if ref.pipeline == CANCELLATION.name or ref in strangers
    ]
    reachable = len(run.plan.succeed) - len(held_up)
    run.wait(lambda: run.count("accepted") >= reachable, "what can be sent is accepted")
    run.wait(lambda: run.fired([wrong_path]), "the wrong path has been met")
    run.wait(lambda: not run.busy(), "the paused are left in peace")
    rows = run.rows()
    run.note_faults("answer 404", run.fired([wrong_path]))
    for ref in held_up:
        row = rows[(ref.pipeline, ref.record_id)]
        run.expect(row.status is SyncStatus.PENDING, f"{ref.local_id}: {row.status}")
    # Only the first failure may spend an attempt: the second one shows that it is an outage.
    paid = [ref.local_id for ref in held_up if run.spent_attempts(ref, rows)]
    run.expect(len(paid) <= 1, f"attempts were spent by {', '.join(paid)}")
    run.end_faults([wrong_path])
    with harness.engine.begin() as connection:
        connection.execute(
            insert(harness.tables.accounts).values(
                shop_pharmacy_code=UNKNOWN_SHOP,
                pharmacy_code=SHOPS[0].pharmacy_code,
                account=SHOPS[0].account,
                password=harness.passwords[SHOPS[0].account],
                shop_name=UNKNOWN_SHOP,
                address="-",
                phone_number="-",
                status=1,
            )
        )
    run.faults_ended()


def _move_to_unknown_shop(run: ScenarioRun) -> set[DocumentRef]:
    """Give some valid sales of the first shop a shop code without an account."""
    table = run.harness.tables.header(SALE)
    chosen = [
        ref
        for ref in run.plan.succeed
        if ref.pipeline == SALE.name and ref.shop_pharmacy_code == SHOPS[0].code
    ][-UNKNOWN_DOCUMENTS:]
    with run.harness.engine.begin() as connection:
        connection.execute(
            update(table)
            .where(table.c.id.in_([ref.record_id for ref in chosen]))
            .values(shop_pharmacy_code=UNKNOWN_SHOP)
        )
    moved = {ref: replace(ref, shop_pharmacy_code=UNKNOWN_SHOP) for ref in chosen}
    run.plan = DemoPlan(
        succeed=tuple(moved.get(ref, ref) for ref in run.plan.succeed), fail=run.plan.fail
    )
    return set(moved.values())
