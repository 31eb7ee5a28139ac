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
    """Names login and password together without revealing either.

    A corrected password is a new key. Four digits of the password's hash are enough to notice
    that, and too few to find the password by.
    """
    login = _digest(base_url, username)[:16]
    return f"{login}-{_digest(base_url, username, password.get_secret_value())[:4]}"


class AccountDirectory:
    """The accounts as the source database had them when this was built.

    A shop's row counts for the pharmacy code it names; a row that names none counts for the whole
    shop. Rows of another pharmacy code are never used: documents would be filed under a facility
    the account does not belong to. Where several rows are left, the last updated one counts.
    Codes are compared as the database compares them; a shop is shown as its first row spells it.
    A row's password is decrypted when it is first asked for, and only where no plain one stands:
    software that knows nothing of encryption writes new passwords plain.
    """

    def __init__(self, rows: Iterable[ShopAccount], settings: ApiSettings) -> None:
        newest: dict[tuple[str, str], ShopAccount] = {}
        self._spelled: dict[str, str] = {}
        for row in rows:
            place = _place(row.shop_pharmacy_code, row.pharmacy_code)
            self._spelled.setdefault(place[0], row.shop_pharmacy_code.strip())
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
                    "read: {why}",
                    shop=shop_pharmacy_code,
                    pharmacy=pharmacy_code,
                    why=account.message,
                )
            )
        return account

    def breaker_name(self, shop_pharmacy_code: str, pharmacy_code: str) -> str:
        """Name of the breaker that guards the account, also where there is no account.

        A shop without one, or with one that cannot be decrypted, pauses under a separate name.
        That name is no longer asked for once a row or the right key appears, so the shop goes on
        automatically.
        """
        account = self._find(shop_pharmacy_code, pharmacy_code)
        if account is None:
            return f"missing:{comparable(shop_pharmacy_code)}"
        if isinstance(account, PasswordUnreadable):
            return f"unreadable:{comparable(shop_pharmacy_code)}"
        return f"account:{account.key}"

    def keys(self) -> dict[str, set[str]]:
        """Keys of the shops' own accounts by shop; the installation's account is not among them.

        An account whose password cannot be decrypted has none.
        """
        keys: defaultdict[str, set[str]] = defaultdict(set)
        for place in self._rows:
            account = self._at(place)
            if isinstance(account, Account):
                keys[self._spelled[place[0]]].add(account.key)
        return dict(keys)

    def keys_of(self, shop_pharmacy_code: str) -> set[str]:
        """Keys of one shop's own accounts; none where it has no account."""
        return self.keys().get(self.spelling_of(shop_pharmacy_code), set())

    def shops(self) -> list[str]:
        """Every shop of AccountShop, as it spells them."""
        return list(self._spelled.values())

    def spelling_of(self, shop_pharmacy_code: str) -> str:
        """The shop's code as AccountShop spells it, as given where it is not there."""
        given = shop_pharmacy_code.strip()
        return self._spelled.get(comparable(given), given)

    def logins(self) -> list[tuple[Account, list[str]]]:
        """Each account once, with its shops; the installation's own is the last, without any.

        An account whose password cannot be decrypted is not among them.
        """
        accounts: dict[str, Account] = {}
        shops: defaultdict[str, set[str]] = defaultdict(set)
        for place in self._rows:
            account = self._at(place)
            if isinstance(account, Account):
                accounts[account.key] = account
                shops[account.key].add(self._spelled[place[0]])
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
        username = username.rstrip()  # a CHAR column is filled up with blanks
        return Account(username, password, account_key(self._base_url, username, password))


def _place(shop: str, pharmacy_code: str) -> tuple[str, str]:
    return comparable(shop), comparable(pharmacy_code)


def _is_newer(row: ShopAccount, other: ShopAccount) -> bool:
    if row.updated_at is None or other.updated_at is None:
        return other.updated_at is None and row.updated_at is not None
    return row.updated_at > other.updated_at


def _digest(*parts: str) -> str:
    # The separator cannot occur in a part, so no two lists of parts look the same.
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
