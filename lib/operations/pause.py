"""Pause pipelines and shops by hand, and resume them."""

from __future__ import annotations

from collections.abc import Sequence

from lib.operations.operator import Operator
from lib.resilience.breaker_rules import BreakerSnapshot
from lib.tracking.audit import Action, AuditEntry
from lib.words.states import held


def shop_breakers(operator: Operator, shop: str) -> list[str]:
    """Breakers of a shop's own accounts; empty if it has no account.

    The installation's account is not included: to pause it would pause every shop that uses it.
    """
    return sorted(f"account:{key}" for key in operator.accounts.keys_of(shop))


async def pause(
    operator: Operator, names: Sequence[str], *, entry: AuditEntry
) -> dict[str, BreakerSnapshot] | None:
    """Force breakers open until they are resumed. Idempotent.

    Args:
        entry: for the audit log; a pause is possible also while MongoDB is unavailable.

    Returns:
        The breakers' states now; None if Redis is unavailable and nothing was changed.
    """
    for name in names:
        await operator.breakers.force_open(name, held(entry.by, entry.why))
    return await _noted(operator, names, entry)


async def resume(
    operator: Operator, names: Sequence[str], *, entry: AuditEntry
) -> dict[str, BreakerSnapshot] | None:
    """Close breakers again, including those that opened automatically. Otherwise like `pause`."""
    for name in names:
        await operator.breakers.end_forced_open(name)
        await operator.breakers.reset(name)
    return await _noted(operator, names, entry)


async def _noted(
    operator: Operator, names: Sequence[str], entry: AuditEntry
) -> dict[str, BreakerSnapshot] | None:
    snapshots = await operator.breakers.snapshot(names)
    if operator.redis_away():
        return None
    await operator.audit.try_note(entry)
    return snapshots


def pipeline_entry(action: Action, pipeline: str, by: str, why: str = "") -> AuditEntry:
    return AuditEntry(action, by, why, pipeline=pipeline)


def shop_entry(action: Action, shop: str, by: str, why: str = "") -> AuditEntry:
    return AuditEntry(action, by, why, shops=[shop])
