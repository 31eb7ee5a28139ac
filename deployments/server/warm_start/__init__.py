"""Warm starts: the runs of process pools are forked from a process that has imported everything."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command() -> str:
    """The `command` of a process pool: this interpreter and launcher, by their absolute paths."""
    launcher = Path(__file__).with_name("launcher.py")
    return shlex.join([sys.executable, "-I", "-S", str(launcher)])
