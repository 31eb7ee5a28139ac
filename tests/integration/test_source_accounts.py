"""The logins of AccountShop."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy import (
    delete,
    insert,
    update,
)

from lib.errors import (
    ConfigurationError,
)
from lib.source.accounts import ShopAccount, StoredPassword
from tests.support.source import PHARMACY, Database


def test_accounts_are_read_with_their_passwords_hidden(db: Database) -> None:
    base = {
        "shop_pharmacy_code": "SHOP01",
        "pharmacy_code": PHARMACY,
        "password": "bí mật",
        "shop_name": "Nhà thuốc Hoa Sen Xanh",
        "address": "1",
        "phone_number": "1",
    }
    with db.engine.begin() as connection:
        connection.execute(
            insert(db.tables.accounts),
            [
                base | {"account": "demo_a", "status": 1},
                base | {"account": "demo_b", "status": 0},
            ],
        )
    first, second = db.source.accounts.all()
    assert (first.username, first.active, second.active) == ("demo_a", True, False)
    assert (first.shop_pharmacy_code, first.pharmacy_code) == ("SHOP01", PHARMACY)
    assert first.password.get_secret_value() == "bí mật"
    assert "bí mật" not in repr(first)


def _add_account(db: Database, password: str) -> ShopAccount:
    with db.engine.begin() as connection:
        connection.execute(
            insert(db.tables.accounts),
            {
                "shop_pharmacy_code": "SHOP01",
                "pharmacy_code": PHARMACY,
                "account": "demo",
                "password": password,
                "shop_name": "-",
                "address": "-",
                "phone_number": "-",
                "status": 1,
            },
        )
    (account,) = db.source.accounts.all()
    return account


def test_a_password_is_written_in_another_form_and_read_back(db: Database) -> None:
    account = _add_account(db, "bí mật")
    sealed = StoredPassword(SecretStr(""), "gAAAA")
    assert db.source.accounts.change_password(account, lambda _: sealed) == sealed
    (changed,) = db.source.accounts.all()
    assert (changed.password.get_secret_value(), changed.encrypted_password) == ("", "gAAAA")
    assert changed.updated_at == account.updated_at
    assert "gAAAA" not in repr(changed)


def test_what_is_changed_is_what_is_stored_now(db: Database) -> None:
    account = _add_account(db, "old")
    with db.engine.begin() as connection:
        connection.execute(update(db.tables.accounts).values(password="new"))
    seen: list[str] = []

    def change(stored: StoredPassword) -> StoredPassword:
        seen.append(stored.plain.get_secret_value())
        return stored

    db.source.accounts.change_password(account, change)
    assert seen == ["new"]


def test_a_password_that_does_not_fit_changes_nothing(db: Database) -> None:
    account = _add_account(db, "secret-1")
    for wanted in (
        StoredPassword(SecretStr("x" * 51), None),
        StoredPassword(SecretStr(""), "x" * 401),
    ):
        with pytest.raises(ConfigurationError, match="SHOP01") as error:
            db.source.accounts.change_password(account, lambda _, wanted=wanted: wanted)
        assert "x" * 51 not in str(error.value)
    assert db.source.accounts.all() == [account]


def test_an_account_that_is_gone_has_no_password(db: Database) -> None:
    account = _add_account(db, "secret-1")
    with db.engine.begin() as connection:
        connection.execute(delete(db.tables.accounts))
    assert db.source.accounts.change_password(account, lambda stored: stored) is None
