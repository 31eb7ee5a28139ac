"""The logins of AccountShop; of that table only the password's form is ever changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import (
    ColumnElement,
    Connection,
    Unicode,
    and_,
    select,
    update,
)

from lib.errors import ConfigurationError
from lib.source.dialects import (
    lock,
)
from lib.source.tables import ENCRYPTED_COLUMN, SourceTables
from lib.source.transactions import Transactions

ACTIVE = 1


@dataclass(frozen=True, slots=True)
class ShopAccount:
    """A row of AccountShop: the login that a shop's documents are sent with.

    Attributes:
        password: as other software wrote it; blank where it is stored encrypted only.
        active: False where the chain has switched the account off.
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
    """A password as a row of AccountShop holds it.

    Attributes:
        plain: blank where it is encrypted.
        encrypted: None where it is not.
    """

    plain: SecretStr
    encrypted: str | None = field(repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the plain one counts: whoever wrote it knew nothing of an encrypted one."""
        return bool(self.plain.get_secret_value().strip())


class Accounts:
    """The logins the shops' documents are sent with."""

    def __init__(self, transactions: Transactions, tables: SourceTables) -> None:
        self._run = transactions.run
        self._tables = tables

    def all(self) -> list[ShopAccount]:
        """Every shop's logins, switched off ones included."""
        return self._run(lambda c: _accounts(c, self._tables))

    def change_password(
        self, account: ShopAccount, change: Callable[[StoredPassword], StoredPassword]
    ) -> StoredPassword | None:
        """Write the password of one account in another form, in one transaction.

        Args:
            change: gets what is stored now, which may be newer than `account`. May be called again
                after a deadlock; what it raises undoes everything.

        Returns:
            What the database holds now, None where the account is gone.

        Raises:
            ConfigurationError: the new form does not fit into its column, or did not arrive there.
        """
        return self._run(lambda c: _change(c, self._tables, account, change))


def _accounts(connection: Connection, tables: SourceTables) -> list[ShopAccount]:
    table = tables.accounts
    rows = connection.execute(
        select(
            table.c.shop_pharmacy_code,
            table.c.pharmacy_code,
            table.c.account,
            table.c.password,
            table.c.status,
            table.c.updated_at,
            table.c[ENCRYPTED_COLUMN],
            table.c.shop_name,
            table.c.phone_number,
        ).order_by(table.c.shop_pharmacy_code, table.c.pharmacy_code, table.c.account)
    )
    return [
        ShopAccount(
            *(shop, pharmacy, account, SecretStr(password), status == ACTIVE, updated_at),
            *(encrypted, (name or "").strip(), (phone or "").strip()),
        )
        for shop, pharmacy, account, password, status, updated_at, encrypted, name, phone in rows
    ]


def _change(
    connection: Connection,
    tables: SourceTables,
    account: ShopAccount,
    change: Callable[[StoredPassword], StoredPassword],
) -> StoredPassword | None:
    table = tables.accounts
    this_one = and_(
        table.c.shop_pharmacy_code == account.shop_pharmacy_code,
        table.c.pharmacy_code == account.pharmacy_code,
        table.c.account == account.username,
    )
    # Locked, because other software may write a new password at any moment.
    before = _read(connection, tables, this_one, locked=True)
    if before is None:
        return None
    wanted = change(before)
    if wanted == before:
        return before
    encrypted = table.c[ENCRYPTED_COLUMN]
    for value, column in (
        (wanted.plain.get_secret_value(), table.c.password),
        (wanted.encrypted or "", encrypted),
    ):
        longest = column.type.length if isinstance(column.type, Unicode) else None
        if longest is not None and len(value) > longest:
            raise ConfigurationError(
                f"the password of shop {account.shop_pharmacy_code} does not fit into "
                f"{table.name}.{column.name}"
            )
    connection.execute(
        update(table)
        .where(this_one)
        .values({table.c.password: wanted.plain.get_secret_value(), encrypted: wanted.encrypted})
    )
    after = _read(connection, tables, this_one)
    if after is None or _parts(after) != _parts(wanted):
        # A trigger or a narrower column: undone by what is raised.
        raise ConfigurationError(
            f"the password of shop {account.shop_pharmacy_code} was not stored as it was given"
        )
    return after


def _parts(password: StoredPassword) -> tuple[str, str]:
    """Both forms without the blanks that a column of fixed length appends."""
    return password.plain.get_secret_value().rstrip(), (password.encrypted or "").rstrip()


def _read(
    connection: Connection,
    tables: SourceTables,
    this_one: ColumnElement[bool],
    *,
    locked: bool = False,
) -> StoredPassword | None:
    table = tables.accounts
    query = select(table.c.password, table.c[ENCRYPTED_COLUMN]).where(this_one)
    row = connection.execute(lock(query, table) if locked else query).one_or_none()
    return None if row is None else StoredPassword(SecretStr(row[0]), row[1])
