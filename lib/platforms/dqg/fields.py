"""Field types of a request body: each reads a database value or states why it cannot be sent.

A type is an annotation, so that the models in `payloads` read like the API's own tables.
What depends on the installation (fractions, date format, fallback texts) comes from the settings
in the validation context. A reason never contains the value: it is shown in logs and in the UI.
`lib.words.documents` lists each reason for translation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, NoReturn

from pydantic import PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from lib.errors import FieldError
from lib.settings import ApiSettings, Fractions

#: Larger numbers do not fit the columns (DECIMAL(18,2)) and are treated as invalid.
_MAX_DIGITS = 18
_MIN_YEAR = 1900
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")
#: Invisible characters: zero-width ones, soft hyphens, marks of the writing direction.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_LINE_BREAKS = "\t\n\r"


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """Validation context: the settings, the line of the document, and the warnings so far."""

    settings: ApiSettings
    line: int | None
    warnings: list[FieldError]

    def warn(self, field: str | None, doubt: str) -> None:
        self.warnings.append(FieldError(field or "", self.line, doubt))


def refuse(reason: str) -> NoReturn:
    """Make `reason` the error of the field that is being read."""
    # pydantic treats the text as a template; passed this way, braces in `reason` stay literal.
    raise PydanticCustomError("field", "{reason}", {"reason": reason})


def _context(info: ValidationInfo) -> ValidationContext:
    context = info.context
    assert isinstance(context, ValidationContext), "models are read through build_payload"  # noqa: S101
    return context


# ---------------------------------------------------------------- text


def text(
    limit: int | None,
    *,
    required: bool = True,
    multiline: bool = False,
    cut: bool = False,
    advised: int | None = None,
    identity: bool = False,
    fallback: Callable[[ApiSettings], str | None] | None = None,
) -> PlainValidator:
    """Text of at most `limit` characters, without surrounding space.

    Args:
        multiline: tabs and line breaks are allowed inside.
        cut: longer text is cut, with a warning, instead of refused.
        advised: a longer text is sent, with a warning.
        identity: the text identifies the document, so invisible characters are refused; from
            other texts they are removed, with a warning.
        fallback: setting whose text, if set, is sent for a blank value.
    """

    def read(value: object, info: ValidationInfo) -> str | None:
        context = _context(info)
        content = _as_text(value)
        if content and context.settings.normalize_text:
            # Otherwise one lot in two Unicode forms becomes two lots in the national database.
            content = unicodedata.normalize("NFC", content)
        if _INVISIBLE.search(content):
            if identity:
                refuse("contains an invisible character")
            content = _stripped(_INVISIBLE.sub("", content))
            context.warn(info.field_name, "invisible characters removed")
        if not content:
            instead = fallback(context.settings) if fallback else None
            return instead if instead is not None or not required else refuse("is blank")
        if any(_is_unprintable(char, multiline) for char in content):
            refuse("contains a control character or broken Unicode")
        if limit is not None and len(content) > limit:
            if not cut:
                refuse(f"is longer than {limit} characters")
            content = content[:limit].rstrip()
            context.warn(info.field_name, f"cut at {limit} characters")
        if advised is not None and len(content) > advised:
            context.warn(info.field_name, f"is longer than {advised} characters")
        return content

    return PlainValidator(read)


def _as_text(value: object) -> str:
    """Text of a value; codes may come from numeric columns."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _stripped(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(_as_whole(_as_decimal(value)))
    refuse("is not text")


def _stripped(value: str) -> str:
    """Without space and invisible characters around it."""
    begin, end = 0, len(value)
    while begin < end and _is_padding(value[begin]):
        begin += 1
    while begin < end and _is_padding(value[end - 1]):
        end -= 1
    return value[begin:end]


def _is_padding(char: str) -> bool:
    return char.isspace() or _INVISIBLE.match(char) is not None


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not _stripped(value))


def _is_unprintable(char: str, multiline: bool) -> bool:
    if multiline and char in _LINE_BREAKS:
        return False
    return unicodedata.category(char) in ("Cc", "Cs")


# ---------------------------------------------------------------- numbers


def number(*, positive: bool, required: bool = True) -> PlainValidator:
    """A quantity (`positive`) or an amount (zero or more); whole numbers become `int`."""

    def read(value: object, info: ValidationInfo) -> int | float | None:
        if _is_blank(value):
            return None if not required else refuse("is blank")
        amount = _as_decimal(value)
        whole = amount == amount.to_integral_value()
        sent = _as_whole(amount) if whole else _fraction(amount, info)
        if sent < 0:
            refuse("must not be negative")
        if positive and not sent:
            refuse("must be greater than zero")
        return sent

    return PlainValidator(read)


def kind(known: tuple[int, ...], doubtful: tuple[int, ...] = ()) -> PlainValidator:
    """A type number: `known` ones pass, `doubtful` ones pass with a warning."""

    def read(value: object, info: ValidationInfo) -> int:
        if _is_blank(value):
            refuse("is blank")
        number = _as_whole(_as_decimal(value))
        documented = ", ".join(map(str, known))
        if number in doubtful:
            _context(info).warn(info.field_name, f"is none of the documented {documented}")
        elif number not in known:
            refuse(f"must be one of {documented}")
        return number

    return PlainValidator(read)


def _as_decimal(value: object) -> Decimal:
    match value:
        case bool():
            refuse("is not a number")
        case Decimal():
            amount = value
        case int():
            amount = Decimal(value)
        case float():
            amount = Decimal(repr(value))
        case str() if _PLAIN_NUMBER.fullmatch(value.strip()):
            amount = Decimal(value.strip())
        case _:
            refuse("is not a number")
    if not amount.is_finite():
        refuse("is not a number")
    if amount and amount.adjusted() >= _MAX_DIGITS:
        refuse("is out of range")
    return amount


def _as_whole(amount: Decimal) -> int:
    if amount != amount.to_integral_value():
        refuse("is not a whole number")
    return int(amount) if amount else 0


def _fraction(amount: Decimal, info: ValidationInfo) -> int | float:
    context = _context(info)
    match context.settings.fractions:
        case Fractions.ROUND:
            context.warn(info.field_name, "rounded to a whole number")
            return int(amount.to_integral_value(rounding=ROUND_HALF_UP))
        case Fractions.SEND:
            sent = float(amount)
            if Decimal(repr(sent)) != amount:
                refuse("has more digits than can be sent exactly")
            return sent
        case _:
            return _as_whole(amount)


# ---------------------------------------------------------------- dates


def _eight_digits(_: ApiSettings) -> str:
    return "%Y%m%d"


def day(
    *, required: bool = True, pattern: Callable[[ApiSettings], str] = _eight_digits
) -> PlainValidator:
    """A date as stored: the pharmacy's local date, never converted to another time zone."""

    def read(value: object, info: ValidationInfo) -> str | None:
        if _is_blank(value):
            return None if not required else refuse("is blank")
        moment = _as_moment(value)
        if moment.year < _MIN_YEAR:
            refuse(f"is before the year {_MIN_YEAR}")
        return moment.strftime(pattern(_context(info).settings))

    return PlainValidator(read)


def _as_moment(value: object) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            refuse("is not a date")
    refuse("is not a date")


# ---------------------------------------------------------------- the API's types

Code = Annotated[str, text(50)]
#: The document's own code.
Identity = Annotated[str, text(50, identity=True)]
OptionalCode = Annotated[str | None, text(50, required=False)]
#: A Decision of 2018 limits facility codes to 12 characters, the API to 50.
FacilityCode = Annotated[str, text(50, advised=12, identity=True)]
Text50 = Annotated[str, text(50)]
Text200 = Annotated[str, text(200)]
Text500 = Annotated[str, text(500)]
OptionalText50 = Annotated[str | None, text(50, required=False)]
OptionalText200 = Annotated[str | None, text(200, required=False)]
OptionalText500 = Annotated[str | None, text(500, required=False)]
Dosage = Annotated[str, text(None, multiline=True, fallback=lambda api: api.empty_dosage)]
#: The key is required, but its text may be empty.
Reason = Annotated[str, text(500, multiline=True, cut=True, fallback=lambda api: api.empty_notes)]
Note = Annotated[str | None, text(500, required=False, multiline=True, cut=True)]
DocumentDate = Annotated[str, day(pattern=lambda api: api.date_format)]
Day = Annotated[str, day()]
OptionalDay = Annotated[str | None, day(required=False)]
Quantity = Annotated[int | float, number(positive=True)]
Amount = Annotated[int | float, number(positive=False)]
OptionalAmount = Annotated[int | float | None, number(positive=False, required=False)]
ReceiptKind = Annotated[int, kind(known=(1, 2, 3))]
SlipKind = Annotated[int, kind(known=(2, 3), doubtful=(1, 4))]
