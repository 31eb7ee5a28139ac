"""A flow that does nothing, for tests of the servers and workers that run flows."""

from __future__ import annotations

from prefect import flow


@flow
def hello() -> str:
    """Return a fixed text, which no test reads."""
    return "hello"
