"""Every method of SQLAlchemy's Inspector that the product calls works on SQL Server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Inspector
from sqlalchemy.dialects.mssql.base import MSDialect
from sqlalchemy.engine.interfaces import Dialect

from deployments.local.supervisor.stack import ROOT

PRODUCT = ("flows", "tasks", "lib", "deployments")


def _implemented(method: str) -> bool:
    # The interface raises NotImplementedError; what the base dialect adds is built on the rest.
    plain = method.replace("get_multi_", "get_")
    return getattr(MSDialect, plain, None) is not getattr(Dialect, plain, None)


def _called(path: Path) -> Iterator[str]:
    methods = {name for name in dir(Inspector) if name.startswith(("get_", "has_"))}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in methods:
            yield node.attr


def test_the_check_knows_what_sql_server_lacks() -> None:
    assert not _implemented("get_unique_constraints")
    assert not _implemented("get_check_constraints")
    assert _implemented("get_columns")
    assert _implemented("get_pk_constraint")


@pytest.mark.parametrize("folder", PRODUCT)
def test_every_inspector_method_in_use_exists_for_sql_server(folder: str) -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {method}"
        for path in (ROOT / folder).rglob("*.py")
        for method in _called(path)
        if not _implemented(method)
    }
    assert not missing
