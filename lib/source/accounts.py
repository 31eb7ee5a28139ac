"""The logins of AccountShop. Only the form of a password (plain or encrypted) is changed there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    Unicode,
    and_,
    delete,
    insert,
    select,
    update,
)

from lib.errors import ConfigurationError
from lib.models import comparable
from lib.source.dialects import lock
from lib.source.tables import ENCRYPTED_TABLE, SourceTables
from lib.source.transactions import Transactions

ACTIVE = 1


@dataclass(frozen=True, slots=True)
class ShopAccount:
    """A row of AccountShop: the login that a shop's documents are sent with.

    Attributes:
        password: as other software wrote it; blank if it is stored encrypted only.
        active: False if the chain has switched the account off.
    """

    shop_pharmacy_code: str
    pharmacy_code: str
    username: str
    password: SecretStr = field(repr=False)
    active: bool
    updated_at: datetime | None
    encrypted_password: str | None = field(default=None, repr=False)
    shop_name: str = ""
    phone_number: str = ""


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """The stored password of a row of AccountShop.

    Attributes:
        plain: blank if the password is encrypted.
        encrypted: None if it is not.
    """

    plain: SecretStr
    encrypted: str | None = field(repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the plain password counts: its writer did not know of an encrypted one."""
        return bool(self.plain.get_secret_value().strip())


class Accounts:
    """The logins the shops' documents are sent with."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def all(self) -> list[ShopAccount]:
        """Every shop's logins, including inactive ones. Two statements."""
        table, ours = self._tables.accounts, self._tables.encrypted
        key = _key(table)
        query = select(
            *key,
            table.c.password,
            table.c.status,
            table.c.updated_at,
            table.c.shop_name,
            table.c.phone_number,
        ).order_by(*key)

        def work(connection: Connection) -> list[ShopAccount]:
            # Matched in Python: the two tables may have different collations.
            encrypted = {
                _comparable_key(row): row[-1]
                for row in connection.execute(select(*_key(ours), ours.c.encrypted_password))
            }
            return [
                ShopAccount(
                    shop,
                    pharmacy,
                    account,
                    SecretStr(password or ""),
                    status == ACTIVE,
                    updated_at,
                    encrypted.get(_comparable_key((shop, pharmacy, account))),
                    (name or "").strip(),
                    (phone or "").strip(),
                )
                for (
                    shop,
                    pharmacy,
                    account,
                    password,
                    status,
                    updated_at,
                    name,
                    phone,
                ) in connection.execute(query)
            ]

        return self._run(work)

    def change_password(
        self, account: ShopAccount, change: Callable[[StoredPassword], StoredPassword]
    ) -> StoredPassword | None:
        """Write the password of one account in another form, in one transaction.

        `updated_at` is not changed: it decides which row is used.

        Args:
            change: receives what is stored now, which may be newer than `account`. May be called
                again after a deadlock; if it raises, everything is rolled back.

        Returns:
            What the database holds now; None if the account no longer exists.

        Raises:
            ConfigurationError: the new form does not fit its column, or was not stored as given.
        """
        return self._run(lambda c: self._change(c, account, change))

    def _change(
        self,
        connection: Connection,
        account: ShopAccount,
        change: Callable[[StoredPassword], StoredPassword],
    ) -> StoredPassword | None:
        table, ours = self._tables.accounts, self._tables.encrypted
        # Locked, because other software may write a new password at any moment.
        before = self._read(connection, account, locked=True)
        if before is None:
            return None
        wanted = change(before)
        if wanted == before:
            return before
        for value, column in (
            (wanted.plain.get_secret_value(), table.c.password),
            (wanted.encrypted or "", ours.c.encrypted_password),
        ):
            longest = column.type.length if isinstance(column.type, Unicode) else None
            if longest is not None and len(value) > longest:
                raise ConfigurationError(
                    f"the password of shop {account.shop_pharmacy_code} does not fit into "
                    f"{column.table.name}.{column.name}"
                )
        if wanted.plain != before.plain:
            connection.execute(
                update(table)
                .where(_is_row(table, account))
                .values({table.c.password: wanted.plain.get_secret_value()})
            )
        if wanted.encrypted != before.encrypted:
            connection.execute(delete(ours).where(_is_row(ours, account)))
            if wanted.encrypted is not None:
                connection.execute(
                    insert(ours).values(
                        shop_pharmacy_code=account.shop_pharmacy_code.strip(),
                        pharmacy_code=account.pharmacy_code.strip(),
                        account=account.username.strip(),
                        encrypted_password=wanted.encrypted,
                    )
                )
        after = self._read(connection, account)
        if after is None or _parts(after) != _parts(wanted):
            # Changed by a trigger or a narrower column; the exception rolls everything back.
            raise ConfigurationError(
                f"the password of shop {account.shop_pharmacy_code} was changed while it was stored"
            )
        return after

    def _read(
        self, connection: Connection, account: ShopAccount, *, locked: bool = False
    ) -> StoredPassword | None:
        table, ours = self._tables.accounts, self._tables.encrypted
        query = select(table.c.password).where(_is_row(table, account))
        row = connection.execute(lock(query, table) if locked else query).one_or_none()
        if row is None:
            return None
        encrypted = connection.execute(
            select(ours.c.encrypted_password).where(_is_row(ours, account))
        ).scalar_one_or_none()
        return StoredPassword(SecretStr(row[0] or ""), encrypted)


def _key(table: Table) -> list[Column[Any]]:
    return [table.c.shop_pharmacy_code, table.c.pharmacy_code, table.c.account]


def _comparable_key(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(comparable(text) for text in row[:3])


def _is_row(table: Table, account: ShopAccount) -> ColumnElement[bool]:
    values = [account.shop_pharmacy_code, account.pharmacy_code, account.username]
    if table.name == ENCRYPTED_TABLE:
        values = [value.strip() for value in values]
    return and_(*(column == value for column, value in zip(_key(table), values, strict=True)))


def _parts(password: StoredPassword) -> tuple[str, str]:
    """Both forms without the blanks that a column of fixed length appends."""
    return password.plain.get_secret_value().rstrip(), (password.encrypted or "").rstrip()
