"""The command `dqg`: chooses which settings apply, then runs the command line.

The first of these that exists: the local stack whose state folder is in STATE; `DQG_` variables
and the `.env` of this checkout; the local stack of a running `make run` of this checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from deployments.cli.language import FILE_VARIABLE

CHECKOUT = Path(__file__).resolve().parents[2]
STATE_FOLDER = ".state"


def main() -> None:
    """The console script. Settings come first: a command may import Prefect, which reads them."""
    choose_settings(os.environ, CHECKOUT)
    # Otherwise a notice of Prefect could be mixed with output that another program reads.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from deployments.cli.__main__ import app

    app(prog_name="dqg")


def choose_settings(environment: MutableMapping[str, str], checkout: Path) -> None:
    """Changes the environment to that of the installation or local stack.

    Raises:
        SystemExit: no local stack runs in the folder that STATE names.
    """
    file = checkout / ".env"
    state_dir = Path(environment.get("STATE") or checkout / STATE_FOLDER)
    installed = file.exists() or any(name.startswith("DQG_") for name in environment)
    if environment.get("STATE") or (not installed and (state_dir / "environment.sh").exists()):
        from deployments.local.environment_file import read_environment
        from deployments.local.errors import LauncherError

        try:
            environment.update(read_environment(state_dir))
        except LauncherError as error:
            sys.exit(f"error: {error}")
    environment.setdefault(FILE_VARIABLE, str(file) if file.exists() else "")
