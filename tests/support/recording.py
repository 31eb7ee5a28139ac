"""A DBAPI that records the calls of SQLAlchemy's SQL Server dialect and executes nothing."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyodbc  # type: ignore[import-not-found]
from sqlalchemy import Engine, create_engine

#: Result of a statement: names of the columns, and rows.
Answer = tuple[Sequence[str], list[tuple[Any, ...]]]


@dataclass
class Call:
    """A statement, with the parameter types that were set before it."""

    statement: str
    parameters: Any
    types: Any
    many: bool = False


@dataclass
class Recorder:
    """Calls so far. `answer` returns the result of a statement; row counts are always 0."""

    answer: Callable[[str], Answer | None] = lambda _: None
    calls: list[Call] = field(default_factory=list)

    def engine(self) -> Engine:
        module = types.ModuleType("pyodbc")
        vars(module).update({k: v for k, v in vars(pyodbc).items() if not k.startswith("__")})
        module.connect = lambda *_args, **_options: _Connection(self)  # type: ignore[attr-defined]
        engine = create_engine("mssql+pyodbc://server/database?driver=none", module=module)
        engine.dialect.initialize = lambda _connection: None  # type: ignore[method-assign]
        return engine

    @property
    def statements(self) -> list[str]:
        return [call.statement for call in self.calls]


class _Connection:
    autocommit = False
    timeout = 0

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def cursor(self) -> _Cursor:
        return _Cursor(self._recorder)

    def add_output_converter(self, *_args: Any) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class _Cursor:
    rowcount = 0

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._types: Any = None
        self._rows: list[tuple[Any, ...]] = []
        self.description: Any = None
        self.fast_executemany = False

    def setinputsizes(self, sizes: Any) -> None:
        self._types = sizes

    def execute(self, statement: str, parameters: Any = ()) -> _Cursor:
        self._note(statement, parameters, many=False)
        return self

    def executemany(self, statement: str, parameters: Any) -> None:
        self._note(statement, parameters, many=True)

    def _note(self, statement: str, parameters: Any, *, many: bool) -> None:
        self._recorder.calls.append(Call(statement, parameters, self._types, many))
        answer = self._recorder.answer(statement)
        names, self._rows = answer or ((), [])
        self.description = [(name, None, None, None, None, None, True) for name in names] or None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def close(self) -> None: ...
