"""Runs supervisord until the starting process releases the stack or ends, then cleans up.

Started by `Stack` with a pipe as standard input. The pipe closes when the starting process releases
the stack, and also when that process ends for any reason. Then the supervisor stops every service,
their remaining children are killed, and the stack's private folder is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deployments.local.supervisor.control import daemon_command

PR_SET_CHILD_SUBREAPER = 36
STOP_SECONDS = 90


def main() -> int:
    private_dir, config = Path(sys.argv[1]), Path(sys.argv[2])
    _adopt_orphans()
    stop_read, stop_write = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(stop_write, b"x"))
    daemon = subprocess.Popen(daemon_command(config), stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        while daemon.poll() is None:
            if select.select([sys.stdin.fileno(), stop_read], [], [], 1)[0]:
                break
            _reap_orphans(daemon.pid)
        return 0 if daemon.poll() is None else 1
    finally:
        _end(daemon)
        shutil.rmtree(private_dir, ignore_errors=True)


def _adopt_orphans() -> None:
    """Make orphaned processes children of this one, so that it can end all of them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap_orphans(daemon_pid: int) -> None:
    if sys.platform != "linux":
        return  # there, the system adopts orphans
    look_only = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, look_only):
            if ended.si_pid == daemon_pid:
                return  # left for `daemon.poll`
            os.waitpid(ended.si_pid, 0)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    known = psutil.Process().children(recursive=True)
    if daemon.poll() is None:
        daemon.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(STOP_SECONDS)
    left = {*known, *psutil.Process().children(recursive=True)}
    while left:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)
        left = set(psutil.Process().children(recursive=True))


if __name__ == "__main__":
    sys.exit(main())
