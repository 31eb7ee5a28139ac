"""Keeps what an unexpected error quotes out of logs, states and records.

The text of a foreign error may hold anything it was working on, a buyer's name included, and
Prefect writes the text of every error of a run into its database.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lib.errors import SyncError, UnexpectedError

logger = logging.getLogger("dqg.sanitize")

_OURS = ("lib.", "tasks.", "flows.")


@contextmanager
def sanitize_exceptions() -> Iterator[None]:
    """Raises `UnexpectedError` in place of a foreign error: its kind and place, but not its text.

    The way through the code is logged, as lines of source without any value.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as error:
        unexpected = UnexpectedError(f"{type(error).__name__} in {_place(error)}")
        way = "".join(traceback.format_tb(error.__traceback__))
        # Not `exception`: that would log the text.
        logger.error("%s\n%s", unexpected, way, extra={"action": "unexpected_error"})  # noqa: TRY400
        raise unexpected from None


def _place(error: Exception) -> str:
    """Where in our code it was raised, or what our code had called."""
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames[1:] if frame[0].startswith(_OURS)]
    module, function, line = (ours or frames)[-1]
    return f"{module}.{function}, line {line}"
