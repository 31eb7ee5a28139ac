"""Scenarios in which documents or the configuration are wrong."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import insert, update

from deployments.local.demo.chain import SHOPS
from deployments.local.demo.documents import DemoPlan
from lib.models import DocumentRef, SyncStatus
from lib.pipelines import CANCELLATION, SALE
from tests.faults.trial import Trial

FAULTY_SHARE = 0.2
UNKNOWN_SHOP = "SHOP99"
UNKNOWN_DOCUMENTS = 3


def poison(trial: Trial) -> None:
    """Faulty documents, a pipeline whose path is wrong, and a shop nobody knows, all at once."""
    bench, sandbox = trial.bench, trial.sandbox
    wrong_path = sandbox.add_fault(
        "status", status=404, operation="create", resource=CANCELLATION.resource
    )
    plan = trial.seed_documents(faulty_share=FAULTY_SHARE)
    strangers = _move_to_unknown_shop(trial)
    trial.fault("faulty document", len(plan.fail))
    trial.fault("document of an unknown shop", len(strangers))
    held_up = [
        ref for ref in trial.plan.succeed if ref.pipeline == CANCELLATION.name or ref in strangers
    ]
    reachable = len(trial.plan.succeed) - len(held_up)
    trial.wait(lambda: trial.count("accepted") >= reachable, "what can be sent is accepted")
    trial.wait(lambda: trial.fired([wrong_path]), "the wrong path has been met")
    trial.wait(lambda: not trial.busy(), "the paused are left in peace")
    rows = trial.rows()
    trial.note_faults("answer 404", trial.fired([wrong_path]))
    for ref in held_up:
        row = rows[(ref.pipeline, ref.record_id)]
        trial.expect(row.status is SyncStatus.PENDING, f"{ref.local_id}: {row.status}")
    # The first to fail fails alone: that it is an outage shows with the second.
    paid = [ref.local_id for ref in held_up if trial.spent_attempts(ref, rows)]
    trial.expect(len(paid) <= 1, f"attempts were spent by {', '.join(paid)}")
    trial.end_faults([wrong_path])
    with bench.engine.begin() as connection:
        connection.execute(
            insert(bench.tables.accounts).values(
                shop_pharmacy_code=UNKNOWN_SHOP,
                pharmacy_code=SHOPS[0].pharmacy_code,
                account=SHOPS[0].account,
                password=bench.passwords[SHOPS[0].account],
                shop_name=UNKNOWN_SHOP,
                address="-",
                phone_number="-",
                status=1,
            )
        )
    trial.healed()


def _move_to_unknown_shop(trial: Trial) -> set[DocumentRef]:
    """Give some sound sales of the first shop a shop code without an account."""
    table = trial.bench.tables.header(SALE)
    chosen = [
        ref
        for ref in trial.plan.succeed
        if ref.pipeline == SALE.name and ref.shop_pharmacy_code == SHOPS[0].code
    ][-UNKNOWN_DOCUMENTS:]
    with trial.bench.engine.begin() as connection:
        connection.execute(
            update(table)
            .where(table.c.id.in_([ref.record_id for ref in chosen]))
            .values(shop_pharmacy_code=UNKNOWN_SHOP)
        )
    moved = {ref: replace(ref, shop_pharmacy_code=UNKNOWN_SHOP) for ref in chosen}
    trial.plan = DemoPlan(
        succeed=tuple(moved.get(ref, ref) for ref in trial.plan.succeed), fail=trial.plan.fail
    )
    return set(moved.values())
