"""A flow that does nothing, for tests of what carries flows."""

from __future__ import annotations

from prefect import flow


@flow
def hello() -> str:
    """Says what it is asked for nowhere."""
    return "hello"
