"""Stops workers of a pool without interrupting a run.

A worker that receives a stop signal kills its runs at once. So pause the pool, wait until none of
its runs is in progress, stop the workers, and resume the pool.

    python -m deployments.server.drain sale                    pause and wait; then stop workers
    python -m deployments.server.drain sale --resume           resume the pool
    python -m deployments.server.drain sale --stop PID PID     all steps on one machine: stop these
                                                               workers, then resume the pool
    python -m deployments.server.drain sale --then COMMAND ... the same with a supervisor's command
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

#: A run that a worker has taken is in one of these states until it ends.
_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
#: A worker that polled for work before the pause sets a run to pending within these seconds.
_ASKED_BEFORE_SECONDS = 5.0
_POLL_SECONDS = 1.0
_STOP_SECONDS = 60.0


class DrainFailed(Exception):
    """The pool is paused, but a run or a worker is still running; the text names it."""


async def drain(pool: str, limit: float, *, quiet_seconds: float = _ASKED_BEFORE_SECONDS) -> None:
    """Pause a pool and return when none of its runs is in progress. Idempotent.

    Args:
        limit: seconds to wait for runs.
        quiet_seconds: seconds without a run after which no run can start any more.

    Raises:
        DrainFailed: a run is in progress after `limit` seconds; the pool stays paused.
        ObjectNotFound: there is no such pool.
    """
    async with get_client() as client:
        await client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
        deadline = time.monotonic() + limit
        quiet_since: float | None = None
        while True:
            names = await _under_way(client, pool)
            now = time.monotonic()
            quiet_since = None if names else quiet_since or now
            if quiet_since is not None and now - quiet_since >= quiet_seconds:
                return
            if now > deadline and names:
                raise DrainFailed(f"still running after {limit:.0f} s: {', '.join(names[:5])}")
            await asyncio.sleep(_POLL_SECONDS)


async def resume(pool: str) -> None:
    """Let a pool's workers take runs again. Idempotent.

    Raises:
        ObjectNotFound: there is no such pool.
    """
    async with get_client() as client:
        await client.update_work_pool(pool, WorkPoolUpdate(is_paused=False))


def stop_workers(pids: Sequence[int], limit: float = _STOP_SECONDS) -> None:
    """Send SIGTERM to processes of this machine, and wait until they end.

    Raises:
        DrainFailed: a process is still running; it is not killed.
    """
    processes = []
    for pid in pids:
        if psutil.pid_exists(pid):
            processes.append(psutil.Process(pid))
            os.kill(pid, signal.SIGTERM)
    _, left = psutil.wait_procs(processes, timeout=limit)
    if alive := [p.pid for p in left if p.status() != psutil.STATUS_ZOMBIE]:
        raise DrainFailed(f"still running after {limit:.0f} s: {alive}")


async def _under_way(client: PrefectClient, pool: str) -> list[str]:
    runs = await client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
        ),
    )
    return [run.name for run in runs]


def _carry_out(options: argparse.Namespace) -> int:
    if options.resume:
        asyncio.run(resume(options.pool))
        return 0
    asyncio.run(drain(options.pool, options.timeout))
    print(f"{options.pool}: paused, no run is in progress", flush=True)
    if not (options.stop or options.then):
        return 0
    status = 0
    if options.stop:
        stop_workers(options.stop)
        print(f"{options.pool}: stopped {len(options.stop)} workers", flush=True)
    else:
        status = subprocess.run(options.then, check=False).returncode  # noqa: S603 - its purpose
    asyncio.run(resume(options.pool))
    print(f"{options.pool}: resumed", flush=True)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if the pool could not be drained."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.server.drain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pool", help="work pool, for example sale")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds to wait for runs")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="only resume the pool")
    what.add_argument(
        "--stop", type=int, nargs="+", metavar="PID", help="process ids of the workers to stop"
    )
    what.add_argument(
        "--then", nargs=argparse.REMAINDER, metavar="COMMAND", help="command that stops the workers"
    )
    try:
        return _carry_out(parser.parse_args(arguments))
    except DrainFailed as problem:
        print(f"error: {problem}; the pool remains paused", file=sys.stderr)
    except ObjectNotFound:
        print("error: there is no such work pool", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
