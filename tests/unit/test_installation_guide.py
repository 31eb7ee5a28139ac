"""The addresses in docs/installation.md are what the driver needs."""

from __future__ import annotations

import re

import pytest

from deployments.local.supervisor.stack import ROOT
from lib.settings import SourceSettings
from lib.source.engine import create_source_engine

_ADDRESS = re.compile(r"`(mssql\+pyodbc://[^`]+)`")
_GUIDE = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")


def test_the_addresses_of_the_guide_become_what_the_driver_needs() -> None:
    pytest.importorskip("pyodbc", reason="the ODBC driver manager is missing", exc_type=ImportError)
    found = []
    for address in dict.fromkeys(_ADDRESS.findall(_GUIDE)):
        engine = create_source_engine(address, SourceSettings())
        (arguments,), _options = engine.dialect.create_connect_args(engine.url)
        assert "Encrypt=yes" in arguments
        assert "Database=Pharmacy" in arguments
        found.append(re.sub(r"^DRIVER=\{.*?\};", "", arguments).split(";Database=Pharmacy"))
    assert [start for start, _ in found] == [
        "Server=sqlserver.example,1433",
        "Server=sqlserver.example\\SHOP",
        "Server=sqlserver.example",
        "Server=listener.example",
    ]
    assert "UID=dqg;PWD=PASSWORD" in found[1][1]
    assert "Trusted_Connection=yes" in found[2][1]
    assert "UID" not in found[2][1]
    assert "MultiSubnetFailover=Yes" in found[3][1]
