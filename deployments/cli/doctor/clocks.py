"""Check that the clocks of this machine, the stores and the Prefect server agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from deployments.cli.doctor.findings import DoctorContext, Finding, fault, not_checked, ok
from deployments.cli.language import _

#: Seconds by which clocks may differ: more than a query takes, less than affects the service.
TOLERANCE = 30.0
THIS_MACHINE = "this machine"


def note_clock(context: DoctorContext, part: str, shown: float, asked_at: float) -> None:
    """Records a part's clock: it showed the Unix time `shown` between `asked_at` and now."""
    context.clocks[part] = shown - (asked_at + time.time()) / 2


def wrong_clocks(offsets: Mapping[str, float], tolerance: float = TOLERANCE) -> dict[str, float]:
    """The clocks that differ from the median, with the difference in seconds.

    If there are only two clocks, it is unknown which one is wrong: both are reported.
    """
    middle = statistics.median(offsets.values())
    if len(offsets) == 2:
        (first, one), (second, other) = offsets.items()
        return {first: one - other, second: other - one} if abs(one - other) > tolerance else {}
    return {
        part: offset - middle
        for part, offset in offsets.items()
        if abs(offset - middle) > tolerance
    }


async def check_clocks(context: DoctorContext) -> Sequence[Finding]:
    """The clocks of this machine, the stores and the Prefect server agree."""
    offsets = {THIS_MACHINE: 0.0, **context.clocks}
    if len(offsets) < 2:
        return [not_checked(_("no other clock can be read"))]
    wrong = wrong_clocks(offsets)
    return [
        fault(
            _(
                "the clock of {part} differs from the others by {seconds} s",
                part=part,
                seconds=format(difference, "+.0f"),
            ),
            _("synchronize it with NTP; leases use the source database's clock"),
        )
        for part, difference in wrong.items()
    ] or [ok(_("these clocks agree: {parts}", parts=", ".join(offsets)))]
