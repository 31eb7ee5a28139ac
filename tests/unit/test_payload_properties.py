"""Whatever stands in the columns, a document becomes a proper body or a list of field errors."""

from __future__ import annotations

import json
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InvalidDocument
from lib.models import Document, DocumentRef
from lib.pipelines import PIPELINES
from lib.platforms.dqg.payloads import DOCUMENT_SCHEMAS, build_payload
from lib.settings import ApiSettings

GOOD: dict[str, Any] = {
    "local_invoice_id": "HD-1",
    "local_receipt_id": "PN-1",
    "local_slip_id": "PX-1",
    "pharmacy_code": "790760001234",
    "sale_date": date(2026, 11, 2),
    "receipt_date": date(2026, 11, 2),
    "issue_date": date(2026, 11, 2),
    "receipt_type": 1,
    "issue_type": 2,
    "notes": "Trả lô cận hạn",
    "drug_code": "DQG00010421",
    "drug_name": "Paracetamol Sao Khuê 500mg",
    "lot_number": "SK240815",
    "expiry_date": date(2028, 8, 15),
    "unit": "Viên",
    "concentration": "500mg",
    "dosage": "1 viên/lần",
    "registration_number": "VD-31422-19",
    "quantity": Decimal("20.00"),
    "unit_price": Decimal("500.00"),
    "line_total": Decimal("10000.00"),
    "conversion_ratio": Decimal("1.00"),
}
COLUMNS = {
    name: {
        str(field.validation_alias)
        for part in (
            DOCUMENT_SCHEMAS[pipeline.resource].header,
            DOCUMENT_SCHEMAS[pipeline.resource].line,
        )
        for field in part.model_fields.values()
    }
    for name, pipeline in PIPELINES.items()
}
values = (
    st.none()
    | st.text(max_size=60)
    | st.text(alphabet="0123456789.-+eE_ ", max_size=12)
    | st.just("\ud800")
    | st.integers()
    | st.floats()
    | st.decimals(allow_nan=True, allow_infinity=True)
    | st.decimals(places=2, allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.binary(max_size=5)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.lists(st.integers(), max_size=2)
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    pipeline = draw(st.sampled_from(sorted(PIPELINES)))
    odd = st.dictionaries(st.sampled_from(sorted(COLUMNS[pipeline])), values, max_size=2)
    return Document(
        ref=DocumentRef(pipeline, 1, "x", "790760001234", "SHOP01"),
        claim_token="token",
        unconfirmed=False,
        attempts=1,
        header={**GOOD, **draw(odd)},
        lines=[{**GOOD, **draw(odd)} for _ in range(draw(st.integers(0, 3)))],
    )


apis = st.builds(
    ApiSettings,
    fractions=st.sampled_from(["refuse", "round", "send"]),
    empty_optional=st.sampled_from(["omit", "empty", "null"]),
    date_format=st.sampled_from(["%Y%m%d", "%Y%m%d%H%M"]),
    empty_dosage=st.sampled_from([None, "0"]),
)


@settings(max_examples=400, deadline=None)
@given(documents(), apis)
def test_a_document_becomes_a_proper_body_or_field_errors(
    document: Document, api: ApiSettings
) -> None:
    form = DOCUMENT_SCHEMAS[PIPELINES[document.ref.pipeline].resource]
    known_fields = {form.lines, *form.header.model_fields, *form.line.model_fields}
    try:
        payload = build_payload(document, api, date(2026, 11, 2))
    except InvalidDocument as invalid:
        refused = invalid
    else:
        refused = None
    if refused is not None:
        assert refused.field_errors
        assert {error.field for error in refused.field_errors} <= known_fields
        str(refused).encode()
        return

    assert json.loads(json.dumps(payload.body, allow_nan=False).encode()) == payload.body
    assert payload.local_id == payload.body[form.code]
    assert payload.pharmacy_code == payload.body["ma_co_so"]
    assert set(payload.body) <= {form.lines, *form.header.model_fields}
    assert len(payload.body[form.lines]) == len(document.lines) > 0
    for line in payload.body[form.lines]:
        assert set(line) <= set(form.line.model_fields)
        assert line["so_luong"] > 0
        assert line["ma_thuoc"].strip() == line["ma_thuoc"] != ""
        assert len(line["han_dung"]) == 8
        assert line["han_dung"].isascii()
        assert line["han_dung"].isdigit()
