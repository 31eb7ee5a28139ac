"""Runs `orchestrate` and `reconcile` repeatedly in one process.

Replaces the `scheduler` worker: a separate process for each of their runs would use most of a
small machine. The flows are the same; the batches they dispatch go to real workers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from prefect import Flow

from flows import orchestrate as orchestrate_module
from flows.orchestrate import orchestrate
from flows.reconcile import reconcile
from tasks.dispatch import dispatch

#: Prefixes of the line that is printed after a round.
ORCHESTRATED = "orchestrated:"
RECONCILED = "reconciled:"
#: When the process kills itself, relative to the dispatch of a claim.
MOMENTS = ("before", "after")


async def drive(orchestrate_every: float, reconcile_every: float) -> None:
    """Run both flows at their periods until the process ends; 0 means never."""
    next_reconcile = time.monotonic() + reconcile_every
    while True:
        await _run(orchestrate, ORCHESTRATED)
        if reconcile_every and time.monotonic() >= next_reconcile:
            await _run(reconcile, RECONCILED)
            next_reconcile = time.monotonic() + reconcile_every
        await asyncio.sleep(orchestrate_every)


async def _run(flow: Flow[[], Any], label: str) -> None:
    try:
        state = await flow(return_state=True)
    except Exception as error:
        # The Prefect server is unavailable: a scheduler would still start its next run.
        print(f"no {flow.name}: {type(error).__name__}: {error}", flush=True)
    else:
        print(f"{label} {state.name}: {state.message}", flush=True)


def die_at(moment: str) -> None:
    """Make this process kill itself before or after the first dispatch of a claim."""

    async def dispatch_and_die(*arguments: Any, **named: Any) -> str:
        if moment == "after":
            await dispatch(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes on")

    orchestrate_module.dispatch = dispatch_and_die  # type: ignore[attr-defined]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tests.faults.driver", description=__doc__)
    parser.add_argument("--orchestrate-every", type=float, default=2)
    parser.add_argument("--reconcile-every", type=float, default=0)
    parser.add_argument("--die", choices=MOMENTS)
    options = parser.parse_args(arguments)
    if options.die:
        die_at(options.die)
    asyncio.run(drive(options.orchestrate_every, options.reconcile_every))


if __name__ == "__main__":
    main()
