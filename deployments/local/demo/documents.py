"""Demo documents of an invented pharmacy chain: valid, faulty, and unusual ones.

Everything is generated from a seed, so the same call gives the same documents. A repeated call
inserts only missing documents.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain, count, islice
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from deployments.local.demo.chain import (
    BUYERS,
    DRUGS,
    LOTS,
    SELLERS,
    SHOPS,
    SUPPLIERS,
    UNKNOWN_DRUG,
    Shop,
)
from lib.errors import ConfigurationError
from lib.models import DocumentRef, SyncStatus
from lib.pipelines import CANCELLATION, IMPORT, SALE, Pipeline
from lib.source.tables import SourceTables

DEFAULT_SEED = 1
FAULTY_SHARE = 0.03
#: Documents that are generated and inserted per chunk.
CHUNK = 5000

#: Share of each pipeline in the generated documents, and the prefix of its codes.
_SHARES = {IMPORT.name: 30, SALE.name: 60, CANCELLATION.name: 10}
_PREFIXES = {IMPORT.name: "PN", SALE.name: "HD", CANCELLATION.name: "PX"}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The required final status of the demo documents.

    Attributes:
        succeed: must end SYNC_SUCCESS.
        fail: must end SYNC_FAILED.
    """

    succeed: tuple[DocumentRef, ...]
    fail: tuple[DocumentRef, ...]

    @property
    def documents(self) -> tuple[DocumentRef, ...]:
        return self.succeed + self.fail


@dataclass(slots=True)
class _Draft:
    """A document that has no row yet."""

    pipeline: Pipeline
    shop: Shop
    local_id: str
    header: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)
    valid: bool = True

    @property
    def code(self) -> tuple[str, str]:
        return self.shop.pharmacy_code, self.local_id


def seed_demo(
    engine: Engine,
    tables: SourceTables,
    *,
    documents: int | None = None,
    seed: int | None = None,
    passwords: Mapping[str, str],
    faulty_share: float = FAULTY_SHARE,
    by_hand: bool = True,
    pipelines: Collection[str] = tuple(_SHARES),
) -> DemoPlan:
    """Insert the demo's shops and documents. Idempotent.

    Args:
        documents: total number; by default only the hand-made ones, which are inserted first.
        seed: of the generated documents.
        passwords: by account, for AccountShop.
        faulty_share: share of faulty documents among the generated ones.
        by_hand: whether to include the hand-made documents.
        pipelines: pipelines of the generated documents.

    Raises:
        ConfigurationError: a shop's account has no password.
    """
    seed = DEFAULT_SEED if seed is None else seed
    rng = random.Random(seed)  # noqa: S311 - demo data
    made = [*_documented(), *_special()] if by_hand else []
    wanted = len(made) if documents is None else documents
    generated = (d for d in _generated(rng, seed, faulty_share) if d.pipeline.name in pipelines)
    add_shops(engine, tables, SHOPS, passwords)
    return _insert(engine, tables, islice(chain(made, generated), wanted))


def add_shops(
    engine: Engine, tables: SourceTables, shops: Iterable[Shop], passwords: Mapping[str, str]
) -> None:
    """Insert the accounts that are missing.

    Raises:
        ConfigurationError: an account has no password.
    """
    table = tables.accounts
    with engine.begin() as connection:
        present = set(connection.execute(select(table.c.account)).scalars())
        for number, shop in enumerate(shops, start=1):
            if shop.account not in passwords:
                raise ConfigurationError(f"the demo needs a password for {shop.account}")
            if shop.account in present:
                continue
            connection.execute(
                insert(table).values(
                    shop_pharmacy_code=shop.code,
                    pharmacy_code=shop.pharmacy_code,
                    account=shop.account,
                    password=passwords[shop.account],
                    shop_name=shop.name,
                    address=shop.address,
                    phone_number=f"000000000{number}",
                    status=1,
                )
            )


# ---------------------------------------------------------------- documents

#: Short form of a line: number of the drug, quantity, price.
_Line = tuple[int, int, int | None]


def _documented() -> list[_Draft]:
    """The twelve valid documents of the demo."""
    one, two, three = SHOPS
    october, november = partial(date, 2026, 10), partial(date, 2026, 11)
    prescribed = _sale(one, "HD-S01-000102", november(2), [(2, 21, 1500), (4, 14, 1200)])
    prescribed.header["national_prescription_id"] = "79012a7k3m9q-C"
    box = _sale(one, "HD-S01-000103", november(3), [(5, 1, 24000)])
    box.lines[0] |= {"unit": "Hộp", "conversion_ratio": Decimal(30)}
    inhaler = _sale(three, "HD-S03-000310", november(4), [(9, 1, 68000), (11, 1, 32000)])
    inhaler.header["customer_name"] = BUYERS[2]
    bought = _receipt(one, "PN-S01-000021", october(28), [(1, 2000, 350), (2, 1000, 1100)], 1)
    bought.header["supplier_name"] = SUPPLIERS[0]
    returned = _receipt(one, "PN-S01-000022", november(5), [(4, 4, 1200)], 2)
    returned.header["notes"] = "Khách trả do đổi đơn"
    imported = _receipt(three, "PN-S03-000017", october(30), [(9, 24, 52000), (11, 30, 24000)], 1)
    imported.header["supplier_name"] = SUPPLIERS[1]
    sent_back = _slip(one, "PX-S01-000004", november(6), [(3, 40, 5200)], 2, "Trả lô cận hạn")
    sent_back.header["recipient_name"] = SUPPLIERS[2]
    expired = _slip(two, "PX-S02-000002", november(7), [(10, 6, 18000)], 3, "Hủy thuốc hết hạn")
    expired.lines[0]["expiry_date"] = october(31)
    return [
        _sale(one, "HD-S01-000101", november(2), [(1, 20, 500), (7, 10, 450)]),
        prescribed,
        box,
        _sale(two, "HD-S02-000044", november(3), [(8, 5, 2500), (12, 10, 1000)]),
        inhaler,
        bought,
        returned,
        _receipt(two, "PN-S02-000008", october(1), [(8, 200, None), (12, 300, None)], 3),
        imported,
        sent_back,
        expired,
        _slip(three, "PX-S03-000001", november(7), [(6, 30, 0)], 3, "Hủy do vỡ bao bì"),
    ]


def _special() -> list[_Draft]:
    """One document for each fault, and some that only look faulty."""
    one, two, three = SHOPS
    day = date(2026, 11, 9)
    unregistered = _sale(three, "HD-S03-000906", day, [(7, 10, 450)])
    unregistered.lines[0]["registration_number"] = None
    long_note = _receipt(one, "PN-S01-000908", day, [(3, 60, 5000)], 1)
    long_note.header["notes"] = ("Ghi chú rất dài. " * 30)[:501]
    mouldy = _slip(two, "PX-S02-000901", day, [(10, 2, 18000)], 3, "Hủy do ẩm mốc")
    return [
        _with_fault(_sale(one, "HD-S01-000901", day, [(1, 10, 500)]), "lot"),
        _with_fault(_sale(two, "HD-S02-000902", day, [(4, 14, 1200)]), "dosage"),
        _with_fault(_sale(three, "HD-S03-000903", day, [(5, 30, 800)]), "fraction"),
        _with_fault(_sale(one, "HD-S01-000904", day, [(1, 10, 500)]), "no lines"),
        _with_fault(_sale(two, "HD-S02-000905", day, [(2, 21, 1500)]), "unknown drug"),
        _with_fault(mouldy, "registration"),
        _with_fault(_slip(three, "PX-S03-000902", day, [(6, 5, 900)], 3, "Hủy"), "issue type"),
        unregistered,
        _sale(one, "HD/S01 000907", day, [(12, 30, 1000)]),
        long_note,
    ]


_FAULTS = {
    IMPORT.name: ("lot", "fraction", "no lines", "unknown drug", "registration"),
    SALE.name: ("lot", "fraction", "no lines", "unknown drug", "dosage"),
    CANCELLATION.name: (
        "lot",
        "fraction",
        "no lines",
        "unknown drug",
        "registration",
        "issue type",
    ),
}


def _with_fault(draft: _Draft, fault: str) -> _Draft:
    """The document with a fault that the columns allow and the API refuses."""
    changes: dict[str, dict[str, Any]] = {
        "lot": {"lot_number": ""},
        "fraction": {"quantity": Decimal("1.50")},
        "unknown drug": {"drug_code": UNKNOWN_DRUG},
        "registration": {"registration_number": " "},
        "dosage": {"dosage": "   "},
    }
    if fault == "no lines":
        draft.lines.clear()
    elif fault == "issue type":
        draft.header["issue_type"] = 9
    else:
        draft.lines[-1] |= changes[fault]
    draft.valid = False
    return draft


def _generated(rng: random.Random, seed: int, faulty_share: float) -> Iterator[_Draft]:
    names, weights = list(_SHARES), list(_SHARES.values())
    for number in count(1):
        (name,) = rng.choices(names, weights)
        shop = rng.choice(SHOPS)
        local_id = f"{_PREFIXES[name]}-{shop.short}-{seed}-{number:07}"
        day = date(2026, 10, 1) + timedelta(days=rng.randrange(45))
        lines: list[_Line] = [
            (drug, rng.randrange(1, 60), int(DRUGS[drug - 1].price))
            for drug in rng.sample(range(1, len(DRUGS) + 1), rng.choice((1, 1, 2, 2, 3)))
        ]
        if name == SALE.name:
            draft = _sale(shop, local_id, day, lines)
            draft.header["customer_name"] = rng.choice(BUYERS)
        elif name == IMPORT.name:
            draft = _receipt(shop, local_id, day, lines, 1)
            draft.header["supplier_name"] = rng.choice(SUPPLIERS)
        else:
            draft = _slip(shop, local_id, day, lines, rng.choice((2, 3)), "Hủy do hết hạn")
        faulty = rng.random() < faulty_share
        yield _with_fault(draft, rng.choice(_FAULTS[name])) if faulty else draft


def _sale(shop: Shop, local_id: str, day: date, lines: Sequence[_Line]) -> _Draft:
    header = {
        "customer_name": BUYERS[0],
        "seller_name": SELLERS[day.day % len(SELLERS)],
        "national_prescription_id": None,
    }
    draft = _draft(SALE, shop, local_id, day, lines, header)
    for line, (number, quantity, price) in zip(draft.lines, lines, strict=True):
        drug = DRUGS[number - 1]
        line |= {
            "concentration": drug.concentration,
            "dosage": drug.dosage,
            "route_of_administration": drug.route,
            "line_total": Decimal(quantity * (price or 0)),
            "conversion_ratio": Decimal(1),
        }
    return draft


def _receipt(shop: Shop, local_id: str, day: date, lines: Sequence[_Line], kind: int) -> _Draft:
    header = {"receipt_type": kind, "supplier_name": None, "notes": None}
    return _draft(IMPORT, shop, local_id, day, lines, header)


def _slip(
    shop: Shop, local_id: str, day: date, lines: Sequence[_Line], kind: int, notes: str
) -> _Draft:
    header = {"issue_type": kind, "notes": notes, "recipient_name": None}
    return _draft(CANCELLATION, shop, local_id, day, lines, header)


def _draft(
    pipeline: Pipeline,
    shop: Shop,
    local_id: str,
    day: date,
    lines: Sequence[_Line],
    header: dict[str, Any],
) -> _Draft:
    header |= {
        pipeline.local_id_column: local_id,
        "pharmacy_code": shop.pharmacy_code,
        "shop_pharmacy_code": shop.code,
        pipeline.date_column: datetime.combine(day, time(9, 30)),
        "status": SyncStatus.PENDING.value,
    }
    drawn = [_line(day, *line) for line in lines]
    return _Draft(pipeline, shop, local_id, header, drawn)


def _line(day: date, number: int, quantity: int, price: int | None) -> dict[str, Any]:
    drug = DRUGS[number - 1]
    produced = day - timedelta(days=180 + 30 * number)
    return {
        "drug_code": drug.code,
        "drug_name": drug.name,
        "lot_number": LOTS[number % len(LOTS)],
        "production_date": produced,
        "expiry_date": produced + timedelta(days=730 + 30 * number),
        "registration_number": drug.registration,
        "unit": drug.unit,
        "quantity": Decimal(quantity),
        "unit_price": None if price is None else Decimal(price),
    }


# ---------------------------------------------------------------- inserting


def _insert(engine: Engine, tables: SourceTables, drafts: Iterable[_Draft]) -> DemoPlan:
    refs: dict[bool, list[DocumentRef]] = {True: [], False: []}
    pipelines = (IMPORT, SALE, CANCELLATION)
    with engine.connect() as connection:
        known = {p.name: _present(connection, tables, p) for p in pipelines}
    remaining = iter(drafts)
    while chunk := list(islice(remaining, CHUNK)):
        with engine.begin() as connection:
            for pipeline in pipelines:
                missing = [
                    draft
                    for draft in chunk
                    if draft.pipeline is pipeline and draft.code not in known[pipeline.name]
                ]
                if missing:
                    known[pipeline.name] |= _insert_missing(connection, tables, pipeline, missing)
        for draft in chunk:
            record_id = known[draft.pipeline.name][draft.code]
            refs[draft.valid].append(
                DocumentRef(
                    draft.pipeline.name,
                    record_id,
                    draft.local_id,
                    draft.shop.pharmacy_code,
                    draft.shop.code,
                )
            )
    return DemoPlan(succeed=tuple(refs[True]), fail=tuple(refs[False]))


def _present(
    connection: Connection, tables: SourceTables, pipeline: Pipeline
) -> dict[tuple[str, str], int]:
    header = tables.header(pipeline)
    rows = connection.execute(
        select(header.c.pharmacy_code, tables.local_id(pipeline), header.c.id)
    )
    return {(pharmacy_code, local_id): record_id for pharmacy_code, local_id, record_id in rows}


def _insert_missing(
    connection: Connection, tables: SourceTables, pipeline: Pipeline, drafts: Sequence[_Draft]
) -> dict[tuple[str, str], int]:
    header = tables.header(pipeline)
    rows = connection.execute(
        insert(header).returning(header.c.pharmacy_code, tables.local_id(pipeline), header.c.id),
        [draft.header for draft in drafts],
    )
    ids = {(pharmacy_code, local_id): record_id for pharmacy_code, local_id, record_id in rows}
    key = pipeline.foreign_key_column
    lines = [line | {key: ids[draft.code]} for draft in drafts for line in draft.lines]
    if lines:
        connection.execute(insert(tables.details(pipeline)), lines)
    return ids
