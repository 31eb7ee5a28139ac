"""`python -m deployments.local.sql`: psql in the source database of the running local stack.

Arguments and input are psql's own. STATE names another state folder. It knows no other database
than the local stack's, so nothing that is tried with it can touch a pharmacy's documents.
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
    """Become psql.

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
