"""Scenarios around logins: lost tokens, wrong passwords."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import update

from deployments.local.demo.chain import SHOPS
from deployments.local.sandbox.client import SandboxAdmin
from lib.models import SyncStatus
from tests.faults.harness import ACCOUNT_PAUSE
from tests.faults.scenario import ScenarioRun

STORM_PERIOD = 1.0
STORMS = 30
NEW_PASSWORD = "changed-by-hand"


def token_storm(run: ScenarioRun) -> None:
    """The API revokes every token once per second while many submissions are in progress."""
    sandbox = run.sandbox
    # Slow logins, so that all submissions in progress wait for them together.
    slow_login = sandbox.add_fault("latency", operation="login", ms=800)
    slow = run.slow_down(300)
    run.seed_documents()
    run.wait(lambda: run.count("accepted"), "a first acceptance")
    for usr, count in sandbox.summary()["logins"].items():
        run.expect(count["ok"] == 1, f"{usr}: {count['ok']} logins before any token was lost")
    # If a token is revoked between login and first use, the client takes this for a refused account
    # and pauses the shop. Fast answers keep that rare.
    run.end_faults([slow_login, *slow])
    run.faults_ended()
    with _storm(sandbox) as storms:
        run.wait_all_accepted()
    run.note_faults("all tokens forgotten", storms[0])
    run.expect(run.count("duplicates") == 0, "a document was sent again after a lost token")
    for usr, count in sandbox.summary()["logins"].items():
        run.expect(
            count["ok"] <= 1 + storms[0],
            f"{usr}: {count['ok']} logins for {storms[0]} times without tokens",
        )


def wrong_password(run: ScenarioRun) -> None:
    """A shop has a wrong password and pauses, others continue; then the password is corrected."""
    shop = SHOPS[1]
    run.sandbox.set_password(shop.account, NEW_PASSWORD)
    run.fault("wrong password")
    plan = run.seed_documents()
    locked = [ref for ref in plan.documents if ref.shop_pharmacy_code == shop.code]
    others = len(plan.documents) - len(locked)
    run.wait(lambda: run.count("accepted") >= others, "the other shops' documents")
    run.wait(lambda: not run.busy(), "the paused shop is left in peace")
    rows = run.rows()
    touched = [
        ref
        for ref in locked
        if rows[(ref.pipeline, ref.record_id)].status is not SyncStatus.PENDING
        or run.spent_attempts(ref, rows)
    ]
    run.expect(not touched, f"{len(touched)} documents of the paused shop cost an attempt")
    refused = [
        call["at"]
        for call in run.sandbox.calls()
        if call["operation"] == "login" and call["status"] != 200
    ]
    early = [at for at in refused if at < refused[0] + ACCOUNT_PAUSE]
    run.expect(refused, "nobody tried the wrong password")
    run.expect(len(early) <= 2, f"{len(early)} logins before the shop paused")
    table = run.harness.tables.accounts
    with run.harness.engine.begin() as connection:
        connection.execute(
            update(table).where(table.c.account == shop.account).values(password=NEW_PASSWORD)
        )
    run.faults_ended()


@contextmanager
def _storm(sandbox: SandboxAdmin) -> Iterator[list[int]]:
    """Revoke all tokens repeatedly; the single element of the list counts how often."""
    count, over = [0], threading.Event()

    def revoke_repeatedly() -> None:
        with SandboxAdmin(sandbox.base_url) as own:
            while count[0] < STORMS and not over.wait(STORM_PERIOD):
                own.forget_tokens()
                count[0] += 1

    thread = threading.Thread(target=revoke_repeatedly, name="storm")
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()
