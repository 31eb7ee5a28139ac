"""Scenarios around logins: lost tokens, wrong passwords."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import update

from deployments.local.demo.chain import SHOPS
from deployments.local.sandbox.client import SandboxAdmin
from lib.models import SyncStatus
from tests.faults.bench import ACCOUNT_PAUSE
from tests.faults.trial import Trial

STORM_PERIOD = 1.0
STORMS = 30
NEW_PASSWORD = "changed-by-hand"


def token_storm(trial: Trial) -> None:
    """The API forgets every token once a second while many submissions are under way."""
    sandbox = trial.sandbox
    # Logins slow enough that everything that is under way meets at them.
    slow_login = sandbox.add_fault("latency", operation="login", ms=800)
    slow = trial.slow_down(300)
    trial.seed_documents()
    trial.wait(lambda: trial.count("accepted"), "a first acceptance")
    for usr, count in sandbox.summary()["logins"].items():
        trial.expect(count["ok"] == 1, f"{usr}: {count['ok']} logins before any token was lost")
    # A token lost between its login and its first use is, to the client, an account refused: the
    # shop pauses. Quick answers keep that rare.
    trial.end_faults([slow_login, *slow])
    trial.healed()
    with _storm(sandbox) as storms:
        trial.wait_all_accepted()
    trial.note_faults("all tokens forgotten", storms[0])
    trial.expect(trial.count("duplicates") == 0, "a document was sent again after a lost token")
    for usr, count in sandbox.summary()["logins"].items():
        trial.expect(
            count["ok"] <= 1 + storms[0],
            f"{usr}: {count['ok']} logins for {storms[0]} times without tokens",
        )


def wrong_password(trial: Trial) -> None:
    """A shop's password is wrong: the shop pauses, the others go on; then it is corrected."""
    shop = SHOPS[1]
    trial.sandbox.set_password(shop.account, NEW_PASSWORD)
    trial.fault("wrong password")
    plan = trial.seed_documents()
    locked = [ref for ref in plan.documents if ref.shop_pharmacy_code == shop.code]
    others = len(plan.documents) - len(locked)
    trial.wait(lambda: trial.count("accepted") >= others, "the other shops' documents")
    trial.wait(lambda: not trial.busy(), "the paused shop is left in peace")
    rows = trial.rows()
    touched = [
        ref
        for ref in locked
        if rows[(ref.pipeline, ref.record_id)].status is not SyncStatus.PENDING
        or trial.spent_attempts(ref, rows)
    ]
    trial.expect(not touched, f"{len(touched)} documents of the paused shop cost an attempt")
    refused = [
        call["at"]
        for call in trial.sandbox.calls()
        if call["operation"] == "login" and call["status"] != 200
    ]
    early = [at for at in refused if at < refused[0] + ACCOUNT_PAUSE]
    trial.expect(refused, "nobody tried the wrong password")
    trial.expect(len(early) <= 2, f"{len(early)} logins before the shop paused")
    table = trial.bench.tables.accounts
    with trial.bench.engine.begin() as connection:
        connection.execute(
            update(table).where(table.c.account == shop.account).values(password=NEW_PASSWORD)
        )
    trial.healed()


@contextmanager
def _storm(sandbox: SandboxAdmin) -> Iterator[list[int]]:
    """Forget all tokens again and again; the list's one element counts how often."""
    count, over = [0], threading.Event()

    def rage() -> None:
        with SandboxAdmin(sandbox.base_url) as own:
            while count[0] < STORMS and not over.wait(STORM_PERIOD):
                own.forget_tokens()
                count[0] += 1

    thread = threading.Thread(target=rage, name="storm")
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()
