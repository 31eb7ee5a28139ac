"""Errors that stop the launcher; shown to the user in one or two lines without a traceback."""

from __future__ import annotations


class LauncherError(Exception):
    """The local stack cannot continue; the text gives the reason and what to do."""
