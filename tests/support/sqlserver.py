"""Databases on the SQL Server that TEST_SQLSERVER_URL names; tests are skipped without it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url, text

from lib.settings import SourceSettings
from lib.source.engine import create_source_engine

VARIABLE = "TEST_SQLSERVER_URL"


@contextmanager
def new_database(prefix: str) -> Iterator[str]:
    """URL of an empty database, dropped afterwards."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"{VARIABLE} is not set")
    name = f"{prefix}_{secrets.token_hex(4)}"
    server = create_source_engine(url, SourceSettings())
    server = server.execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        server.dispose()
