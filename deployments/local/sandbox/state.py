"""One sandbox: its options, accounts, documents, faults and counts."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, SandboxAccount
from deployments.local.sandbox.calls import CallLog
from deployments.local.sandbox.faults import FaultRules
from deployments.local.sandbox.options import Options
from deployments.local.sandbox.rate_limit import RateLimiter
from deployments.local.sandbox.rules import KNOWN_DRUGS
from deployments.local.sandbox.sessions import Sessions
from deployments.local.sandbox.store import DocumentStore

#: Calls that are kept in the log.
CALLS_KEPT = 20_000
#: All state that changes, apart from the options.
_PARTS = ("sessions", "documents", "limiter", "calls", "faults")


class Sandbox:
    """The whole state of the sandbox. Belongs to one event loop; no method awaits.

    Args:
        clock: unix time in seconds; token expiry, rate limits and recorded times use it.
    """

    def __init__(
        self,
        options: Options | None = None,
        accounts: Iterable[SandboxAccount] = DEMO_ACCOUNTS,
        *,
        clock: Callable[[], float] = time.time,
        calls_kept: int = CALLS_KEPT,
    ) -> None:
        self._initial_options = options or Options()
        self.options = self._initial_options
        self.sessions = Sessions(accounts, clock)
        self.documents = DocumentStore(clock)
        self.limiter = RateLimiter(clock)
        self.calls = CallLog(clock, calls_kept)
        self.faults = FaultRules(self.options.seed)
        self.known_drugs: frozenset[str] | None = None
        self._snapshots: list[tuple[Options, dict[str, Any]]] = []
        self._apply(self.options)

    def set_options(self, changes: dict[str, Any]) -> Options:
        """Change options from now on.

        Raises:
            pydantic.ValidationError: an option is unknown or its value is invalid; nothing changes.
        """
        self._apply(self.options.changed(changes))
        return self.options

    def reset(self) -> None:
        """Reset to the start: no documents, tokens, faults or counts, and the initial options."""
        self.sessions.reset()
        self.documents.clear()
        self.limiter.clear()
        self.calls.clear()
        self.faults = FaultRules(self._initial_options.seed)
        self._apply(self._initial_options)

    def take_snapshot(self) -> int:
        """Keep a copy of the whole state; returns its number for `restore`."""
        parts = {name: vars(getattr(self, name)) for name in _PARTS}
        self._snapshots.append((self.options, copy.deepcopy(parts)))
        return len(self._snapshots) - 1

    def restore(self, number: int) -> None:
        """Restore the state of the snapshot. Idempotent.

        Raises:
            IndexError: there is no such snapshot.
        """
        options, parts = self._snapshots[number]
        self._apply(options)
        for name, values in copy.deepcopy(parts).items():
            vars(getattr(self, name)).update(values)

    def summary(self) -> dict[str, Any]:
        """Totals over all documents and calls."""
        by_resource: dict[str, Counter[str]] = {}
        twice: list[dict[str, Any]] = []
        for record in self.documents:
            counts = by_resource.setdefault(record.key.resource, Counter())
            counts["documents"] += record.stored
            for name in ("accepted", "posts", "duplicates", "refused", "lookups", "deletes"):
                counts[name] += getattr(record, name)
            if record.accepted_twice:
                twice.append({**record.key._asdict(), "accepted": record.accepted})
        totals = sum(by_resource.values(), Counter())
        return {
            "documents": totals["documents"],
            "accepted_total": totals["accepted"],
            "accepted_twice": twice,
            "duplicates": totals["duplicates"],
            "refused": totals["refused"],
            "posts": self.calls.operations["create"],
            "logins": {
                usr: {"ok": count.ok, "refused": count.refused}
                for usr, count in self.sessions.logins.items()
            },
            "calls": dict(self.calls.operations),
            "statuses": dict(self.calls.statuses),
            "in_flight": self.calls.in_flight,
            "max_in_flight": self.calls.max_in_flight,
            "faults_fired": dict(self.faults.fired),
            "by_resource": {name: dict(counts) for name, counts in by_resource.items()},
        }

    def _apply(self, options: Options) -> None:
        if options.seed != self.options.seed:
            self.faults.seed(options.seed)
        self.options = options
        known = KNOWN_DRUGS | frozenset(options.extra_drug_codes)
        self.known_drugs = None if options.drug_codes == "any" else known
