"""Writes passwords of AccountShop in another form. Nothing else of that table is ever changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr
from sqlalchemy import ColumnElement, Connection, Unicode, and_, select, update

from lib.errors import ConfigurationError
from lib.source.dialects import lock
from lib.source.queries import ShopAccount
from lib.source.tables import ENCRYPTED_COLUMN, SourceTables


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


def change(
    connection: Connection,
    tables: SourceTables,
    account: ShopAccount,
    change: Callable[[StoredPassword], StoredPassword],
) -> StoredPassword | None:
    """See `SourceStore.change_password`. `updated_at` stays: it decides which row counts."""
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
