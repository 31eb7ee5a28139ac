"""Request bodies of the three kinds of documents: field tables, and how a body is built.

The models are the API's field tables: a field's name, type and length, and the column of the
standard schema that fills it. The types (`lib.platforms.dqg.fields`) define all checks; warnings
that need two fields are at the end of this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lib.errors import FieldError, InvalidDocument
from lib.models import Document, Payload, Unreadable
from lib.pipelines import get_pipeline
from lib.platforms.dqg.fields import (
    Amount,
    Code,
    Day,
    DocumentDate,
    Dosage,
    FacilityCode,
    Identity,
    Note,
    OptionalAmount,
    OptionalCode,
    OptionalDay,
    OptionalText50,
    OptionalText200,
    OptionalText500,
    Quantity,
    Reason,
    ReceiptKind,
    SlipKind,
    Text50,
    Text200,
    Text500,
    ValidationContext,
    refuse,
)
from lib.settings import ApiSettings, EmptyOptional, Language


def column(name: str) -> Any:
    """The field is filled from this column of the standard schema."""
    return Field(validation_alias=name)


class BodyModel(BaseModel):
    """A header or a line of a request body."""

    model_config = ConfigDict(frozen=True, loc_by_alias=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        return refuse(value.reason) if isinstance(value, Unreadable) else value

    @classmethod
    def read(cls, row: Mapping[str, Any], context: ValidationContext) -> BodyModel:
        """Fill the fields from a row; columns without a field are left out.

        Raises:
            ValidationError: with one error for each field that cannot be sent.
        """
        columns = (str(field.validation_alias) for field in cls.model_fields.values())
        return cls.model_validate({name: row.get(name) for name in columns}, context=context)

    def as_body(self, empty: EmptyOptional) -> dict[str, Any]:
        """Fields in the API's order. A number without a value is never sent as an empty text."""
        body: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None or empty is EmptyOptional.NULL:
                body[name] = value
            elif empty is EmptyOptional.EMPTY_STRING and field.annotation == (str | None):
                body[name] = ""
        return body


# ---------------------------------------------------------------- hoa_don


class SaleInvoice(BodyModel):
    """Header of a sale invoice."""

    ma_hoa_don: Identity = column("local_invoice_id")
    ma_co_so: FacilityCode = column("pharmacy_code")
    ma_don_thuoc_quoc_gia: OptionalCode = column("national_prescription_id")
    ngay_ban: DocumentDate = column("sale_date")
    ho_ten_nguoi_ban: OptionalText50 = column("seller_name")
    ho_ten_khach_hang: OptionalText50 = column("customer_name")


class SaleInvoiceLine(BodyModel):
    """Line of a sale invoice; quantity and price refer to `don_vi_tinh`."""

    ma_thuoc: Code = column("drug_code")
    ten_thuoc: Text500 = column("drug_name")
    so_lo: Code = column("lot_number")
    ngay_san_xuat: OptionalDay = column("production_date")
    han_dung: Day = column("expiry_date")
    don_vi_tinh: Text50 = column("unit")
    ham_luong: Text500 = column("concentration")
    duong_dung: OptionalText200 = column("route_of_administration")
    lieu_dung: Dosage = column("dosage")
    so_dang_ky: OptionalCode = column("registration_number")
    so_luong: Quantity = column("quantity")
    don_gia: Amount = column("unit_price")
    thanh_tien: Amount = column("line_total")
    ty_le_quy_doi: Quantity = column("conversion_ratio")


# ---------------------------------------------------------------- phieu_nhap


class PurchaseReceipt(BodyModel):
    """Header of a purchase receipt."""

    ma_phieu: Identity = column("local_receipt_id")
    ma_co_so: FacilityCode = column("pharmacy_code")
    ngay_nhap: DocumentDate = column("receipt_date")
    loai_phieu_nhap: ReceiptKind = column("receipt_type")
    ghi_chu: Note = column("notes")
    ten_co_so_cung_cap: OptionalText500 = column("supplier_name")


class PurchaseReceiptLine(BodyModel):
    """Line of a purchase receipt; quantity and price refer to the smallest unit."""

    ma_thuoc: Code = column("drug_code")
    ten_thuoc: Text500 = column("drug_name")
    so_lo: Code = column("lot_number")
    ngay_san_xuat: OptionalDay = column("production_date")
    han_dung: Day = column("expiry_date")
    so_dklh: Code = column("registration_number")
    so_luong: Quantity = column("quantity")
    don_gia: OptionalAmount = column("unit_price")
    don_vi_tinh: Text200 = column("unit")


# ---------------------------------------------------------------- phieu_xuat


class GoodsIssueSlip(BodyModel):
    """Header of a goods issue slip: a return to the supplier or a destruction."""

    ma_phieu: Identity = column("local_slip_id")
    ma_co_so: FacilityCode = column("pharmacy_code")
    ngay_xuat: DocumentDate = column("issue_date")
    loai_phieu_xuat: SlipKind = column("issue_type")
    ghi_chu: Reason = column("notes")
    ten_co_so_nhan: OptionalText500 = column("recipient_name")


class GoodsIssueSlipLine(BodyModel):
    """Line of a goods issue slip; quantity and price refer to the smallest unit."""

    ma_thuoc: Code = column("drug_code")
    ten_thuoc: Text500 = column("drug_name")
    so_lo: Code = column("lot_number")
    ngay_san_xuat: OptionalDay = column("production_date")
    han_dung: Day = column("expiry_date")
    so_dklh: Code = column("registration_number")
    so_luong: Quantity = column("quantity")
    don_gia: Amount = column("unit_price")
    don_vi_tinh: Text200 = column("unit")


@dataclass(frozen=True, slots=True)
class DocumentSchema:
    """One kind of request body.

    Attributes:
        code, date: names of the header fields that hold the local code and the document's date.
        lines: name of the array of lines.
        warns_of_expired: warn about expired lots; not for slips: they remove expired goods.
    """

    header: type[BodyModel]
    line: type[BodyModel]
    code: str
    date: str
    lines: str
    warns_of_expired: bool = True


DOCUMENT_SCHEMAS: dict[str, DocumentSchema] = {
    "hoa_don": DocumentSchema(
        SaleInvoice, SaleInvoiceLine, "ma_hoa_don", "ngay_ban", lines="hoa_don_chi_tiet"
    ),
    "phieu_nhap": DocumentSchema(
        PurchaseReceipt, PurchaseReceiptLine, "ma_phieu", "ngay_nhap", lines="chi_tiet"
    ),
    "phieu_xuat": DocumentSchema(
        GoodsIssueSlip,
        GoodsIssueSlipLine,
        "ma_phieu",
        "ngay_xuat",
        lines="chi_tiet",
        warns_of_expired=False,
    ),
}


def build_payload(
    document: Document,
    settings: ApiSettings,
    today: date | None = None,
    *,
    language: Language = Language.VIETNAMESE,
) -> Payload:
    """The request body of a document. Pure.

    Args:
        language: of warnings and errors.
        today: the pharmacy's local date, to detect dates in the future; None skips this check.

    Raises:
        InvalidDocument: with every field that cannot be sent.
    """
    resource = get_pipeline(document.ref.pipeline).resource
    schema = DOCUMENT_SCHEMAS[resource]
    warnings: list[FieldError] = []
    errors: list[FieldError] = []

    def read(model: type[BodyModel], row: Mapping[str, Any], line: int | None) -> dict[str, Any]:
        try:
            filled = model.read(row, ValidationContext(settings, line, warnings))
        except ValidationError as invalid:
            errors.extend(_field_errors(invalid, line))
            return {}
        return filled.as_body(settings.empty_optional)

    body = read(schema.header, document.header, None)
    body[schema.lines] = [
        read(schema.line, row, n) for n, row in enumerate(document.lines, start=1)
    ]
    if not document.lines:
        errors.append(FieldError(schema.lines, None, "has no lines"))
    if errors:
        raise InvalidDocument(errors, language)
    warnings.extend(_plausibility_warnings(body, schema, today))
    return Payload(
        resource=resource,
        pharmacy_code=body["ma_co_so"],
        local_id=body[schema.code],
        body=body,
        warnings=tuple(warning.translated(language) for warning in warnings),
    )


def _field_errors(invalid: ValidationError, line: int | None) -> list[FieldError]:
    details = invalid.errors(include_url=False, include_input=False, include_context=False)
    return [FieldError(str(item["loc"][0]), line, item["msg"]) for item in details]


def _plausibility_warnings(
    body: Mapping[str, Any], schema: DocumentSchema, today: date | None
) -> list[FieldError]:
    """Warnings about inconsistent dates: they are sent, as the API's own checks are unknown."""
    doubts = []
    issued = body[schema.date][:8]  # yyyyMMdd, also if a time follows; sorts like the date
    if today is not None and issued > today.strftime("%Y%m%d"):
        doubts.append(FieldError(schema.date, None, "is in the future"))
    for number, line in enumerate(body[schema.lines], start=1):
        if schema.warns_of_expired and line["han_dung"] < issued:
            doubts.append(FieldError("han_dung", number, "the lot had expired"))
        if (line.get("ngay_san_xuat") or "") > line["han_dung"]:
            doubts.append(FieldError("ngay_san_xuat", number, "is after the expiry date"))
    return doubts
