"""Fixtures of the integration ring."""

from tests.support.source import database, db, is_odd

__all__ = ["database", "db", "is_odd"]
