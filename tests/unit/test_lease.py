"""A lease counts on a monotonic clock, ends too early rather than too late, and stays lost."""

from __future__ import annotations

import pytest

from lib.errors import ClaimLost, StoreUnavailable
from lib.sync.batch import Lease

pytestmark = pytest.mark.anyio


class World:
    """A clock that only moves by hand and a database that answers what it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.held = 3
        self.away = False
        self.statement_takes = 0.0

    def monotonic(self) -> float:
        return self.now

    async def renew(self) -> int:
        self.now += self.statement_takes
        if self.away:
            raise StoreUnavailable("source database", "away")
        return self.held


def make_lease(world: World, *, seconds: float = 30, margin: float = 5) -> Lease:
    return Lease(world.renew, seconds=seconds, margin=margin, monotonic=world.monotonic)


async def test_a_fresh_lease_is_held_until_its_margin() -> None:
    world = World()
    lease = make_lease(world)
    world.now += 24
    lease.ensure_held()
    world.now += 1
    with pytest.raises(ClaimLost):
        lease.ensure_held()
    assert not lease.lost


async def test_renewing_counts_from_before_the_statement() -> None:
    world = World()
    lease = make_lease(world)
    world.statement_takes = 10
    await lease.renew_once()
    world.now += 14
    lease.ensure_held()
    world.now += 2
    with pytest.raises(ClaimLost):
        lease.ensure_held()


async def test_a_lease_that_ran_out_stays_lost_even_if_a_renewal_succeeds() -> None:
    world = World()
    lease = make_lease(world)
    world.now += 31
    assert lease.lost
    await lease.renew_once()
    with pytest.raises(ClaimLost):
        lease.ensure_held()


async def test_holding_no_document_any_more_means_lost() -> None:
    world = World()
    lease = make_lease(world)
    world.held = 0
    await lease.renew_once()
    assert lease.lost


async def test_an_unreachable_database_leaves_the_lease_as_it_was() -> None:
    world = World()
    lease = make_lease(world)
    world.away = True
    with pytest.raises(StoreUnavailable):
        await lease.renew_once()
    lease.ensure_held()
    world.now += 30
    assert lease.lost


async def test_the_margin_never_eats_more_than_a_third_of_the_lease() -> None:
    world = World()
    lease = make_lease(world, seconds=3, margin=70)
    world.now += 1.9
    lease.ensure_held()


async def test_it_is_renewed_in_the_background() -> None:
    renewals = 0

    async def renew() -> int:
        nonlocal renewals
        renewals += 1
        return 1

    async with Lease(renew, seconds=0.9, margin=0):
        import asyncio

        async with asyncio.timeout(10):
            while renewals < 3:
                await asyncio.sleep(0.001)
