"""Replaces Prefect's engine in tests of warm starts; the variable `DO` selects the action."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

#: Modules that a run imports last, when it reads its parameters and connects to its database.
LATE = ("prefect.flow_engine", "fastapi.encoders", "psycopg")


def report() -> None:
    """Print what this process has received, as JSON on standard output."""
    facts = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": sys.path,
        "threads": threading.active_count(),
        "preloaded": set(LATE) <= sys.modules.keys(),
    }
    print(json.dumps(facts), flush=True)


def wait() -> None:
    """Report, and wait for SIGTERM; then print the signal and end with status 7."""

    def end(number: int, _frame: object) -> None:
        os.write(1, f"signal {number}\n".encode())  # works even while a report is being printed
        sys.exit(7)

    signal.signal(signal.SIGTERM, end)
    report()
    signal.pause()


def load() -> None:
    """Load a flow's module as Prefect does, from the folder in FOLDER, and print its file."""
    from prefect.utilities.importtools import load_module

    os.chdir(os.environ["FOLDER"])
    module = load_module("flows.pipelines")
    print(json.dumps({"file": module.__file__, "mark": getattr(module, "MARK", "")}))


if __name__ == "__main__":
    match os.environ["DO"]:
        case "report":
            report()
        case "wait":
            wait()
        case "load":
            load()
        case "exit":
            print("out")
            print("err", file=sys.stderr)
            sys.exit(3)
        case "raise":
            raise ValueError("as it was told")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
