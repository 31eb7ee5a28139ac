"""`python -m deployments.local.sql`: psql on the source database of the running local stack.

Arguments and input go to psql unchanged. STATE selects another state folder. It connects only to
the local stack's database, so experiments cannot change the documents of a real pharmacy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from sqlalchemy import make_url

from deployments.local.environment_file import read_environment
from deployments.local.errors import LauncherError
from deployments.local.options import read_options
from deployments.local.parts.postgres import client_program


def main() -> None:
    """Replace this process with psql.

    Raises:
        SystemExit: no local stack runs.
    """
    try:
        offered = read_environment(read_options(os.environ).state_dir)
    except LauncherError as problem:
        sys.exit(f"error: {problem}")
    program = str(client_program())
    environment = os.environ | client_environment(offered)
    os.execve(program, [program, *sys.argv[1:]], environment)  # noqa: S606


def client_environment(offered: Mapping[str, str]) -> dict[str, str]:
    """libpq's variables for the source database."""
    url = make_url(offered["DQG_SOURCE__URL"])
    return {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.database or "",
        "PGCLIENTENCODING": "UTF8",
    }


if __name__ == "__main__":
    main()
