"""Tổng quan: the state of today's documents, by shop and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from deployments.console.access import Right, User
from deployments.console.web import Shop, Shops, Visitor, require
from lib.errors import StoreUnavailable
from lib.operations.operator import Operator
from lib.operations.status import Status, read_status
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.source.counts import ShopSummary
from lib.source.deadlines import DeadlineCount
from lib.tracking.task_logs import TaskLogReader

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of document in one shop; `needs` is its open failures, None if not known."""

    counts: ShopSummary
    needs: int | None

    @property
    def waiting(self) -> int:
        return self.counts.pending + self.counts.in_flight


@dataclass(slots=True)
class ShopRows:
    """A shop with its kinds of documents, and whether its account works."""

    shop: Shop
    account: BreakerSnapshot | None
    rows: list[Row] = field(default_factory=list)

    @property
    def needs(self) -> int:
        return sum(row.needs or 0 for row in self.rows)

    @property
    def has_problems(self) -> bool:
        bad = self.account is not None and self.account.state is not BreakerState.CLOSED
        return bad or self.needs > 0


@router.get("/")
async def overview(visitor: Annotated[Visitor, Depends(require(Right.OVERVIEW))]) -> Response:
    operator, shops = await visitor.console.operator()
    status = await read_status(operator, foreign=False)
    rows = rows_of(status, shops, visitor.user)
    down = {
        name: snapshot
        for name, snapshot in (status.pipeline_breakers or {}).items()
        if snapshot.state is not BreakerState.CLOSED
    }
    kinds = [row for shop in rows for row in shop.rows]
    return visitor.page(
        "overview.html",
        shops=rows,
        accepted=sum(row.counts.succeeded for row in kinds),
        waiting=sum(row.waiting for row in kinds),
        needs=None if status.open_failures is None else sum(shop.needs for shop in rows),
        down=down,
        last_accepted=await _last_accepted(operator, down),
        late=_of_user(status, visitor.user),
        away=sorted(status.away),
    )


def rows_of(status: Status, shops: Shops, user: User) -> list[ShopRows]:
    """The shops that a user sees, those with problems first."""
    found: dict[str, ShopRows] = {}
    breakers: Mapping[str, BreakerSnapshot] = status.shop_breakers or {}

    def of(code: str) -> ShopRows:
        code = code.strip()
        return found.setdefault(code, ShopRows(shops[code], breakers.get(code)))

    for code in {*shops, *breakers}:
        if user.sees(code):
            of(code)
    for summary in status.shops:
        if user.sees(summary.shop):
            of(summary.shop).rows.append(Row(summary, status.open_of(summary)))
    return sorted(found.values(), key=lambda shop: (not shop.has_problems, shop.shop.code))


def _of_user(status: Status, user: User) -> list[DeadlineCount]:
    """Documents that are late or will soon be, of the shops that a user sees, by kind."""
    own = [count for count in status.deadlines if user.sees(count.shop)]
    return [
        DeadlineCount(
            name,
            "",
            late=sum(count.late for count in own if count.pipeline == name),
            soon=sum(count.soon for count in own if count.pipeline == name),
            failed=sum(count.failed for count in own if count.pipeline == name),
        )
        for name in dict.fromkeys(count.pipeline for count in own)
    ]


async def _last_accepted(
    operator: Operator, down: Mapping[str, BreakerSnapshot]
) -> dict[str, datetime | None]:
    """When a document of these kinds was last accepted; empty if MongoDB is unavailable."""
    logs = TaskLogReader(operator.tracking.database)
    try:
        return {name: await logs.last_accepted(name) for name in down}
    except StoreUnavailable:
        return {}
