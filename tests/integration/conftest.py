"""Fixtures of the integration ring."""

from tests.support.system import deployed, prefect_server, system

__all__ = ["deployed", "prefect_server", "system"]
