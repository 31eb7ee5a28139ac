"""The findings of the doctor, and running its checks one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum

from redis.asyncio import Redis
from sqlalchemy import Engine

from deployments.cli.language import _
from lib.errors import SyncError
from lib.pipelines import PoolState
from lib.settings import Settings
from lib.source.store import Source
from lib.source.tables import SourceTables


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"  # all right, but an administrator should know it
    FAULT = "fault"  # something is wrong, and a person can correct it
    NOT_CHECKED = "not checked"  # something else must work first


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes:
        what: what was found.
        todo: what to do about it; empty if there is nothing to do.
        check: name of the check, filled in by `examine`.
    """

    verdict: Verdict
    what: str
    todo: str = ""
    check: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict in (Verdict.OK, Verdict.NOTE)


def ok(what: str) -> Finding:
    return Finding(Verdict.OK, what)


def note(what: str, todo: str = "") -> Finding:
    return Finding(Verdict.NOTE, what, todo)


def fault(what: str, todo: str) -> Finding:
    return Finding(Verdict.FAULT, what, todo)


def not_checked(why: str, todo: str = "") -> Finding:
    return Finding(Verdict.NOT_CHECKED, why, todo)


@dataclass(slots=True)
class DoctorContext:
    """Values that checks pass on: each check reads what the checks it needs have stored here.

    Attributes:
        closing: closes the opened connections at the end.
        clocks: seconds that a part's clock is ahead of this machine's.
        pools: work pools by name; None for one that does not exist.
    """

    closing: AsyncExitStack
    settings: Settings = field(init=False)
    engine: Engine = field(init=False)
    tables: SourceTables = field(init=False)
    source: Source = field(init=False)
    redis: Redis = field(init=False)
    clocks: dict[str, float] = field(default_factory=dict)
    pools: dict[str, PoolState | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        needs: names of checks that must pass first.
        todo: what to do if `work` raises a `SyncError`, in English.
    """

    name: str
    work: Callable[[DoctorContext], Awaitable[Sequence[Finding]]]
    todo: str
    needs: tuple[str, ...] = ()


async def examine(
    context: DoctorContext, checks: Iterable[Check], done: Callable[[int], None] = lambda _: None
) -> list[Finding]:
    """Runs the checks in their order; a check that needs a failed one is not run.

    Args:
        done: called after each check, with 1.
    """
    found: list[Finding] = []
    failed: set[str] = set()
    for check in checks:
        findings = await _make(context, check, failed)
        if not all(finding.passed for finding in findings):
            failed.add(check.name)
        found += [replace(finding, check=check.name) for finding in findings]
        done(1)
    return found


async def _make(context: DoctorContext, check: Check, failed: set[str]) -> Sequence[Finding]:
    missing = [name for name in check.needs if name in failed]
    if missing:
        return [not_checked(_("these checks must pass first: {checks}", checks=", ".join(missing)))]
    try:
        return await check.work(context)
    except SyncError as error:
        return [fault(str(error), _(check.todo))]
    except Exception as error:
        # The other checks may still show the cause. The error's text may contain secrets.
        return [fault(_("the check itself failed: {error}", error=type(error).__name__), "")]
