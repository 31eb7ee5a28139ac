"""Brings the Prefect server up to date with this version: work pools, deployments, alerts.

    python -m deployments.server.apply
    python -m deployments.server.apply --type kubernetes --default image=HOST/dqg-sync:0.1.0

The order matters: a deployment needs its pool, an alert its deployment. Idempotent; run it at an
installation, and after each change of version. The options are those of
`deployments.server.work_pools`.
Run it where the runs will find the code at the same path, so from the image for everything that
runs in containers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from deployments.server import work_pools


def commands(options: Sequence[str]) -> list[list[str]]:
    """What is run, one after the other."""
    python = [sys.executable, "-m"]
    return [
        [*python, "deployments.server.work_pools", *options],
        [*python, "prefect", "--no-prompt", "deploy", "--all"],
        [*python, "deployments.server.alerts"],
    ]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = work_pools.parser()
    made.prog, made.description = "python -m deployments.server.apply", __doc__
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the status of the first command that failed, with which it ends; else 0."""
    options = list(sys.argv[1:] if arguments is None else arguments)
    parser().parse_args(options)
    for command in commands(options):
        print(f"--- {' '.join(command[2:])}", flush=True)
        status = subprocess.run(command, check=False).returncode  # noqa: S603 - our own commands
        if status != 0:
            print(f"error: it ended with status {status}; nothing more is done", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
