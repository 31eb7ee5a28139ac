"""How the doctor goes from check to check, and how it judges clocks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from deployments.cli.doctor.checks import CHECKS
from deployments.cli.doctor.clocks import wrong_clocks
from deployments.cli.doctor.findings import (
    Check,
    DoctorContext,
    Finding,
    Verdict,
    examine,
    fault,
    ok,
)
from lib.errors import StoreUnavailable


async def _well(_context: DoctorContext) -> Sequence[Finding]:
    return [ok("fine")]


async def _ill(_context: DoctorContext) -> Sequence[Finding]:
    return [ok("one half"), fault("the other half", "mend it")]


async def _away(_context: DoctorContext) -> Sequence[Finding]:
    raise StoreUnavailable("Redis", "away")


async def _broken(_context: DoctorContext) -> Sequence[Finding]:
    raise KeyError("localTime")


async def _examine(*checks: Check) -> list[Finding]:
    async with AsyncExitStack() as closing:
        return await examine(DoctorContext(closing), checks)


@pytest.mark.anyio
async def test_what_needs_a_check_that_failed_is_not_made() -> None:
    found = await _examine(
        Check("well", _well, ""),
        Check("ill", _ill, ""),
        Check("after-well", _well, "", needs=("well",)),
        Check("after-ill", _broken, "", needs=("well", "ill")),
        Check("after-that", _broken, "", needs=("after-ill",)),
    )
    assert [(finding.check, finding.verdict) for finding in found] == [
        ("well", Verdict.OK),
        ("ill", Verdict.OK),
        ("ill", Verdict.FAULT),
        ("after-well", Verdict.OK),
        ("after-ill", Verdict.NOT_CHECKED),
        ("after-that", Verdict.NOT_CHECKED),
    ]
    assert "ill" in found[4].what
    assert "well" not in found[4].what


@pytest.mark.anyio
async def test_an_error_of_ours_is_a_finding_with_what_to_do() -> None:
    (found,) = await _examine(Check("redis", _away, "start it"))
    assert (found.verdict, found.what, found.todo) == (Verdict.FAULT, "Redis: away", "start it")


@pytest.mark.anyio
async def test_an_error_nobody_foresaw_stops_no_other_check() -> None:
    broken, well = await _examine(Check("mongodb", _broken, ""), Check("well", _well, ""))
    assert broken.verdict is Verdict.FAULT
    assert "KeyError" in broken.what
    assert "localTime" not in broken.what
    assert well.verdict is Verdict.OK


def test_every_check_comes_after_those_it_needs() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert check.name not in seen
        assert set(check.needs) <= seen
        seen.add(check.name)


@pytest.mark.parametrize(
    ("offsets", "wrong"),
    [
        ({"here": 0, "database": 29, "Redis": -1}, {}),
        ({"here": 0, "database": 3600, "Redis": 3601, "MongoDB": 3599}, {"here": -3600}),
        ({"here": 0, "database": -3600, "Redis": 0, "MongoDB": 1}, {"database": -3600}),
        ({"here": 0, "database": 60}, {"here": -60, "database": 60}),
        ({"here": 0, "database": 5}, {}),
    ],
)
def test_the_clock_that_differs_from_the_others_is_the_wrong_one(
    offsets: dict[str, float], wrong: dict[str, float]
) -> None:
    found = wrong_clocks(offsets)
    assert found.keys() == wrong.keys()
    assert all(
        found[part] == pytest.approx(difference, abs=2) for part, difference in wrong.items()
    )
