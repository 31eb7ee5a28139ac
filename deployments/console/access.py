"""Users of the console, their roles and rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lib.models import comparable


class Role(StrEnum):
    """The role of a user."""

    VIEWER = "viewer"
    SHOP = "shop"  # sees only the shops that are listed for the user
    OPERATOR = "operator"
    ACCOUNTANT = "accountant"
    ADMINISTRATOR = "administrator"


class Right(StrEnum):
    """A page that can be seen or an action that can be done."""

    OVERVIEW = "overview"
    CAUSES = "causes"
    DOCUMENTS = "documents"
    CLOSE = "close"
    CLOSE_DAY = "close_day"
    PAUSES = "pauses"
    AUDIT = "audit"
    REQUEUE = "requeue"
    SEND = "send"
    RESOLVE = "resolve"
    REVEAL = "reveal"
    PAUSE = "pause"


_OWN = frozenset({Right.OVERVIEW, Right.CAUSES, Right.DOCUMENTS})
_SEE = _OWN | {Right.CLOSE, Right.PAUSES, Right.AUDIT}
_ACT = frozenset({Right.REQUEUE, Right.SEND, Right.RESOLVE, Right.REVEAL, Right.PAUSE})

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.SHOP: _OWN,
    Role.VIEWER: _SEE,
    Role.ACCOUNTANT: _SEE | {Right.RESOLVE, Right.REVEAL, Right.CLOSE_DAY},
    Role.OPERATOR: _SEE | _ACT,
    Role.ADMINISTRATOR: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class User:
    """A person who may use the console.

    Attributes:
        shops: codes of the shops a user of the role `shop` sees; empty for the other roles.
        password: its scrypt hash; None if only a trusted proxy logs this user in.
    """

    name: str
    role: Role
    shops: frozenset[str] = frozenset()
    password: str | None = None

    def may(self, right: Right) -> bool:
        return right in RIGHTS[self.role]

    def sees(self, shop: str) -> bool:
        return self.role is not Role.SHOP or comparable(shop) in map(comparable, self.shops)
