"""Hold pipelines and shops by hand, and let them go on."""

from __future__ import annotations

from collections.abc import Sequence

from lib.operations.operator import Operator
from lib.resilience.breaker_rules import BreakerSnapshot
from lib.tracking.audit import Action, AuditEntry
from lib.words.states import held


def shop_breakers(operator: Operator, shop: str) -> list[str]:
    """Breakers of a shop's own accounts; none where it has no account.

    The installation's account is not among them: holding it would hold every shop.
    """
    return sorted(f"account:{key}" for key in operator.accounts.keys_of(shop))


async def pause(
    operator: Operator, names: Sequence[str], *, entry: AuditEntry
) -> dict[str, BreakerSnapshot] | None:
    """Force breakers open until they are resumed. Idempotent.

    Args:
        entry: for the audit log; a pause is possible also while MongoDB is away.

    Returns:
        How they are now; None where Redis is away, and nothing was changed.
    """
    for name in names:
        await operator.breakers.force_open(name, held(entry.by, entry.why))
    return await _noted(operator, names, entry)


async def resume(
    operator: Operator, names: Sequence[str], *, entry: AuditEntry
) -> dict[str, BreakerSnapshot] | None:
    """Let breakers go on, those that opened automatically included. As `pause`."""
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
