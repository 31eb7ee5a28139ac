"""The state folder: used by one local stack at a time, and emptied at its start."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.errors import LauncherError

#: Also marks a folder as created by this program; no other folder is ever emptied.
LOCK_NAME = "local-stack.lock"


@contextmanager
def empty_state(folder: Path) -> Iterator[int]:
    """Lock the state folder for this process and empty it; yields the lock's file descriptor.

    The lock lasts until every process that has the descriptor has ended.

    Raises:
        LauncherError: it is locked, or it has files that this program did not create.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = os.listdir(folder)
    except OSError as error:
        raise LauncherError(f"{folder} cannot be the state folder: {error.strerror}") from error
    if names and LOCK_NAME not in names:
        raise LauncherError(
            f"{folder} is not empty and was not made by `make run`: choose another "
            "folder with STATE="
        )
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LauncherError(
                f"another `make run` uses {folder}, or is still shutting down; stop "
                "it with Ctrl-C, or choose another folder with STATE="
            ) from None
        for path in folder.iterdir():
            if path.name == LOCK_NAME:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        yield descriptor
    finally:
        os.close(descriptor)
