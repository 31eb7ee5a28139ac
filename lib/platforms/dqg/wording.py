"""What the text of an answer is about: the document itself, a line of it, or the path of the call.

The API has no codes for these, so its text decides; an ambiguous text is classified as doubtful.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from lib.settings import ApiSettings

#: Everyday and pharmaceutical words that contain "trùng" (same, duplicate) with another meaning.
_NOT_DUPLICATE = (
    "côn trùng",
    "ký sinh trùng",
    "kí sinh trùng",
    "vi trùng",
    "ấu trùng",
    "tiệt trùng",
    "vô trùng",
    "thanh trùng",
    "nhiễm trùng",
    "khử trùng",
    "sát trùng",
    "không trùng",
    "không bị trùng",
    "chưa trùng",
    "chưa bị trùng",
    "trùng khớp",
    "no duplicate",
    "not duplicate",
    "not a duplicate",
    "non-duplicate",
)
#: Words for a part of the document: with them the part is a duplicate, not the document.
_LINE = re.compile(
    r"\b(chi tiết|chi tiet|\w*chi_?tiet|dòng|dong|lines?|stt|số thứ tự|(row|item)s? *[#:]? *\d+"
    r"|(in|of) (the )?(rows|items|details?)|\w+[._]?details?)\b"
)
#: Words for other things that may be duplicates.
_OTHER_THING = re.compile(
    r"\b(thuốc|thuoc|ma_thuoc|drugs?|medicines?|hoạt chất|số lô|lô|so_lo|lot|batch|số đăng ký"
    r"|so_dang_ky|so_dklh|khách hàng|tài khoản|accounts?|users?)\b"
)
_EXISTS = re.compile(r"đã (được )?tồn tại|da ton tai|already exist|đã có (trên|trong) hệ thống")
#: Texts of a refusal that give no reason.
_EMPTY_WORDS = re.compile(
    r"(conflict|xung đột|error|lỗi|lỗi hệ thống|bad request|http error)?[\s.!:()\d-]*"
)
#: Texts of frameworks and gateways for a path or method (not a document) that does not exist.
_ROUTE = re.compile(
    r"no http resource|no message available|no route|no static resource"
    r"|\bcannot (get|post|put|patch|delete)\b|\b(get|post|put)\W+/"
    r"|\b(route|url|uri|path|endpoint|page|resource|method|handler|api|service|action|controller)\b"
    r".{0,60}\b(not|could not|no longer|does not|doesn't)\b"
    r"|\b(not|no) (such )?(route|url|path|endpoint|page|resource|handler)\b"
    r"|đường dẫn|địa chỉ url|không tìm thấy (api|trang|dịch vụ|chức năng|url)"
)
_NOTHING_SAID = re.compile(
    r"([45]\d\d\W*)?(not found|gone|forbidden|access (is )?denied|method not allowed)?[.!]?"
)


#: Texts for a system error: they state nothing about what was sent.
_SYSTEM_ERROR = re.compile(
    r"(đã )?(có )?(xảy ra )?lỗi (hệ thống|máy chủ|không xác định)|loi he thong|hệ thống (bận|lỗi)"
    r"|có lỗi xảy ra|đã xảy ra lỗi|(system|server|internal|unknown|unexpected)( server)? error"
    r"|an error has occurred|something went wrong|thử lại sau|try again"
)


class Duplicate(StrEnum):
    """What a text states about the API already having the document."""

    SAID = "said"  # the document itself is a duplicate
    DOUBTFUL = "doubtful"  # something already exists, but perhaps not this document
    OF_A_LINE = "of a line"  # a line occurs twice
    NOT_SAID = "not said"


def duplicate(text: str, settings: ApiSettings, local_id: str = "") -> Duplicate:
    """What a text states about the API already having the document.

    Args:
        local_id: the document's code; text right after it is about the document, and words
            inside it are ignored.
    """
    said, code = folded(text), re.escape(folded(local_id))
    for other in _NOT_DUPLICATE:
        said = said.replace(folded(other), " ")
    signs = "|".join(re.escape(folded(sign)) for sign in settings.duplicate_texts if folded(sign))
    if not signs or not re.search(signs, re.sub(code, " ", said) if code else said):
        return Duplicate.NOT_SAID
    if _LINE.search(said):
        return Duplicate.OF_A_LINE
    if code and re.search(rf"(?<!\w){code}\W*((is|was|has|bị|này)\W+)?({signs})", said):
        return Duplicate.SAID
    return Duplicate.DOUBTFUL if _OTHER_THING.search(said) else Duplicate.SAID


def says_exists(text: str) -> bool:
    """Whether a text literally states that something already exists."""
    return _EXISTS.search(folded(text)) is not None


def gives_no_reason(text: str) -> bool:
    """Whether a refusal gives no reason."""
    return _EMPTY_WORDS.fullmatch(folded(text)) is not None


def is_about_route(text: str) -> bool:
    """Whether a text states that a path or method does not exist."""
    return _ROUTE.search(folded(text)) is not None


def is_system_error(text: str) -> bool:
    """Whether a text reports a system error, and nothing about what was sent."""
    return _SYSTEM_ERROR.search(folded(text)) is not None


def names_only_the_status(text: str) -> bool:
    """Whether a text is empty, or only the name of the status."""
    return _NOTHING_SAID.fullmatch(folded(text)) is not None


def folded(text: str) -> str:
    """Text for comparison: one case, one Unicode form, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
