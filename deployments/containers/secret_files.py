"""Turns secret files into environment variables, then replaces itself with another program.

    python -m deployments.containers.secret_files prefect worker start --pool sale

Every file in `/run/secrets` or `/etc/dqg-sync/secrets` whose name is a variable's name
(`DQG_SOURCE__URL`) becomes that variable. Docker mounts secrets in the first folder; Kubernetes
stores its own secrets below it, so ours are in the second. All programs of the image start like
this: Prefect's settings can't be read from files, and a worker passes its environment to its runs.
Imports only the standard library, since it runs before everything in the image.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Where the files are, if not in the usual places.
FOLDER_VARIABLE = "SECRETS_FOLDER"
DEFAULT_FOLDERS = ("/run/secrets", "/etc/dqg-sync/secrets")

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class SecretUnreadable(Exception):
    """A secret file cannot be read; the message contains its name and the reason, no content."""


def with_secrets(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment with the secrets of a folder added.

    A variable that is already set is not changed. A line break at the end of a file is removed,
    an empty file sets nothing, and files with other names are ignored.

    Raises:
        SecretUnreadable: a file cannot be read, is not UTF-8 text, or contains a NUL.
    """
    found = dict(environment)
    for path in sorted(folder.glob("*")):
        if not _VARIABLE.fullmatch(path.name) or not path.is_file():
            continue
        try:
            value = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SecretUnreadable(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SecretUnreadable(f"{path}: not UTF-8 text") from error
        value = value.removesuffix("\n").removesuffix("\r")
        if "\0" in value:
            raise SecretUnreadable(
                f"{path}: contains a NUL character, which is not allowed in an environment variable"
            )
        if value:
            found.setdefault(path.name, value)
    return found


def main(command: Sequence[str]) -> None:
    """Replace this process with the command, so that signals reach it directly."""
    if not command:
        sys.exit("usage: python -m deployments.containers.secret_files COMMAND [ARGUMENT ...]")
    given = os.environ.get(FOLDER_VARIABLE)
    environment = dict(os.environ)
    try:
        for folder in (given,) if given else DEFAULT_FOLDERS:
            environment = with_secrets(environment, Path(folder))
    except SecretUnreadable as problem:
        sys.exit(f"error: {problem}")
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - its purpose
    except OSError as error:
        sys.exit(f"error: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
