"""A document that ends its process is found and set aside; what was in its batch is sent."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from flows.pipelines import sale
from flows.reconcile import reconcile
from lib.models import Claim
from lib.pipelines import SALE
from lib.sync.planning import claim_bounds, suspects_together
from tests.support.system import System

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deployed")]

DEADLY = "HD-07"
LEASE = timedelta(seconds=300)


def claim(system: System, limit: int, crashes: tuple[int, int]) -> Claim:
    return system.source.claims.claim(
        SALE, token=str(uuid4()), limit=limit, lease=LEASE, crashes=crashes
    )


async def run(system: System, claimed: Claim) -> None:
    """What a worker does with the claim: the process ends where the deadly document is in it."""
    if any(ref.local_id == DEADLY for ref in claimed.documents):
        system.source.claims.renew(SALE, claimed.token, LEASE)
        system.source.claims.release(
            SALE, claimed.token, unconfirmed=True, costs_attempt=False, vanished=True
        )
    else:
        await sale(claim_token=claimed.token, granularity="task", return_state=True)


async def test_a_document_that_ends_its_process_is_set_aside_and_all_others_are_sent(
    system: System,
) -> None:
    for number in range(20):
        system.add("sale", f"HD-{number:02}")
    first = claim(system, 100, (0, 0))
    assert len(first.documents) == 20
    await run(system, first)
    for _ in range(60):
        (summary,) = system.source.counts.summary([SALE])
        level = next((n for n, ready in enumerate(summary.suspects, start=1) if ready), None)
        if level is None:
            break
        claimed = claim(system, suspects_together(level), claim_bounds(level))
        if not claimed.documents:
            break
        await run(system, claimed)
    assert not claim(system, 100, (0, 0)).documents
    await reconcile(return_state=True)
    statuses = system.statuses("sale")
    assert statuses.pop(DEADLY) == "SYNC_FAILED"
    assert set(statuses.values()) == {"SYNC_SUCCESS"}
    (failure,) = system.mongo.sync_failures.find()
    assert (failure["local_id"], failure["error_class"]) == (DEADLY, "crashes_worker")


async def test_an_outcome_ends_the_suspicion(system: System) -> None:
    system.add("sale", "HD-01")
    first = claim(system, 1, (0, 0))
    system.source.claims.renew(SALE, first.token, LEASE)
    system.source.claims.release(
        SALE, first.token, unconfirmed=True, costs_attempt=False, vanished=True
    )
    (summary,) = system.source.counts.summary([SALE])
    assert (summary.ready, summary.suspects) == (1, (1, 0, 0))
    await run(system, claim(system, 1, (1, 1)))
    assert system.document("sale", "HD-01").delivery.crashes == 0
