"""Runs several actions in parallel, and runs commands to completion."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from deployments.local.errors import LauncherError
from deployments.local.supervisor.stack import ROOT, Stack


def run_command(
    stack: Stack, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Run a command to its end, with its output in a separate log file.

    Raises:
        LauncherError: it failed; the text contains the end of its output.
    """
    log_file = stack.log_file(name)
    with log_file.open("wb") as log:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=ROOT,
            env={**stack.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise LauncherError(
            f"{name} failed with status {done.returncode}; "
            f"the end of {log_file}:\n{stack.log_tail(name)}"
        )


def at_once(stack: Stack, *actions: Callable[[], Any]) -> list[Any]:
    """Run several actions in threads; returns their results in order.

    After the first failure or an interruption, the others stop waiting for their parts.

    Raises:
        Exception: the error of the first action that failed.
    """
    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(action) for action in actions]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            stack.give_up()
            raise
