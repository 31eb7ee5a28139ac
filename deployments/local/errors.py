"""What stops the launcher, each told to the user in a line or two and without a traceback."""

from __future__ import annotations


class LauncherError(Exception):
    """The local stack cannot go on; the text says why and what to do."""
