"""Updates the Prefect server to this version: work pools, deployments, alerts.

    python -m deployments.server.apply
    python -m deployments.server.apply --type kubernetes --default image=HOST/dqg-sync:0.1.0

The order matters: a deployment needs its pool, and an alert needs its deployment. Idempotent; run
it at installation, and after each change of version. The options are those of
`deployments.server.work_pools`.
Run it where the code has the same path as for the runs: for runs in containers, from the image.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from deployments.server import work_pools


def commands(options: Sequence[str]) -> list[list[str]]:
    """The commands to run, in this order."""
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
    """Stops at the first command that fails and returns its status; else returns 0."""
    options = list(sys.argv[1:] if arguments is None else arguments)
    parser().parse_args(options)
    for command in commands(options):
        print(f"--- {' '.join(command[2:])}", flush=True)
        status = subprocess.run(command, check=False).returncode  # noqa: S603 - our own commands
        if status != 0:
            print(
                f"error: the command ended with status {status}; the following "
                "commands are not run",
                file=sys.stderr,
            )
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
