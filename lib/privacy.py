"""What may be kept of a person's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Payload fields that name a person: seller and buyer.
PERSONAL_FIELDS = ("ho_ten_nguoi_ban", "ho_ten_khach_hang")
MASK = "***"


def mask_personal_names(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a payload in which names of persons are replaced."""
    return {
        name: MASK if name in PERSONAL_FIELDS and value else value for name, value in body.items()
    }
