"""Accounts that may log in: the demo shops, or a list from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """A login and the facility it may send documents for."""

    usr: str
    pwd: str = field(repr=False)
    ma_co_so: str


#: Invented accounts of the demo chain; the passwords protect nothing.
DEMO_ACCOUNTS: tuple[SandboxAccount, ...] = (
    SandboxAccount("demo_hoasen", "Demo-hoasen-1", "790760001234"),
    SandboxAccount("demo_minhtam", "Demo-minhtam-1", "010010005678"),
    SandboxAccount("demo_binhan", "Demo-binhan-1", "480490009012"),
)


def load_accounts(path: Path) -> tuple[SandboxAccount, ...]:
    """Read a JSON list of `{"usr", "pwd", "ma_co_so"}`.

    Raises:
        ValueError: the file is not such a list; the text contains no password.
        OSError: the file cannot be read.
    """
    entries = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list):
        raise ValueError(f"{path}: not a list of accounts")  # noqa: TRY004 - what the file holds
    return tuple(_account(path, number, entry) for number, entry in enumerate(entries, start=1))


def _account(path: Path, number: int, entry: object) -> SandboxAccount:
    names = ("usr", "pwd", "ma_co_so")
    if not isinstance(entry, dict) or set(entry) != set(names):
        raise ValueError(f"{path}: account {number} must have exactly {', '.join(names)}")
    if not all(isinstance(entry[name], str) and entry[name] for name in names):
        raise ValueError(f"{path}: account {number} has a field that is empty or not a text")
    return SandboxAccount(**entry)
