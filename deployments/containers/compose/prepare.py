"""Creates the secret files of the compose file: random passwords, and URLs that contain them.

    python -m deployments.containers.compose.prepare
    python -m deployments.containers.compose.prepare --trial

Idempotent: an existing file is not changed. Imports only the standard library, so any
Python 3.11 or newer can run it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"

_PASSWORDS = ("postgres_password", "redis_password", "mongo_password", "sa_password")
_TRIAL_URL = "mssql+pyodbc://sa:{sa_password}@sqlserver:1433/Pharmacy?TrustServerCertificate=yes"
#: URLs that contain a password, by file name.
_DERIVED = {
    "prefect_redis_url": "redis://:{redis_password}@redis:6379/1",
    "redis_url": "redis://:{redis_password}@redis:6379/0",
    "mongo_url": "mongodb://dqg:{mongo_password}@mongo:27017/dqg_sync?authSource=admin",
}
#: Files that the administrator must fill in: two logins of the chain's SQL Server.
BY_HAND = {
    "source_url": "the service's login at SQL Server, which reads and updates documents",
    "migration_url": "a login that may create tables; otherwise the same as source_url",
}
#: Files that may stay empty.
OPTIONAL = ("alerts_webhook_url", "alerts_urls", "account_key")
FILES = (*_PASSWORDS, "prefect_auth", *_DERIVED, *BY_HAND, *OPTIONAL)


def prepare(folder: Path, *, trial: bool = False) -> list[str]:
    """Create the missing files; return the names of those that are still empty.

    Only its owner can open the folder. The files in it can be read by all users, because a
    container runs as another user, which reads each file through a mount of that file.

    Args:
        trial: the SQL Server of the profile `trial` is the source.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    values = {name: _kept(folder / name) or _password() for name in _PASSWORDS}
    made = {
        **values,
        "prefect_auth": f"dqg:{_password()}",
        **{name: text.format(**values) for name, text in _DERIVED.items()},
        **dict.fromkeys(BY_HAND, _TRIAL_URL.format(**values) if trial else ""),
    }
    made |= dict.fromkeys(OPTIONAL, "")
    for name in FILES:
        if not _kept(folder / name):
            _write(folder / name, made[name])
    return [name for name in BY_HAND if not _kept(folder / name)]


def _password() -> str:
    # SQL Server requires three kinds of characters; none of these needs escaping in a URL.
    return f"A1-{secrets.token_urlsafe(30)}"


def _kept(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _write(path: Path, value: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(value, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m deployments.containers.compose.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--folder", type=Path, default=FOLDER, help="folder for the files (default: %(default)s)"
    )
    made.add_argument("--trial", action="store_true", help="use the SQL Server of profile trial")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        empty = prepare(options.folder, trial=options.trial)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.folder}: {len(FILES)} files")
    for name in empty:
        print(f"fill in {options.folder / name}: {BY_HAND[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
