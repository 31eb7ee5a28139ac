"""Factories for documents and records, shared by all kinds of tests."""

from __future__ import annotations

from typing import Any

from lib.models import Document, DocumentRef
from lib.record import Record


def make_ref(
    record_id: int = 1,
    *,
    pipeline: str = "sale",
    local_id: str | None = None,
    pharmacy_code: str = "790760001234",
    shop: str = "SHOP01",
) -> DocumentRef:
    return DocumentRef(
        pipeline=pipeline,
        record_id=record_id,
        local_id=local_id or f"HD-{record_id}",
        pharmacy_code=pharmacy_code,
        shop_pharmacy_code=shop,
    )


def make_record(
    record_id: int = 1,
    *,
    token: str = "token-1",
    attempts: int = 1,
    unconfirmed: bool = False,
    header: dict[str, Any] | None = None,
    lines: list[dict[str, Any]] | None = None,
    **ref: Any,
) -> Record:
    document = Document(
        ref=make_ref(record_id, **ref),
        claim_token=token,
        unconfirmed=unconfirmed,
        attempts=attempts,
        header=header or {},
        lines=lines or [],
    )
    return Record(document)
