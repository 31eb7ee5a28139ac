"""The processes of warm starts, as a test finds them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

FORK_SERVER = "deployments.server.warm_start.fork_server"


def fork_servers(folder: Path) -> list[psutil.Process]:
    """The preloaded processes whose sockets are below a folder; their children are the runs."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if FORK_SERVER in (process.info["cmdline"] or []):
            with suppress(psutil.Error, OSError):
                # Standard error is the launcher's for a run, and the log for the server.
                log = Path(os.readlink(f"/proc/{process.pid}/fd/2"))
                if log.is_relative_to(folder):
                    found.append(process)
    return found


def forked_runs() -> list[psutil.Process]:
    """The runs of every preloaded process."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        command = process.info["cmdline"] or []
        if FORK_SERVER in command:
            with suppress(psutil.Error):
                # A run keeps the command line of the server it was forked from.
                parent = psutil.Process(process.info["ppid"]).cmdline()
                if FORK_SERVER in parent:
                    found.append(process)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or only waits for its parent to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
