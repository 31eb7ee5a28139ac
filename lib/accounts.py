"""Which account a document is sent with: the shop's own, else the installation's."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from pydantic import SecretStr

from lib.errors import AccountRefused, PasswordUnreadable
from lib.models import Account, comparable
from lib.settings import ApiSettings
from lib.settings.encryption import PasswordBox
from lib.source.accounts import ShopAccount
from lib.words.language import Phrase


def account_key(base_url: str, username: str, password: SecretStr) -> str:
    """Identifies login and password together without revealing either.

    A corrected password gives a new key. Four digits of the password's hash are enough to detect
    the change, and too few to recover the password.
    """
    login = _digest(base_url, username)[:16]
    return f"{login}-{_digest(base_url, username, password.get_secret_value())[:4]}"


class AccountDirectory:
    """The accounts as they were in the source database when this object was created.

    A row applies to its shop and pharmacy code; a row without a pharmacy code applies to the whole
    shop. Rows with another pharmacy code are never used: documents would be filed under a facility
    that the account does not belong to. Of rows with the same codes, the last updated one is used.
    Codes are compared as the database compares them; a shop's code is shown as in its first row.
    A row's password is decrypted on first use, and only if the row has no plain-text password:
    software without encryption writes new passwords as plain text.
    """

    def __init__(self, rows: Iterable[ShopAccount], settings: ApiSettings) -> None:
        newest: dict[tuple[str, str], ShopAccount] = {}
        self._canonical: dict[str, str] = {}
        for row in rows:
            place = _place(row.shop_pharmacy_code, row.pharmacy_code)
            self._canonical.setdefault(place[0], row.shop_pharmacy_code.strip())
            if row.active and (place not in newest or _is_newer(row, newest[place])):
                newest[place] = row
        self._base_url = settings.base_url
        self._box = PasswordBox(settings.account_key)
        self._rows = newest
        self._own: dict[tuple[str, str], Account | PasswordUnreadable] = {}
        self._global: Account | None = None
        if settings.username is not None and settings.password is not None:
            self._global = self._account(settings.username, settings.password)

    def account_for(self, shop_pharmacy_code: str, pharmacy_code: str) -> Account:
        """The account for a document.

        Raises:
            AccountRefused: there is none, or its password cannot be decrypted.
        """
        account = self._find(shop_pharmacy_code, pharmacy_code)
        if account is None:
            raise AccountRefused(
                Phrase(
                    "shop {shop} has no active account for pharmacy {pharmacy}",
                    shop=shop_pharmacy_code,
                    pharmacy=pharmacy_code,
                )
            )
        if isinstance(account, PasswordUnreadable):
            raise AccountRefused(
                Phrase(
                    "the encrypted password of shop {shop} for pharmacy {pharmacy} cannot be "
                    "decrypted: {why}",
                    shop=shop_pharmacy_code,
                    pharmacy=pharmacy_code,
                    why=account.message,
                )
            )
        return account

    def breaker_name(self, shop_pharmacy_code: str, pharmacy_code: str) -> str:
        """Name of the breaker for the account, also if there is no account.

        A shop without an account, or with one that cannot be decrypted, is paused under a separate
        breaker name. That name is no longer used once a row or the right key is added, so the shop
        then resumes automatically.
        """
        account = self._find(shop_pharmacy_code, pharmacy_code)
        if account is None:
            return f"missing:{comparable(shop_pharmacy_code)}"
        if isinstance(account, PasswordUnreadable):
            return f"unreadable:{comparable(shop_pharmacy_code)}"
        return f"account:{account.key}"

    def keys(self) -> dict[str, set[str]]:
        """Keys of the shops' own accounts by shop, without the installation's account.

        An account whose password cannot be decrypted has no key.
        """
        keys: defaultdict[str, set[str]] = defaultdict(set)
        for place in self._rows:
            account = self._at(place)
            if isinstance(account, Account):
                keys[self._canonical[place[0]]].add(account.key)
        return dict(keys)

    def keys_of(self, shop_pharmacy_code: str) -> set[str]:
        """Keys of one shop's own accounts; empty if it has no account."""
        return self.keys().get(self.canonical_code(shop_pharmacy_code), set())

    def shops(self) -> list[str]:
        """Every shop of AccountShop, as written there."""
        return list(self._canonical.values())

    def canonical_code(self, shop_pharmacy_code: str) -> str:
        """The shop's code as written in AccountShop; unchanged if AccountShop does not have it."""
        given = shop_pharmacy_code.strip()
        return self._canonical.get(comparable(given), given)

    def logins(self) -> list[tuple[Account, list[str]]]:
        """Each account once, with its shops; the installation's account is last, without shops.

        An account whose password cannot be decrypted is left out.
        """
        accounts: dict[str, Account] = {}
        shops: defaultdict[str, set[str]] = defaultdict(set)
        for place in self._rows:
            account = self._at(place)
            if isinstance(account, Account):
                accounts[account.key] = account
                shops[account.key].add(self._canonical[place[0]])
        if self._global is not None:
            accounts.setdefault(self._global.key, self._global)
        return [(account, sorted(shops[key])) for key, account in accounts.items()]

    def _find(self, shop: str, pharmacy_code: str) -> Account | PasswordUnreadable | None:
        return self._at(_place(shop, pharmacy_code)) or self._at(_place(shop, "")) or self._global

    def _at(self, place: tuple[str, str]) -> Account | PasswordUnreadable | None:
        if place not in self._own and (row := self._rows.get(place)) is not None:
            try:
                self._own[place] = self._account(row.username, self._password(row))
            except PasswordUnreadable as error:
                self._own[place] = error
        return self._own.get(place)

    def _password(self, row: ShopAccount) -> SecretStr:
        if row.password.get_secret_value().strip() or not row.encrypted_password:
            return row.password
        return self._box.decrypt(row.encrypted_password)

    def _account(self, username: str, password: SecretStr) -> Account:
        username = username.rstrip()  # a CHAR column is padded with blanks
        return Account(username, password, account_key(self._base_url, username, password))


def _place(shop: str, pharmacy_code: str) -> tuple[str, str]:
    return comparable(shop), comparable(pharmacy_code)


def _is_newer(row: ShopAccount, other: ShopAccount) -> bool:
    if row.updated_at is None or other.updated_at is None:
        return other.updated_at is None and row.updated_at is not None
    return row.updated_at > other.updated_at


def _digest(*parts: str) -> str:
    # The separator cannot occur in a part, so different lists of parts give different texts.
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
