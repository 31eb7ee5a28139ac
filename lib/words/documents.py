"""Texts for documents, their fields, and their possible errors.

Stored records have the English reason and the API's field names; people see the texts given here.
"""

from __future__ import annotations

import re

from lib.words.language import N_, Language, translate

#: Kinds of documents by pipeline.
KINDS = {
    "import": N_("Purchase receipt"),
    "sale": N_("Sale invoice"),
    "cancellation": N_("Goods issue slip"),
}
STATUSES = {
    "PENDING_SYNC": N_("waiting to be sent"),
    "SYNC_SUCCESS": N_("accepted by the national database"),
    "SYNC_FAILED": N_("needs action"),
}
#: Fields of the national database that a person can be asked to correct.
FIELDS = {
    "ma_hoa_don": N_("invoice code"),
    "ma_phieu": N_("slip code"),
    "ma_co_so": N_("facility code"),
    "ma_don_thuoc_quoc_gia": N_("national prescription code"),
    "ngay_ban": N_("date of sale"),
    "ngay_nhap": N_("date of receipt"),
    "ngay_xuat": N_("date of issue"),
    "loai_phieu_nhap": N_("kind of receipt"),
    "loai_phieu_xuat": N_("kind of issue"),
    "ghi_chu": N_("note"),
    "ho_ten_nguoi_ban": N_("seller's name"),
    "ho_ten_khach_hang": N_("customer's name"),
    "ten_co_so_cung_cap": N_("supplier"),
    "ten_co_so_nhan": N_("recipient"),
    "hoa_don_chi_tiet": N_("lines"),
    "chi_tiet": N_("lines"),
    "ma_thuoc": N_("drug code"),
    "ten_thuoc": N_("drug name"),
    "so_lo": N_("lot number"),
    "ngay_san_xuat": N_("date of manufacture"),
    "han_dung": N_("expiry date"),
    "don_vi_tinh": N_("unit"),
    "ham_luong": N_("concentration"),
    "duong_dung": N_("route of administration"),
    "lieu_dung": N_("dosage"),
    "so_dang_ky": N_("registration number"),
    "so_dklh": N_("registration number"),
    "so_luong": N_("quantity"),
    "don_gia": N_("unit price"),
    "thanh_tien": N_("amount"),
    "ty_le_quy_doi": N_("conversion ratio"),
}
#: Errors and warnings of our own check: the texts of `lib.platforms.dqg`, with `#` for numbers.
REASONS = (
    N_("is blank"),
    N_("contains a control character or broken Unicode"),
    N_("contains an invisible character"),
    N_("is longer than # characters"),
    N_("must be one of #"),
    N_("is not text"),
    N_("must not be negative"),
    N_("must be greater than zero"),
    N_("is not a number"),
    N_("is out of range"),
    N_("is not a whole number"),
    N_("has more digits than can be sent exactly"),
    N_("is before the year #"),
    N_("is not a date"),
    N_("has no lines"),
    N_("cannot be read from the database"),
    N_("invisible characters removed"),
    N_("cut at # characters"),
    N_("is none of the documented #"),
    N_("rounded to a whole number"),
    N_("is in the future"),
    N_("the lot had expired"),
    N_("is after the expiry date"),
)
CLASSES = {
    "rejected": N_("Refused by the national database"),
    "invalid": N_("Not sent: our check found a mistake"),
    "attempts_exhausted": N_("No answer after many attempts"),
    "outcome_unknown": N_("It is not known whether it arrived"),
    "account": N_("The shop's login was refused"),
    "forbidden": N_("The national database does not allow this document"),
    "conflict": N_("The national database has another document with this code"),
    "changed_after_acceptance": N_("Changed after it was accepted"),
    "crashes_worker": N_("Sending it crashed the program several times"),
    "unavailable": N_("The national database does not answer"),
    "paused": N_("Sending is paused"),
    "throttled": N_("The national database asks to slow down"),
    "configuration": N_("A setting is wrong"),
    "unexpected": N_("An error of this program"),
}
_CODE = N_("Compare the code with the sales software's list, correct it there, then send again.")
_DATE = N_("Correct the date in the sales software, then send again.")
_NAME = N_("Shorten or correct the name in the sales software, then send again.")
_DRUG = N_("Complete the drug's entry in the sales software, then send again.")
_PRICE = N_("Correct price and amount in the sales software, then send again.")
_LINES = N_("Enter the drugs of the document in the sales software, or delete it there.")
_KIND = N_("Choose the kind of the slip in the sales software, then send again.")
#: What to do, by field, else by error class.
HINTS = {
    "ma_hoa_don": _CODE,
    "ma_phieu": _CODE,
    "ma_co_so": N_("Correct the facility code of the shop, then send again."),
    "ma_don_thuoc_quoc_gia": N_(
        "Compare the code with the prescription, correct it in the sales software, then send again."
    ),
    "ngay_ban": _DATE,
    "ngay_nhap": _DATE,
    "ngay_xuat": _DATE,
    "loai_phieu_nhap": _KIND,
    "loai_phieu_xuat": _KIND,
    "ghi_chu": N_("Write the reason as a note in the sales software, then send again."),
    "ho_ten_nguoi_ban": _NAME,
    "ho_ten_khach_hang": _NAME,
    "ten_co_so_cung_cap": _NAME,
    "ten_co_so_nhan": _NAME,
    "hoa_don_chi_tiet": _LINES,
    "chi_tiet": _LINES,
    "ma_thuoc": N_(
        "Compare the drug code with the national list, correct it in the sales software, "
        "then send again."
    ),
    "ten_thuoc": _DRUG,
    "so_lo": N_("Enter the lot number in the sales software, then send again."),
    "ngay_san_xuat": _DATE,
    "han_dung": N_("Correct the expiry date in the sales software, then send again."),
    "don_vi_tinh": _DRUG,
    "ham_luong": _DRUG,
    "duong_dung": _DRUG,
    "lieu_dung": N_("Enter the dosage in the sales software, then send again."),
    "so_dang_ky": _DRUG,
    "so_dklh": _DRUG,
    "so_luong": N_("Correct the quantity in the sales software, then send again."),
    "don_gia": _PRICE,
    "thanh_tien": _PRICE,
    "ty_le_quy_doi": _DRUG,
    "attempts_exhausted": N_(
        "The national database did not answer for a long time. Send again when it is available."
    ),
    "account": N_("Correct the shop's login to the national database, then send again."),
    "forbidden": N_("Ask the national database why it does not allow it, then send again."),
    "outcome_unknown": N_(
        "Check at the portal whether the document is there. If so, enter its national code here."
    ),
    "conflict": N_(
        "Compare it with the document of this code at the portal. Give it another code in the "
        "sales software if they are different."
    ),
    "changed_after_acceptance": N_(
        "Correct the document at the portal as well, or change it back in the sales software."
    ),
    "crashes_worker": N_("Inform the people who run the system."),
}
#: The message of a document that a person entered at the portal.
BY_HAND = N_("by hand: {why}")
ANY_HINT = N_("Correct the document in the sales software, then send again.")

_NUMBERS = re.compile(r"\b\d+\b(?:, \d+\b)*")


def kind(pipeline: str, language: Language) -> str:
    """The kind of a pipeline's documents."""
    return translate(language, KINDS.get(pipeline, pipeline))


def field_name(field: str, language: Language) -> str:
    """The readable name of an API field; the API's name if `FIELDS` has none."""
    return translate(language, FIELDS.get(field, field))


def reason(text: str, language: Language) -> str:
    """A text of `REASONS`, translated, with its numbers; any other text is not changed."""
    template = translate(language, _NUMBERS.sub("#", text))
    if template == _NUMBERS.sub("#", text):
        return text
    for numbers in _NUMBERS.findall(text):
        template = template.replace("#", numbers, 1)
    return template


def finding(field: str, line: int | None, found: str, language: Language) -> str:
    """What is wrong with a field, and in which line: `dòng 1, số lô (so_lo): để trống`."""
    name = f"{field_name(field, language)} ({field})" if field in FIELDS else field
    what = f"{name}: {reason(found, language)}"
    if line is None:
        return what
    where = translate(language, "line {number}", number=line)
    return f"{where}, {what}"


def is_by_hand(message: str) -> bool:
    """Whether a document's message is `BY_HAND`, in any language."""
    return message.startswith(tuple(translate(language, BY_HAND, why="") for language in Language))


def hint(field: str, error_class: str) -> str:
    """What to do about a failure, as a text to translate."""
    return HINTS.get(field) or HINTS.get(error_class) or ANY_HINT
