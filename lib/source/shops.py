"""Which shops have documents that could be claimed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Table, func, select, true

from lib.pipelines import Pipeline
from lib.source.rows import dated_from, is_free, is_pending


@dataclass(frozen=True, slots=True)
class PendingShop:
    """A shop with documents that nobody holds.

    Attributes:
        pharmacy_code, oldest: of its oldest such document, and that document's own date.
    """

    code: str
    pharmacy_code: str
    oldest: datetime


def pending_shops(
    connection: Connection, header: Table, pipeline: Pipeline, cut_off: date | None = None
) -> list[PendingShop]:
    """Shops with pending documents that nobody holds, the one with the oldest document first.

    Goes from shop to shop by an index seek each, two with a cut-off, however many documents there
    are on either side of it.
    """
    shop, dated = header.c.shop_pharmacy_code, header.c[pipeline.date_column]
    oldest = (
        select(shop, header.c.pharmacy_code, dated)
        .where(is_pending(header), is_free(header), dated_from(header, pipeline, cut_off))
        .order_by(shop, dated, header.c.created_at, header.c.id)
        .limit(1)
    )
    found: list[PendingShop] = []
    last: str | None = None
    while True:
        place: ColumnElement[bool] = true() if last is None else shop > last
        if cut_off is not None:
            # The shop first: looked for by date at once, each old document would be passed.
            after = select(func.min(shop)).where(is_pending(header), place)
            last = connection.execute(after).scalar_one()
            if last is None:
                break
            place = shop == last
        row = connection.execute(oldest.where(place)).one_or_none()
        if row is not None:
            found.append(PendingShop(*row))
            last = found[-1].code
        elif cut_off is None:
            break
    return sorted(found, key=lambda shop: shop.oldest)
