"""A token of the national API: what may be sent as one, and how long it is used."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass, field

from lib.settings import ApiSettings

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class Token:
    """What a login returned.

    Attributes:
        expires_in: seconds the platform says it is good for, None where it says nothing.
    """

    value: str = field(repr=False)
    expires_in: float | None = None


def is_usable(token: object) -> bool:
    """Whether a token can be sent in a header."""
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def seconds_to_keep(token: Token, settings: ApiSettings, now: float) -> float:
    """How long a token just issued is used.

    A lifetime shorter than twice the margin is halved instead, so that a short-lived token is
    still shared. Without a plausible lifetime the setting alone counts: a 401 corrects it.
    """
    lifetime = token.expires_in
    if lifetime is None:
        lifetime = _jwt_lifetime(token.value, now)
    if lifetime is None or not math.isfinite(lifetime) or lifetime <= 0:
        return settings.token_seconds
    margin = min(settings.token_margin, lifetime / 2)
    return min(settings.token_seconds, lifetime - margin)


def _jwt_lifetime(token: str, now: float) -> float | None:
    """Seconds between issue and expiry of a JWT, both by its issuer's clock where it says so."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        return float(claims["exp"]) - float(claims.get("iat", now))
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
