"""Fixtures of the integration ring."""

from tests.support.source import database, db, is_odd
from tests.support.system import deployed, prefect_server, system

__all__ = ["database", "db", "deployed", "is_odd", "prefect_server", "system"]
